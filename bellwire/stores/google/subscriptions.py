"""SubscriptionPurchaseV2 and its orders as a Snapshot: every row of the mapping table (spec: stores 3.4, 3.5).

The notification's type is a hint; the state of the purchase decides. Two rows need the hint: a scheduled pause, which
the API does not show while the subscription is still active, and a revocation whose order cannot be read.
"""

from typing import TypedDict

import msgspec
from msgspec import UNSET, UnsetType

from bellwire.model.enums import CancelReason, Environment, PriceConsent, ProductType, Store
from bellwire.model.facts import PeriodFact, Replacement, Snapshot
from bellwire.stores.google.bundles import only_leaves_out
from bellwire.stores.google.items import (
    current_items,
    deferred_target,
    expiry_ms,
    key_of,
    owned_items,
    renews,
)
from bellwire.stores.google.money import to_micros
from bellwire.stores.google.orders import OrderId
from bellwire.stores.google.periods import (
    CANCELED,
    IN_GRACE,
    ON_HOLD,
    cancelled_by_price,
    consent,
    in_trouble,
    past_periods,
    running_period,
    whole_history,
)
from bellwire.stores.google.reading import EXPIRED, Reading, wants_linked
from bellwire.stores.google.refunds import hinted_ms
from bellwire.stores.google.times import parse_optional_ms
from bellwire.stores.google.wire import LineItem, Money, SubscriptionPurchase

ACTIVE = "SUBSCRIPTION_STATE_ACTIVE"
PAUSED = "SUBSCRIPTION_STATE_PAUSED"
PENDING = "SUBSCRIPTION_STATE_PENDING"
PENDING_CANCELED = "SUBSCRIPTION_STATE_PENDING_PURCHASE_CANCELED"
ACKNOWLEDGED = "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"
PAUSE_SCHEDULE_CHANGED = "11"
SURVEY_PREFIX = "CANCEL_SURVEY_REASON_"


def subscription_snapshot(reading: Reading) -> Snapshot:
    """The purchase as facts. Pure: the same reading, the same snapshot."""
    purchase, item = reading.purchase, reading.item
    base = _identity(reading)
    if item is None or purchase.subscription_state in (PENDING, PENDING_CANCELED):
        dropped = purchase.subscription_state == PENDING_CANCELED
        return msgspec.structs.replace(base, pending=True, ended=True if dropped else UNSET)
    running = running_period(reading, item)
    target = deferred_target(purchase)
    deferred = target is not None
    return msgspec.structs.replace(
        base,
        original_transaction_id=_original_id(reading, running),
        periods=(*past_periods(reading, running.period_key), running),
        complete_history=not deferred and whole_history(reading, running.period_key),
        auto_renew_product_id=target,
        change_effective_at_ms=expiry_ms(item) if deferred else None,
        price_postponed=in_trouble(reading, item),
        **_renewal(reading, item),
        **_payment(reading, running, item),
        **_pause(reading, running),
        **_next_price(item),
        ended=purchase.subscription_state == EXPIRED,
        **_replacement(reading),
    )


def _identity(reading: Reading) -> Snapshot:
    """What is said of every purchase, paid or not."""
    purchase = reading.purchase
    out_of_app = purchase.out_of_app_purchase_context
    accounts = [purchase.external_account_identifiers]
    if out_of_app is not None:
        accounts.append(out_of_app.expired_external_account_identifiers)
    known_id = None if reading.known is None else reading.known.original_transaction_id
    return Snapshot(
        store=Store.PLAY_STORE,
        environment=Environment.PRODUCTION if purchase.test_purchase is None else Environment.SANDBOX,
        store_key=reading.token,
        original_transaction_id=known_id or reading.token,
        product_type=ProductType.SUBSCRIPTION,
        as_of_ms=reading.as_of_ms,
        periods=(),
        started_at_ms=parse_optional_ms(purchase.start_time) or UNSET,
        previous_owner_key=None if out_of_app is None else out_of_app.expired_purchase_token,
        account_hint=next((a.obfuscated_external_account_id for a in accounts if a is not None), None),
        acknowledged=purchase.acknowledgement_state == ACKNOWLEDGED,
        raw=reading.raw,
    )


def _original_id(reading: Reading, running: PeriodFact) -> str:
    """The first order's id; a chain that went on under a new token keeps the one it has."""
    known = reading.known
    return known.original_transaction_id if known is not None and known.periods else _base(running.period_key)


def _base(order_id: str) -> str:
    return OrderId.parse(order_id).base


class _Renewal(TypedDict):
    auto_renew: bool | None
    cancelled_at_ms: int | None | UnsetType
    cancel_reason: CancelReason | UnsetType
    cancel_survey: str | None | UnsetType
    replaced_by_other: bool


def _renewal(reading: Reading, item: LineItem) -> _Renewal:
    """Whether it renews, and if not, why not."""
    purchase, context = reading.purchase, reading.purchase.canceled_state_context
    auto_renew = renews(purchase)
    if auto_renew is not None and purchase.subscription_state in (CANCELED, EXPIRED):
        auto_renew = False
    told: _Renewal = {
        "auto_renew": auto_renew,
        "cancelled_at_ms": None if auto_renew else UNSET,
        "cancel_reason": UNSET,
        "cancel_survey": None if auto_renew else UNSET,
        "replaced_by_other": context is not None and context.replacement_cancellation is not None,
    }
    if auto_renew is not False:
        return told
    if context is None:
        plan = item.auto_renewing_plan
        if plan is not None and plan.installment_details is not None:
            told["cancel_reason"] = CancelReason.UNSUBSCRIBE
    elif context.user_initiated_cancellation is not None:
        user = context.user_initiated_cancellation
        told["cancel_reason"] = CancelReason.UNSUBSCRIBE
        told["cancelled_at_ms"] = parse_optional_ms(user.cancel_time) or UNSET
        if user.cancel_survey_result is not None:
            reason = user.cancel_survey_result.reason.removeprefix(SURVEY_PREFIX)
            words = user.cancel_survey_result.reason_user_input
            told["cancel_survey"] = f"{reason}: {words}" if words else reason
    elif context.developer_initiated_cancellation is not None:
        told["cancel_reason"] = CancelReason.DEVELOPER_INITIATED
    elif context.system_initiated_cancellation is not None:
        by_price = cancelled_by_price(reading, item)
        told["cancel_reason"] = CancelReason.PRICE_INCREASE if by_price else CancelReason.BILLING_ERROR
    return told


class _Payment(TypedDict):
    billing_issue: bool | UnsetType
    billing_issue_at_ms: int | None | UnsetType
    billing_retry: bool
    grace_expires_at_ms: int | None | UnsetType


def _payment(reading: Reading, running: PeriodFact, item: LineItem) -> _Payment:
    """Trouble with the charge. A cancelled or expired purchase does not say whether it ended in trouble."""
    state = reading.purchase.subscription_state
    if state == IN_GRACE:
        return {
            "billing_issue": True,
            "billing_issue_at_ms": running.expires_at_ms,
            "billing_retry": False,
            "grace_expires_at_ms": expiry_ms(item),
        }
    if state == ON_HOLD:
        resumed = reading.known is not None and reading.known.paused
        return {
            "billing_issue": True,
            "billing_issue_at_ms": UNSET if resumed else running.expires_at_ms,
            "billing_retry": True,
            "grace_expires_at_ms": None,
        }
    silent = state in (CANCELED, EXPIRED)
    cancelled_in_grace = state == CANCELED and in_trouble(reading, item)
    return {
        "billing_issue": UNSET if silent else False,
        "billing_issue_at_ms": UNSET if silent else None,
        "billing_retry": False,
        "grace_expires_at_ms": expiry_ms(item) if cancelled_in_grace else None,
    }


class _Pause(TypedDict):
    paused: bool
    pause_scheduled: bool | UnsetType
    auto_resume_at_ms: int | None | UnsetType


def _pause(reading: Reading, running: PeriodFact) -> _Pause:
    """A pause in effect, or one that a notification has just announced for the running period."""
    state, known = reading.purchase.subscription_state, reading.known
    if state == PAUSED:
        context = reading.purchase.paused_state_context
        resume = None if context is None else parse_optional_ms(context.auto_resume_time)
        return {"paused": True, "pause_scheduled": False, "auto_resume_at_ms": resume}
    new_period = known is not None and known.latest is not None and known.latest.period_key != running.period_key
    scheduled: bool | UnsetType = False if new_period or state != ACTIVE else UNSET
    told_ms = hinted_ms(reading.hints)
    announced = reading.hints.get("notificationType") == PAUSE_SCHEDULE_CHANGED
    if state == ACTIVE and announced and (told_ms is None or told_ms >= running.purchased_at_ms):
        # The same message also says that a schedule was taken back; then there is nothing new to tell.
        already = known is not None and known.pause_scheduled and not new_period
        scheduled = UNSET if already else True
    return {"paused": False, "pause_scheduled": scheduled, "auto_resume_at_ms": UNSET if scheduled is UNSET else None}


class _NextPrice(TypedDict):
    price_consent: PriceConsent
    next_price_micros: int | None
    next_price_currency: str | None
    next_price_at_ms: int | None


def _next_price(item: LineItem) -> _NextPrice:
    """A price change that has not taken effect yet, and whether the customer must agree and has agreed."""
    plan = item.auto_renewing_plan
    price: Money | None = None
    at_ms: int | None = None
    if plan is not None and plan.price_change_details is not None:
        change = plan.price_change_details
        if change.price_change_state in ("OUTSTANDING", "CONFIRMED"):
            price, at_ms = change.new_price, parse_optional_ms(change.expected_new_price_charge_time)
    if price is None and plan is not None and plan.price_step_up_consent_details is not None:
        step_up = plan.price_step_up_consent_details
        if step_up.state in ("PENDING", "CONFIRMED"):
            price, at_ms = step_up.new_price, parse_optional_ms(step_up.consent_deadline_time)
    return {
        "price_consent": consent(item),
        "next_price_micros": None if price is None else to_micros(price),
        "next_price_currency": None if price is None else price.currency_code,
        "next_price_at_ms": at_ms,
    }


class _Replaces(TypedDict):
    replaces: str | None
    replacement: Replacement | None


def _replacement(reading: Reading) -> _Replaces:
    """Which purchase this one takes over from, told once: a linked token stays linked for ever."""
    if not wants_linked(reading):
        return {"replaces": None, "replacement": None}
    return {"replaces": reading.purchase.linked_purchase_token, "replacement": _replacement_kind(reading)}


def _replacement_kind(reading: Reading) -> Replacement:
    purchase, item, old = reading.purchase, reading.item, reading.linked
    modes = {i.item_replacement.replacement_mode for i in purchase.line_items if i.item_replacement is not None}
    if deferred_target(purchase) is not None or "DEFERRED" in modes or only_leaves_out(purchase):
        return Replacement.DEFERRED
    if (item is not None and item.prepaid_plan is not None) or (old is not None and _prepaid(old)):
        return Replacement.TOP_UP
    new_keys = {key_of(i) for i in current_items(purchase)}
    if old is not None:
        old_keys = {key_of(i) for i in (current_items(old) or list(old.line_items))}
        return Replacement.SAME_PRODUCT if new_keys == old_keys else Replacement.IMMEDIATE
    return Replacement.SAME_PRODUCT if new_keys == _replaced_keys(purchase) else Replacement.IMMEDIATE


def _replaced_keys(purchase: SubscriptionPurchase) -> set[str]:
    """Products that the owned items say they replaced; where Google cannot tell the linked purchase any more."""
    replaced = [i.item_replacement for i in owned_items(purchase) if i.item_replacement is not None]
    return {r.product_id if r.base_plan_id is None else f"{r.product_id}:{r.base_plan_id}" for r in replaced}


def _prepaid(purchase: SubscriptionPurchase) -> bool:
    return any(item.prepaid_plan is not None for item in purchase.line_items)
