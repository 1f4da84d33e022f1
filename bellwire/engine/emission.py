"""What change detection finds, before it is dressed as an event for one customer."""

import msgspec
from msgspec import UNSET, UnsetType

from bellwire.engine.money import Rates, round_half_even
from bellwire.model.enums import CancelReason, EventType, ExpirationReason, Origin
from bellwire.model.facts import BundleItem
from bellwire.model.projects import App, Catalogue, ProjectSettings
from bellwire.model.purchases import Chain, Period


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What the pure rules may know besides facts and state."""

    now_ms: int
    settings: ProjectSettings
    catalogue: Catalogue
    app: App | None
    rates: Rates = Rates()
    origin: Origin = Origin.LIVE


class Emission(msgspec.Struct, frozen=True, kw_only=True):
    """One detected change of one chain.

    `discriminator` tells this occurrence from others of its type in the chain's life (spec: stores 11.4.4). Amounts
    are signed and 0 where no money moves. `store_time_ms` is the store's own time of the change.
    """

    type: EventType
    chain: Chain
    period: Period
    discriminator: str
    store_time_ms: int
    price_micros: int | None = 0
    price_usd_micros: int | None = 0
    cancel_reason: CancelReason | None = None
    expiration_reason: ExpirationReason | None = None
    new_product_id: str | UnsetType = UNSET
    expiration_at_ms: int | None | UnsetType = UNSET
    """Overrides the period's own end (a refund moves it back)."""
    items: tuple[BundleItem, ...] | UnsetType = UNSET
    """Overrides the period's own items (a change lists those that are active after it)."""
    dispatch: bool = True
    historical: bool = False
    of_replaced: bool = False
    """Belongs to a chain that another one has just replaced: goes first."""


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """The new state of one chain and what changed."""

    after: Chain
    emissions: tuple[Emission, ...] = ()


_RANK = {
    EventType.TRANSFER: 0,
    EventType.PRODUCT_CHANGE: 2,
    EventType.INITIAL_PURCHASE: 3,
    EventType.NON_RENEWING_PURCHASE: 3,
    EventType.RENEWAL: 4,
    EventType.SUBSCRIPTION_EXTENDED: 5,
    EventType.UNCANCELLATION: 6,
    EventType.SUBSCRIPTION_PAUSED: 7,
    EventType.BILLING_ISSUE: 8,
    EventType.CANCELLATION: 9,
    EventType.EXPIRATION: 10,
    EventType.REFUND_REVERSED: 11,
    EventType.PRICE_INCREASE_CONSENT_REQUIRED: 12,
    EventType.PRICE_INCREASE_CONSENT_APPROVED: 13,
}


def canonical_rank(emission: Emission) -> int:
    """Place of an event among those of one change (spec: events 5, rule 5)."""
    if emission.of_replaced and emission.type is EventType.EXPIRATION:
        return 1
    return _RANK[emission.type]


def purchase_type(chain: Chain, period: Period) -> EventType:
    """How the start of this period is called: first of a subscription, a further one, or a one-time purchase."""
    if not chain.is_subscription:
        return EventType.NON_RENEWING_PURCHASE
    first = period.ordinal == 1
    return EventType.INITIAL_PURCHASE if first else EventType.RENEWAL


def purchase(chain: Chain, period: Period) -> Emission:
    """INITIAL_PURCHASE, RENEWAL or NON_RENEWING_PURCHASE of a period, with its money."""
    return Emission(
        type=purchase_type(chain, period),
        chain=chain,
        period=period,
        discriminator=period.period_key,
        store_time_ms=period.purchased_at_ms,
        price_micros=period.price_micros,
        price_usd_micros=period.price_usd_micros,
    )


def cancellation(chain: Chain, period: Period, reason: CancelReason, at_ms: int) -> Emission:
    """CANCELLATION without money: renewal is off."""
    return Emission(
        type=EventType.CANCELLATION,
        chain=chain,
        period=period,
        discriminator=f"{period.period_key}|{reason}|{chain.toggle_count}|{chain.outage_count}",
        store_time_ms=at_ms,
        cancel_reason=reason,
    )


def billing_issue(chain: Chain, period: Period, at_ms: int) -> Emission:
    """BILLING_ISSUE, once per outage."""
    return Emission(
        type=EventType.BILLING_ISSUE,
        chain=chain,
        period=period,
        discriminator=_counted(period.period_key, chain.outage_count - 1),
        store_time_ms=at_ms,
    )


def refund(chain: Chain, period: Period) -> Emission:
    """CANCELLATION of a refunded period: negative money; none where a family member merely stopped sharing."""
    at_ms = period.refunded_at_ms if period.refunded_at_ms is not None else chain.as_of_ms
    micros, usd = refunded_amounts(period)
    return Emission(
        type=EventType.CANCELLATION,
        chain=chain,
        period=period,
        discriminator=f"{period.period_key}|refund|{period.refund_count}",
        store_time_ms=at_ms,
        price_micros=None if micros is None else -micros,
        price_usd_micros=None if usd is None else -usd,
        cancel_reason=CancelReason.UNKNOWN if period.family_revoked else CancelReason.CUSTOMER_SUPPORT,
        expiration_at_ms=revoked_expiration(period),
    )


def refund_reversed(chain: Chain, period: Period, before: Period, at_ms: int) -> Emission:
    """REFUND_REVERSED: what went back comes again, so that the sum over all events is right."""
    micros, usd = refunded_amounts(before)
    return Emission(
        type=EventType.REFUND_REVERSED,
        chain=chain,
        period=period,
        discriminator=f"{period.period_key}|{period.refund_count}",
        store_time_ms=at_ms,
        price_micros=micros,
        price_usd_micros=usd,
    )


def expiration(chain: Chain, period: Period, reason: ExpirationReason, at_ms: int) -> Emission:
    """EXPIRATION of a period; counted when access had come back in between."""
    return Emission(
        type=EventType.EXPIRATION,
        chain=chain,
        period=period,
        discriminator=_counted(period.period_key, chain.reopen_count),
        store_time_ms=at_ms,
        expiration_reason=reason,
        expiration_at_ms=revoked_expiration(period),
    )


def product_change(
    chain: Chain,
    period: Period,
    new_product_id: str | UnsetType,
    count: int,
    at_ms: int,
    items: tuple[BundleItem, ...] | UnsetType = UNSET,
) -> Emission:
    """PRODUCT_CHANGE away from `period`'s product; the key `new_product_id` is absent where UNSET."""
    target = "" if new_product_id is UNSET else new_product_id
    return Emission(
        type=EventType.PRODUCT_CHANGE,
        chain=chain,
        period=period,
        discriminator=f"{period.period_key}|{target}|{count}",
        store_time_ms=at_ms,
        new_product_id=new_product_id,
        items=items,
    )


def simple(type_: EventType, chain: Chain, period: Period, discriminator: str, at_ms: int) -> Emission:
    """An event without money or a reason: UNCANCELLATION, SUBSCRIPTION_EXTENDED, SUBSCRIPTION_PAUSED, consent."""
    return Emission(
        type=type_,
        chain=chain,
        period=period,
        discriminator=f"{period.period_key}|{discriminator}",
        store_time_ms=at_ms,
    )


def revoked_expiration(period: Period) -> int | None | UnsetType:
    """A refund that revokes moves the end of a subscription period back to the moment of revocation (events 3.3)."""
    if period.refunded_at_ms is None or not period.refund_revokes or period.expires_at_ms is None:
        return UNSET
    return min(period.expires_at_ms, period.refunded_at_ms)


def refunded_amounts(period: Period) -> tuple[int | None, int | None]:
    """(purchased currency, USD) that went back, positive; converted at the rate of the purchase, so that sums cancel."""
    if period.family_revoked:
        return 0, 0
    price, usd = period.price_micros, period.price_usd_micros
    if period.refund_micros is None or price is None or price == period.refund_micros:
        return price, usd
    if usd is None or price == 0:
        return period.refund_micros, None
    return period.refund_micros, round_half_even(usd * period.refund_micros, price)


def _counted(key: str, count: int) -> str:
    return key if count <= 0 else f"{key}|{count}"
