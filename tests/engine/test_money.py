"""Exact money: rounding, rates, shares, assumed prices, commissions (spec: events 12, stores 2.9, 11.5)."""

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bellwire.engine.emission import refunded_amounts
from bellwire.engine.money import (
    Amounts,
    Rates,
    amounts,
    round_half_even,
    wire_amount,
    wire_share,
    wire_usd,
)
from bellwire.engine.tax import included_tax_ppm
from bellwire.model.enums import Environment, Ownership, PeriodType, ProductType, Store
from bellwire.model.facts import PeriodFact, Snapshot
from bellwire.model.projects import DAY_MS, App
from bellwire.model.purchases import Period

NOW_MS = 1_767_225_600_000
APP = App(id="a", project_id="p", store=Store.APP_STORE, name="n", token="t")
FACT = PeriodFact(
    period_key="P9",
    product_id="monthly",
    purchased_at_ms=NOW_MS,
    expires_at_ms=NOW_MS + 30 * DAY_MS,
    price_micros=9_990_000,
    currency="USD",
)
SNAPSHOT = Snapshot(
    store=Store.APP_STORE,
    environment=Environment.PRODUCTION,
    store_key="c",
    original_transaction_id="c",
    product_type=ProductType.SUBSCRIPTION,
    as_of_ms=NOW_MS,
    periods=(),
)
RATES = Rates({"EUR": [(NOW_MS - 30 * DAY_MS, 1_000_000), (NOW_MS - 2 * DAY_MS, 1_100_000), (NOW_MS + 1, 1_200_000)]})


def work_out(
    fact: PeriodFact = FACT, *, snapshot: Snapshot = SNAPSHOT, earlier: tuple[Period, ...] = (), app: App = APP
) -> Amounts:
    return amounts(fact, snapshot, earlier, app=app, rates=RATES)


def before(days: int, length: int = 30, **fields: object) -> Period:
    """A period of `length` days that began `days` days ago."""
    start_ms = NOW_MS - days * DAY_MS
    base = Period(
        period_key=f"D{days}",
        ordinal=1,
        product_id="monthly",
        plan_id=None,
        period_type=PeriodType.NORMAL,
        purchased_at_ms=start_ms,
        expires_at_ms=start_ms + length * DAY_MS,
        price_micros=9_990_000,
        currency="USD",
        price_usd_micros=9_990_000,
    )
    return replace(base, **fields)


@given(st.integers(-(10**18), 10**18), st.integers(1, 10**9))
@settings(derandomize=True, database=None)
def test_round_half_even_is_exact(numerator: int, denominator: int) -> None:
    assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@pytest.mark.parametrize(("number", "told"), [(5, 0), (15, 2), (25, 2), (35, 4), (-5, 0), (-15, -2), (-25, -2)])
def test_ties_go_to_the_even_neighbour(number: int, told: int) -> None:
    assert round_half_even(number, 10) == told


@given(st.integers(-(10**13), 10**13))
@settings(derandomize=True, database=None)
def test_the_wire_has_the_decimal_that_was_meant(micros: int) -> None:
    exact = Decimal(micros) / 1_000_000
    assert Decimal(repr(wire_amount(micros))) == exact
    assert Decimal(repr(wire_usd(micros))) == exact.quantize(Decimal("0.0001"), ROUND_HALF_EVEN)


def test_unknown_stays_unknown_on_the_wire() -> None:
    assert (wire_amount(None), wire_usd(None), wire_share(None)) == (None, None, None)


@pytest.mark.parametrize(
    ("at_ms", "told"),
    [
        (NOW_MS, 11_000_000),
        (NOW_MS - 2 * DAY_MS, 11_000_000),
        (NOW_MS - 2 * DAY_MS - 1, None),
        (NOW_MS - 23 * DAY_MS, 10_000_000),
        (NOW_MS - 23 * DAY_MS + 1, None),
        (NOW_MS - 31 * DAY_MS, None),
        (NOW_MS + 1, 12_000_000),
    ],
    ids=["today", "its first moment", "before it: older than a week", "a week old", "too old", "none yet", "the next"],
)
def test_the_rate_is_that_of_the_purchase_date_or_none(at_ms: int, told: int | None) -> None:
    assert RATES.usd_micros(10_000_000, "EUR", at_ms) == told


def test_dollars_need_no_rate_and_unknown_currencies_have_none() -> None:
    assert RATES.usd_micros(123, "USD", 0) == 123
    assert RATES.usd_micros(123, "XXX", NOW_MS) is None


def test_trials_and_family_shares_cost_nothing() -> None:
    assert work_out(replace(FACT, period_type=PeriodType.TRIAL)).price_micros == 0
    shared = work_out(snapshot=replace(SNAPSHOT, ownership=Ownership.FAMILY_SHARED))
    assert (shared.price_micros, shared.price_usd_micros) == (0, 0)


def test_nothing_is_zero_dollars_whatever_the_currency() -> None:
    assert work_out(replace(FACT, price_micros=0, currency="XXX")).price_usd_micros == 0


def test_price_not_told_is_that_of_the_last_normal_period_of_the_product() -> None:
    untold = replace(FACT, price_micros=None, currency=None)
    earlier = (
        before(90, price_micros=8_000_000, currency="EUR"),
        before(60, period_type=PeriodType.INTRO, price_micros=1_000_000),
        before(30, product_id="other", price_micros=5_000_000),
    )
    told = work_out(untold, earlier=earlier)
    assert (told.price_micros, told.currency, told.price_assumed) == (8_000_000, "EUR", True)
    assert told.price_usd_micros == 8_800_000


def test_price_nobody_knows_is_null() -> None:
    untold = replace(FACT, price_micros=None, currency=None)
    assert work_out(untold).price_micros is None
    assert work_out(replace(untold, period_type=PeriodType.INTRO), earlier=(before(30),)).price_micros is None


@pytest.mark.parametrize(
    ("store", "nominal"),
    [
        (Store.APP_STORE, 300_000),
        (Store.MAC_APP_STORE, 300_000),
        (Store.PLAY_STORE, 150_000),
        (Store.AMAZON, 300_000),
        (Store.ROKU, 200_000),
        (Store.TEST_STORE, 0),
        (Store.STRIPE, None),
        (Store.PADDLE, None),
        (Store.RC_BILLING, None),
        (Store.PROMOTIONAL, None),
    ],
)
def test_commission_by_store(store: Store, nominal: int | None) -> None:
    told = work_out(replace(FACT, country="US"), snapshot=replace(SNAPSHOT, store=store))
    assert told.tax_ppm == 0
    assert told.commission_ppm == nominal
    assert told.takehome_ppm == (None if nominal is None else 1_000_000 - nominal)


@pytest.mark.parametrize(
    ("start", "end", "nominal"),
    [(0, None, 150_000), (0, NOW_MS + 1, 150_000), (NOW_MS, None, 150_000), (NOW_MS + 1, None, 300_000), (0, NOW_MS, 300_000), (None, None, 300_000)],
)  # fmt: skip
def test_small_business_window_is_entry_included_exit_excluded(
    start: int | None, end: int | None, nominal: int
) -> None:
    app = replace(APP, small_business_from_ms=start, small_business_until_ms=end)
    assert work_out(replace(FACT, country="US"), app=app).commission_ppm == nominal


def test_apple_takes_half_after_a_year_of_paid_service() -> None:
    year = tuple(before(30 * n) for n in range(13, 0, -1))
    assert work_out(replace(FACT, country="US"), earlier=year).commission_ppm == 150_000
    assert work_out(replace(FACT, country="US"), earlier=year[1:]).commission_ppm == 300_000
    trial = (replace(year[0], period_type=PeriodType.TRIAL), *year[1:])
    assert work_out(replace(FACT, country="US"), earlier=trial).commission_ppm == 300_000


def test_a_gap_of_more_than_sixty_days_starts_the_year_again() -> None:
    def rate_after(gap: int, *later: Period) -> int | None:
        year = tuple(before(30 * n + gap) for n in range(13, 0, -1))
        return work_out(replace(FACT, country="US"), earlier=(*year, *later)).commission_ppm

    assert rate_after(60 + 20, before(20)) == 150_000
    assert rate_after(61 + 20, before(20)) == 300_000
    assert rate_after(60) == 150_000
    assert rate_after(61) == 300_000


def test_stated_shares_win_over_published_rates() -> None:
    told = work_out(replace(FACT, tax_ppm=80_000, commission_ppm=123_456, country="GB"))
    assert (told.tax_ppm, told.commission_ppm, told.takehome_ppm) == (80_000, 123_456, 700_000)


def test_commission_is_of_what_tax_leaves() -> None:
    told = work_out(replace(FACT, country="GB"), app=replace(APP, small_business_from_ms=0))
    assert (told.tax_ppm, told.commission_ppm, told.takehome_ppm) == (166_667, 125_000, 850_000)


def test_unknown_country_has_no_tax_and_no_commission_after_it() -> None:
    told = work_out(replace(FACT, country=None))
    assert (told.tax_ppm, told.commission_ppm, told.takehome_ppm) == (None, None, 700_000)


@pytest.mark.parametrize(
    ("country", "ppm"), [("GB", 166_667), ("DE", 159_664), ("CH", 74_931), ("US", 0), ("ZZ", None), (None, None)]
)
def test_included_tax(country: str | None, ppm: int | None) -> None:
    assert included_tax_ppm(country) == ppm


@given(st.integers(1, 10**10), st.integers(1, 10**12), st.data())
@settings(derandomize=True, database=None)
def test_a_full_refund_takes_back_exactly_what_was_counted(price: int, usd: int, data: st.DataObject) -> None:
    period = before(1, price_micros=price, price_usd_micros=usd, refunded_at_ms=NOW_MS)
    assert refunded_amounts(period) == (price, usd)
    assert refunded_amounts(replace(period, refund_micros=price)) == (price, usd)
    part = data.draw(st.integers(0, price))
    back, back_usd = refunded_amounts(replace(period, refund_micros=part))
    assert back == part
    assert back_usd == round(Fraction(usd * part, price))


def test_a_family_member_who_leaves_moves_no_money() -> None:
    assert refunded_amounts(before(1, refunded_at_ms=NOW_MS, family_revoked=True)) == (0, 0)
