"""Everything that was read of one subscription purchase, and what else must be read to understand it."""

from collections.abc import Mapping

import msgspec

from bellwire.model.purchases import Chain, Period
from bellwire.stores.base import PostedReceipt
from bellwire.stores.google.items import current_item, owned_items
from bellwire.stores.google.orders import OrderId
from bellwire.stores.google.refunds import voided_order
from bellwire.stores.google.wire import LineItem, Order, SubscriptionPurchase

EXPIRED = "SUBSCRIPTION_STATE_EXPIRED"
MAX_HISTORY_ORDERS = 400


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a purchase token: Google's answers, the hub's memory, and why it looked."""

    token: str
    purchase: SubscriptionPurchase
    as_of_ms: int
    orders: dict[str, Order] = {}
    """Whatever of `orders_wanted` could be read."""
    linked: SubscriptionPurchase | None = None
    """The purchase that this one is linked to, where `wants_linked` asked for it and Google still tells."""
    plan_duration: str | None = None
    """ISO 8601 billing period of the running base plan, read only where no order tells the start."""
    known: Chain | None = None
    hints: Mapping[str, str] = {}
    posted: PostedReceipt | None = None
    report_refunds_without_revoke: bool = False
    raw: str = ""

    @property
    def item(self) -> LineItem | None:
        return current_item(self.purchase, self.known)

    def known_period(self, period_key: str) -> Period | None:
        """The stored period of this key."""
        periods = () if self.known is None else self.known.periods
        return next((period for period in periods if period.period_key == period_key), None)


def orders_wanted(reading: Reading) -> tuple[str, ...]:
    """Ids of the orders to read: the running one unless its price is known, missed ones, a voided one.

    At first sight of a renewal that is the whole history, since renewal ids count up. The newest comes first.
    """
    item = reading.item
    if item is None or item.latest_successful_order_id is None:
        return ()
    current_id = item.latest_successful_order_id
    wanted: list[str] = []
    stored = reading.known_period(current_id)
    priced = stored is not None and stored.price_micros is not None and not stored.price_assumed
    refundable = stored is None or stored.refunded_at_ms is None
    ended = reading.purchase.subscription_state == EXPIRED
    voided = voided_order(reading.hints)
    if not priced or (refundable and (ended or reading.report_refunds_without_revoke or voided == current_id)):
        wanted.append(current_id)
    if stored is None:
        wanted += _missed(current_id, reading.known)
    if voided is not None and voided not in wanted:
        wanted.append(voided)
    return tuple(wanted)


def _missed(current_id: str, known: Chain | None) -> list[str]:
    """Orders between the newest known one and the running one, newest first."""
    current = OrderId.parse(current_id)
    first = 1
    if known is not None and known.latest is not None:
        latest = OrderId.parse(known.latest.period_key)
        if latest.base != current.base:
            return []
        first = latest.ordinal + 1
    first = max(first, current.ordinal - MAX_HISTORY_ORDERS)
    return [str(OrderId(current.base, ordinal)) for ordinal in range(current.ordinal - 1, first - 1, -1)]


def wants_linked(reading: Reading) -> bool:
    """Whether the linked purchase must be read to tell what kind of replacement this is: once, at first sight."""
    token = reading.purchase.linked_purchase_token
    told = reading.known is not None and reading.known.replaces_key == token
    return token is not None and not told and bool(owned_items(reading.purchase))


def wants_plan_duration(reading: Reading) -> bool:
    """Whether nothing but the catalogue can tell when the running period began."""
    item = reading.item
    if item is None or item.latest_successful_order_id is None or reading.known is not None:
        return False
    order_id = item.latest_successful_order_id
    return order_id not in reading.orders and OrderId.parse(order_id).ordinal > 1
