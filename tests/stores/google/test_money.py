"""Money is exact (spec: stores 3.6, events 12)."""

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellwire.simulator.google.views import money as printed
from bellwire.stores.google.money import commission_ppm, gross_micros, tax_ppm, to_micros
from bellwire.stores.google.times import parse_ms, subtract_duration
from bellwire.stores.google.wire import Money, Order, OrderDetails

MICROS = 1_000_000


@given(st.integers(-(10**12), 10**12), st.integers(-999_999_999, 999_999_999))
def test_units_and_nanos_become_the_nearest_micros(units: int, nanos: int) -> None:
    money = Money(currency_code="USD", units=str(units), nanos=nanos)
    exact = (Decimal(units) + Decimal(nanos) / 10**9) * MICROS
    assert to_micros(money) == int(exact.to_integral_value(ROUND_HALF_EVEN))


@given(st.integers(0, 10**15))
def test_whole_micros_come_back_as_they_were(micros: int) -> None:
    told = printed(micros, "USD")
    money = Money(currency_code="USD", units=str(told.get("units", "0")), nanos=int(str(told.get("nanos", 0))))
    assert to_micros(money) == micros


def _order(total: int, tax: int, revenue: int, *, inclusive: bool, state: str = "PROCESSED") -> Order:
    def money(micros: int) -> Money:
        return Money(currency_code="USD", units=str(micros // MICROS), nanos=micros % MICROS * 1000)

    return Order(
        order_id="GPA.1",
        state=state,
        total=money(total),
        tax=money(tax),
        developer_revenue_in_buyer_currency=money(revenue),
        order_details=OrderDetails(tax_inclusive=inclusive),
    )


@given(st.integers(1, 10**10), st.integers(0, 400_000), st.integers(0, 500_000), st.booleans())
def test_shares_add_up_to_the_price(net: int, tax_rate: int, fee: int, inclusive: bool) -> None:
    """Price times what is left after tax and commission is what the developer got, to the part per million."""
    tax = net * tax_rate // MICROS
    revenue = net - net * fee // MICROS
    order = _order(net + tax, tax, revenue, inclusive=inclusive)
    gross, tax_share, commission = gross_micros(order), tax_ppm(order), commission_ppm(order)
    assert gross is not None
    assert gross == (net + tax if inclusive else net)
    assert tax_share is not None
    assert commission is not None
    assert 0 <= tax_share <= MICROS
    assert abs(gross * (MICROS - tax_share - commission) - revenue * MICROS) <= gross + MICROS


@pytest.mark.parametrize("state", ["REFUNDED", "PARTIALLY_REFUNDED", "PENDING_REFUND", "CANCELED"])
def test_after_a_refund_revenue_says_nothing_about_the_commission(state: str) -> None:
    assert commission_ppm(_order(9_990_000, 0, 0, inclusive=True, state=state)) is None


def test_a_free_order_has_no_shares() -> None:
    order = _order(0, 0, 0, inclusive=True)
    assert (gross_micros(order), tax_ppm(order), commission_ppm(order)) == (0, None, None)
    assert gross_micros(Order(order_id="GPA.1")) is None


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-01-01T00:00:00Z", 1_767_225_600_000),
        ("2026-01-01T00:00:00.5Z", 1_767_225_600_500),
        ("2026-01-01T00:00:00.123999999Z", 1_767_225_600_123),
        ("2026-01-01T02:00:00+02:00", 1_767_225_600_000),
    ],
)
def test_timestamps(text: str, ms: int) -> None:
    assert parse_ms(text) == ms


@pytest.mark.parametrize("text", ["", "2026-01-01", "2026-01-01T00:00:00", "1767225600000"])
def test_what_is_no_timestamp(text: str) -> None:
    with pytest.raises(ValueError, match="not an RFC 3339"):
        parse_ms(text)


@pytest.mark.parametrize(
    ("end", "duration", "start"),
    [
        ("2026-03-31T08:00:00.250Z", "P1M", "2026-02-28T08:00:00.250Z"),
        ("2026-01-15T00:00:00Z", "P1Y", "2025-01-15T00:00:00Z"),
        ("2026-01-15T00:00:00Z", "P3M", "2025-10-15T00:00:00Z"),
        ("2026-01-15T00:00:00Z", "P1W", "2026-01-08T00:00:00Z"),
        ("2026-01-15T00:00:00Z", "P30D", "2025-12-16T00:00:00Z"),
    ],
)
def test_billing_periods_are_calendar_periods(end: str, duration: str, start: str) -> None:
    assert subtract_duration(parse_ms(end), duration) == parse_ms(start)


@pytest.mark.parametrize("duration", ["", "P", "PT5M", "1 month"])
def test_what_is_no_billing_period(duration: str) -> None:
    assert subtract_duration(0, duration) is None
