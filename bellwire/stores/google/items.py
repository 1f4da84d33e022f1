"""Line items of a subscription purchase: which one is running, which one is to follow, what phase they are in."""

from bellwire.model.enums import PeriodType
from bellwire.model.facts import product_key
from bellwire.model.purchases import Chain
from bellwire.stores.google.money import to_micros
from bellwire.stores.google.orders import phase_type
from bellwire.stores.google.times import parse_ms
from bellwire.stores.google.wire import LineItem, SubscriptionPurchase


def plan_of(item: LineItem) -> str | None:
    return None if item.offer_details is None else item.offer_details.base_plan_id


def key_of(item: LineItem) -> str:
    """Product of an item as events spell it."""
    return product_key(item.product_id, plan_of(item))


def expiry_ms(item: LineItem) -> int | None:
    return None if item.expiry_time is None else parse_ms(item.expiry_time)


def owned_items(purchase: SubscriptionPurchase) -> list[LineItem]:
    """Items with an order; one without is only scheduled, or not paid yet (spec: stores 3.4)."""
    return [item for item in purchase.line_items if item.latest_successful_order_id is not None]


def current_items(purchase: SubscriptionPurchase) -> list[LineItem]:
    """The owned items that run longest: one, or a base item and its add-ons, which share the expiry."""
    owned = owned_items(purchase)
    latest = max((expiry_ms(item) or 0 for item in owned), default=0)
    return [item for item in owned if (expiry_ms(item) or 0) == latest]


def current_item(purchase: SubscriptionPurchase, known: Chain | None) -> LineItem | None:
    """The running item; of several, the one that was the base item before, else the first."""
    items = current_items(purchase)
    stored = None if known is None or known.latest is None else known.latest.product_key
    return next((item for item in items if key_of(item) == stored), items[0] if items else None)


def deferred_target(purchase: SubscriptionPurchase) -> str | None:
    """Product that a running item is going to be replaced by at the end of its period, as events spell it."""
    for item in owned_items(purchase):
        if item.deferred_item_replacement is not None:
            product_id = item.deferred_item_replacement.product_id
            scheduled = (i for i in purchase.line_items if i.latest_successful_order_id is None)
            return next((key_of(i) for i in scheduled if i.product_id == product_id), product_id)
    return None


def item_period_type(item: LineItem) -> PeriodType:
    """What kind of term the item is in (spec: stores 3.4)."""
    if item.prepaid_plan is not None:
        return PeriodType.PREPAID
    phase = item.offer_phase
    if phase is None:
        return PeriodType.NORMAL
    if phase.free_trial is not None:
        return PeriodType.TRIAL
    if phase.introductory_price is not None:
        return PeriodType.INTRO
    if phase.proration_period is not None:
        return phase_type(phase.proration_period.original_offer_phase_type)
    return PeriodType.NORMAL


def list_price(items: list[LineItem]) -> tuple[int, str] | None:
    """Recurring price of all items together, in micros and currency: no discount, no tax; None if any is untold."""
    total, currency = 0, ""
    for item in items:
        price = None if item.auto_renewing_plan is None else item.auto_renewing_plan.recurring_price
        if price is None or (currency and currency != price.currency_code):
            return None
        total += to_micros(price)
        currency = price.currency_code
    return (total, currency) if currency else None


def renews(purchase: SubscriptionPurchase) -> bool | None:
    """Whether any item goes on by itself; None for prepaid plans, which never do and cannot be cancelled."""
    plans = [item.auto_renewing_plan for item in purchase.line_items if item.auto_renewing_plan is not None]
    if not plans:
        return None
    ending = any(p.installment_details is not None and p.installment_details.pending_cancellation for p in plans)
    return any(plan.auto_renew_enabled for plan in plans) and not ending
