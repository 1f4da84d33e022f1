"""Exact money: micros and parts per million inside, floats only where the wire is written (spec: events 12)."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

import msgspec

from bellwire.engine.tax import included_tax_ppm
from bellwire.model.enums import Ownership, PeriodType, Store
from bellwire.model.facts import PeriodFact, Snapshot
from bellwire.model.projects import DAY_MS, App
from bellwire.model.purchases import Period

MICROS = 1_000_000
PPM = 1_000_000


class Rates(msgspec.Struct, frozen=True):
    """Dated exchange rates: per currency ascending (day start ms, micro-USD for one unit). USD needs none."""

    by_currency: Mapping[str, Sequence[tuple[int, int]]] = {}

    def usd_micros(self, amount_micros: int, currency: str, at_ms: int) -> int | None:
        """`amount_micros` in micro-USD at the newest rate not after `at_ms`; None when there is none of that week."""
        if currency == "USD":
            return amount_micros
        rates = self.by_currency.get(currency, ())
        index = bisect_right(rates, at_ms, key=lambda rate: rate[0]) - 1
        if index < 0 or rates[index][0] < at_ms - 7 * DAY_MS:
            return None
        return round_half_even(amount_micros * rates[index][1], MICROS)


def round_half_even(numerator: int, denominator: int) -> int:
    """`numerator / denominator` to the nearest integer, ties to even; exact, for any sign."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient % 2):
        return quotient + 1
    return quotient


class Amounts(msgspec.Struct, frozen=True, kw_only=True):
    """The money of one period."""

    price_micros: int | None
    currency: str | None
    price_usd_micros: int | None
    price_assumed: bool
    tax_ppm: int | None
    commission_ppm: int | None
    takehome_ppm: int | None


def amounts(
    fact: PeriodFact, snapshot: Snapshot, earlier: Sequence[Period], *, app: App | None, rates: Rates
) -> Amounts:
    """Price, USD price and shares of a new period.

    A price that the store did not tell is the previous NORMAL period's of the same product, marked as assumed (spec:
    stores 11.5); family-shared purchases and trials cost 0, but for add-ons that are paid while the base product is
    tried; unknown stays None, never 0 (stores 11.9).
    """
    price, currency, assumed = fact.price_micros, fact.currency, False
    free_trial = fact.period_type is PeriodType.TRIAL and not fact.items
    if snapshot.ownership is Ownership.FAMILY_SHARED or free_trial:
        price = 0
    elif price is None and fact.period_type is PeriodType.NORMAL:
        for period in reversed(earlier):
            same = (period.product_id, period.plan_id) == (fact.product_id, fact.plan_id)
            single = not fact.items and not period.items
            if same and single and period.period_type is PeriodType.NORMAL and period.price_micros is not None:
                price, currency, assumed = period.price_micros, period.currency, True
                break
    usd = _usd(price, currency, fact.purchased_at_ms, rates)
    tax = fact.tax_ppm if fact.tax_ppm is not None else included_tax_ppm(fact.country)
    nominal = nominal_commission_ppm(snapshot, fact, earlier, app)
    commission = fact.commission_ppm
    if commission is None and nominal is not None and tax is not None:
        commission = round_half_even(nominal * (PPM - tax), PPM)
    return Amounts(
        price_micros=price,
        currency=currency,
        price_usd_micros=usd,
        price_assumed=assumed,
        tax_ppm=tax,
        commission_ppm=commission,
        takehome_ppm=None if nominal is None else PPM - nominal,
    )


def _usd(price: int | None, currency: str | None, at_ms: int, rates: Rates) -> int | None:
    if price is None:
        return None
    if price == 0:
        return 0
    return None if currency is None else rates.usd_micros(price, currency, at_ms)


def nominal_commission_ppm(
    snapshot: Snapshot, fact: PeriodFact, earlier: Sequence[Period], app: App | None
) -> int | None:
    """The store's published rate for this period, before tax is taken off (spec: events 12.5)."""
    match snapshot.store:
        case Store.APP_STORE | Store.MAC_APP_STORE:
            small = app is not None and _in_window(
                fact.purchased_at_ms, app.small_business_from_ms, app.small_business_until_ms
            )
            return 150_000 if small or _paid_days(earlier, fact.purchased_at_ms) >= 365 else 300_000
        case Store.PLAY_STORE:
            return 150_000
        case Store.AMAZON:
            return 300_000
        case Store.ROKU:
            return 200_000
        case Store.TEST_STORE:
            return 0
        case Store.STRIPE | Store.PADDLE | Store.RC_BILLING | Store.PROMOTIONAL:
            return None


def _in_window(at_ms: int, from_ms: int | None, until_ms: int | None) -> bool:
    return from_ms is not None and from_ms <= at_ms and (until_ms is None or at_ms < until_ms)


def _paid_days(earlier: Sequence[Period], at_ms: int) -> int:
    """Days of paid service before `at_ms`; a gap of more than 60 days starts the count again (spec: stores 2.9)."""
    days, end = 0, None
    for period in earlier:
        if end is not None and period.purchased_at_ms - end > 60 * DAY_MS:
            days = 0
        if period.expires_at_ms is not None:
            end = period.expires_at_ms
            if period.period_type is not PeriodType.TRIAL and period.refunded_at_ms is None:
                days += (period.expires_at_ms - period.purchased_at_ms) // DAY_MS
    return 0 if end is not None and at_ms - end > 60 * DAY_MS else days


def wire_amount(micros: int | None) -> float | None:
    """Units with at most 6 decimals, as a JSON number; the one place where money becomes a float."""
    return None if micros is None else micros / MICROS


def wire_usd(micros: int | None) -> float | None:
    """USD units with at most 4 decimals (spec: events 12.1)."""
    return None if micros is None else round_half_even(micros, 100) / 10_000


def wire_share(ppm: int | None) -> float | None:
    """A share 0..1 with at most 4 decimals."""
    return None if ppm is None else round_half_even(ppm, 100) / 10_000
