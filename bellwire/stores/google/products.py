"""ProductPurchaseV2 and its order as a Snapshot: one-time purchases (spec: stores 3.4, 3.5)."""

from collections.abc import Mapping

import msgspec
from msgspec import UNSET

from bellwire.model.enums import Environment, ProductType, Store
from bellwire.model.facts import PeriodFact, Snapshot
from bellwire.model.purchases import Chain, Period
from bellwire.stores.base import PostedReceipt
from bellwire.stores.google.orders import with_money
from bellwire.stores.google.refunds import Refund, hinted_ms, refund_of_past, voided_order
from bellwire.stores.google.times import parse_optional_ms
from bellwire.stores.google.wire import Order, ProductOfferDetails, ProductPurchase

PENDING = "PENDING"
CANCELLED = "CANCELLED"
ACKNOWLEDGED = "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"
CONSUMED = "CONSUMPTION_STATE_CONSUMED"


class ProductReading(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a one-time purchase: Google's answers, the hub's memory, and why it looked."""

    token: str
    purchase: ProductPurchase
    as_of_ms: int
    order: Order | None = None
    known: Chain | None = None
    hints: Mapping[str, str] = {}
    posted: PostedReceipt | None = None
    raw: str = ""

    @property
    def state(self) -> str:
        context = self.purchase.purchase_state_context
        return "" if context is None else context.purchase_state

    @property
    def stored(self) -> Period | None:
        return None if self.known is None else self.known.latest

    @property
    def offer(self) -> ProductOfferDetails:
        lines = self.purchase.product_line_item
        details = lines[0].product_offer_details if lines else None
        return details or ProductOfferDetails()


def order_wanted(reading: ProductReading) -> str | None:
    """Id of the order to read: unless its price is known and no money went back."""
    order_id, stored = reading.purchase.order_id, reading.stored
    if order_id is None or reading.purchase.purchase_completion_time is None:
        return None
    priced = stored is not None and stored.price_micros is not None
    return None if priced and not _gone(reading) else order_id


def product_snapshot(reading: ProductReading) -> Snapshot:
    """The purchase as facts. Pure: the same reading, the same snapshot."""
    purchase = reading.purchase
    owned = purchase.purchase_completion_time is not None or reading.stored is not None
    base = Snapshot(
        store=Store.PLAY_STORE,
        environment=Environment.PRODUCTION if purchase.test_purchase_context is None else Environment.SANDBOX,
        store_key=reading.token,
        original_transaction_id=purchase.order_id or reading.token,
        product_type=ProductType.ONE_TIME,
        as_of_ms=reading.as_of_ms,
        periods=(),
        account_hint=purchase.obfuscated_external_account_id,
        acknowledged=purchase.acknowledgement_state == ACKNOWLEDGED or reading.offer.consumption_state == CONSUMED,
        raw=reading.raw,
    )
    if reading.state == PENDING or not owned or not purchase.product_line_item:
        return msgspec.structs.replace(base, pending=True, ended=True if reading.state == CANCELLED else UNSET)
    return msgspec.structs.replace(base, auto_renew=None, periods=(_period(reading),), complete_history=True)


def _period(reading: ProductReading) -> PeriodFact:
    purchase, order, posted, stored = reading.purchase, reading.order, reading.posted, reading.stored
    completed = parse_optional_ms(purchase.purchase_completion_time)
    fact = PeriodFact(
        # A promotion code makes a purchase without an order (spec: events F74); the token then names it.
        period_key=purchase.order_id or reading.token,
        product_id=purchase.product_line_item[0].product_id,
        ordinal=1,
        purchased_at_ms=completed or (reading.as_of_ms if stored is None else stored.purchased_at_ms),
        expires_at_ms=None,
        country=purchase.region_code,
        quantity=reading.offer.quantity or 1,
    )
    if order is not None and order.total is not None:
        fact = with_money(fact, order)
    elif purchase.order_id is None:
        fact = msgspec.structs.replace(fact, price_micros=0, currency=None if posted is None else posted.currency)
    elif posted is not None and posted.price_micros is not None:
        fact = msgspec.structs.replace(fact, price_micros=posted.price_micros, currency=posted.currency)
    refund = _refund(reading)
    return fact if refund is None else msgspec.structs.replace(fact, refunded_at_ms=refund.at_ms)


def _refund(reading: ProductReading) -> Refund | None:
    """All of it went back; a part of the quantity leaves the purchase standing (spec: stores 3.5)."""
    if not _gone(reading):
        return None
    order_id = reading.purchase.order_id or ""
    told = refund_of_past(reading.order, order_id=order_id, hints=reading.hints, as_of_ms=reading.as_of_ms)
    return told or Refund(at_ms=hinted_ms(reading.hints) or reading.as_of_ms)


def _gone(reading: ProductReading) -> bool:
    voided = voided_order(reading.hints)
    whole = voided is not None and voided == reading.purchase.order_id
    return reading.state == CANCELLED or reading.offer.refundable_quantity == 0 or whole
