"""The books as Google's API prints them. What is false, zero or empty is left out, as in proto JSON."""

from typing import TypeAlias

from bellwire.simulator.google.calendar import rfc3339
from bellwire.simulator.google.records import (
    CANCELED,
    EXPIRED,
    IN_GRACE,
    ON_HOLD,
    PAUSED,
    USER,
    Item,
    OneTimePurchase,
    Order,
    OrderLine,
    Subscription,
    Voided,
)

JSON: TypeAlias = dict[str, object]
PRESENT: JSON = {}
"""A message without fields, whose presence says something. Never changed."""
NANOS_PER_MICRO = 1_000
MICROS = 1_000_000
LINE_PHASES = {"trial": "freeTrialDetails", "intro": "introductoryPriceDetails", "base": "baseDetails"}


def money(micros: int, currency: str) -> JSON:
    units, rest = divmod(micros, MICROS)
    out: JSON = {"currencyCode": currency}
    if units:
        out["units"] = str(units)
    if rest:
        out["nanos"] = rest * NANOS_PER_MICRO
    return out


def subscription_json(sub: Subscription) -> JSON:
    """SubscriptionPurchaseV2."""
    out: JSON = {
        "kind": "androidpublisher#subscriptionPurchaseV2",
        "etag": f"{sub.token[:8]}-{sub.version}",
        "regionCode": sub.region,
        "subscriptionState": f"SUBSCRIPTION_STATE_{sub.state}",
        "acknowledgementState": _acknowledgement(sub.acknowledged),
        "lineItems": [_item(sub, item) for item in sub.items],
    }
    if sub.start_ms is not None:
        out["startTime"] = rfc3339(sub.start_ms)
    if sub.linked is not None:
        out["linkedPurchaseToken"] = sub.linked
    if sub.test:
        out["testPurchase"] = PRESENT
    if sub.account_id is not None:
        out["externalAccountIdentifiers"] = {"obfuscatedExternalAccountId": sub.account_id}
    if sub.state == PAUSED and sub.resume_ms is not None:
        out["pausedStateContext"] = {"autoResumeTime": rfc3339(sub.resume_ms)}
    if sub.state == IN_GRACE:
        out["inGracePeriodStateContext"] = {"renewalDeclined": {"pendingOrderId": sub.pending_order or ""}}
    if sub.state == ON_HOLD:
        out["onHoldStateContext"] = {"renewalDeclined": {"pendingOrderId": sub.pending_order or ""}}
    if sub.state in (CANCELED, EXPIRED) and sub.cancelled_by is not None:
        out["canceledStateContext"] = {sub.cancelled_by: _cancellation(sub)}
    if sub.expired_token is not None and not sub.acknowledged:
        context: JSON = {"expiredPurchaseToken": sub.expired_token}
        if sub.expired_account_id is not None:
            context["expiredExternalAccountIdentifiers"] = {"obfuscatedExternalAccountId": sub.expired_account_id}
        out["outOfAppPurchaseContext"] = context
    return out


def _acknowledgement(done: bool) -> str:
    return f"ACKNOWLEDGEMENT_STATE_{'ACKNOWLEDGED' if done else 'PENDING'}"


def _cancellation(sub: Subscription) -> JSON:
    if sub.cancelled_by != USER or sub.cancelled_ms is None:
        return {}
    out: JSON = {"cancelTime": rfc3339(sub.cancelled_ms)}
    if sub.survey is not None:
        reason, words = sub.survey
        survey: JSON = {"reason": f"CANCEL_SURVEY_REASON_{reason}"}
        if words is not None:
            survey["reasonUserInput"] = words
        out["cancelSurveyResult"] = survey
    return out


def _item(sub: Subscription, item: Item) -> JSON:
    plan = item.plan
    offer: JSON = {"basePlanId": plan.plan_id}
    if item.offer_id is not None:
        offer["offerId"] = item.offer_id
    out: JSON = {"productId": plan.product_id, "offerDetails": offer}
    if item.expiry_ms is not None:
        out["expiryTime"] = rfc3339(item.expiry_ms)
    if item.order_id is not None:
        out["latestSuccessfulOrderId"] = item.order_id
        out["offerPhase"] = _phase(item.phase)
    if plan.prepaid:
        extendable = sub.state != EXPIRED and sub.start_ms is not None
        out["prepaidPlan"] = {"allowExtendAfterTime": rfc3339(sub.start_ms or 0)} if extendable else {}
    else:
        out["autoRenewingPlan"] = _renewing(sub, item)
    if item.deferred_to is not None:
        out["deferredItemReplacement"] = {"productId": item.deferred_to.product_id}
    if item.removal_scheduled:
        out["deferredItemRemoval"] = PRESENT
    if item.replaced is not None:
        product_id, plan_id, mode = item.replaced
        out["itemReplacement"] = {"productId": product_id, "basePlanId": plan_id, "replacementMode": mode}
    if item.promotion_code is not None:
        out["signupPromotion"] = {"vanityCode": {"promotionCode": item.promotion_code}}
    return out


def _phase(phase: str) -> JSON:
    if phase == "proration":
        return {"prorationPeriod": {"originalOfferPhaseType": "BASE"}}
    return {{"trial": "freeTrial", "intro": "introductoryPrice"}.get(phase, "basePrice"): {}}


def _renewing(sub: Subscription, item: Item) -> JSON:
    currency = item.plan.currency
    out: JSON = {"recurringPrice": money(item.price_micros, currency)}
    if sub.auto_renew and item.deferred_to is None and not item.removal_scheduled:
        out["autoRenewEnabled"] = True
    change, step = item.price_change, item.step_up
    if change is not None:
        mode = "PRICE_DECREASE" if change.decrease else "PRICE_INCREASE"
        if not change.decrease and not change.needs_consent:
            mode = "OPT_OUT_PRICE_INCREASE"
        told: JSON = {
            "newPrice": money(change.new_price_micros, currency),
            "priceChangeMode": mode,
            "priceChangeState": change.state,
        }
        if change.charge_at_ms is not None:
            told["expectedNewPriceChargeTime"] = rfc3339(change.charge_at_ms)
        out["priceChangeDetails"] = told
    if step is not None:
        out["priceStepUpConsentDetails"] = {
            "state": step.state,
            "consentDeadlineTime": rfc3339(step.deadline_ms),
            "newPrice": money(step.new_price_micros, currency),
        }
    if item.plan.installments:
        plan: JSON = {"initialCommittedPaymentsCount": item.plan.installments}
        if sub.payments_left:
            plan["remainingCommittedPaymentsCount"] = sub.payments_left
        if sub.pending_cancellation:
            plan["pendingCancellation"] = PRESENT
        out["installmentDetails"] = plan
    return out


def product_v2_json(bought: OneTimePurchase) -> JSON:
    """ProductPurchaseV2."""
    offer: JSON = {
        "purchaseOptionId": "buy",
        "quantity": bought.quantity,
        "refundableQuantity": bought.quantity - bought.refunded_quantity,
        "consumptionState": f"CONSUMPTION_STATE_{'CONSUMED' if bought.consumed else 'YET_TO_BE_CONSUMED'}",
    }
    out: JSON = {
        "kind": "androidpublisher#productPurchaseV2",
        "purchaseStateContext": {"purchaseState": bought.state},
        "acknowledgementState": _acknowledgement(bought.acknowledged),
        "regionCode": bought.region,
        "productLineItem": [{"productId": bought.product.product_id, "productOfferDetails": offer}],
    }
    if bought.order_id is not None:
        out["orderId"] = bought.order_id
    if bought.completed_ms is not None:
        out["purchaseCompletionTime"] = rfc3339(bought.completed_ms)
    if bought.account_id is not None:
        out["obfuscatedExternalAccountId"] = bought.account_id
    if bought.test:
        out["testPurchaseContext"] = {"fopType": "TEST"}
    return out


def product_json(bought: OneTimePurchase) -> JSON:
    """ProductPurchase, the older view."""
    out: JSON = {
        "kind": "androidpublisher#productPurchase",
        "purchaseTimeMillis": str(bought.completed_ms or bought.created_ms),
        "purchaseState": {"PURCHASED": 0, "CANCELLED": 1, "PENDING": 2}[bought.state],
        "consumptionState": int(bought.consumed),
        "acknowledgementState": int(bought.acknowledged),
        "quantity": bought.quantity,
        "refundableQuantity": bought.quantity - bought.refunded_quantity,
        "regionCode": bought.region,
    }
    if bought.order_id is not None:
        out["orderId"] = bought.order_id
    if bought.test or bought.promo:
        out["purchaseType"] = 0 if bought.test else 1
    if bought.account_id is not None:
        out["obfuscatedExternalAccountId"] = bought.account_id
    return out


def order_json(order: Order) -> JSON:
    """Order."""
    history: JSON = {"processedEvent": {"eventTime": rfc3339(order.created_ms)}}
    if order.refunded_ms is not None:
        history["refundEvent"] = {
            "eventTime": rfc3339(order.refunded_ms),
            "refundReason": order.refund_reason,
            "refundDetails": {
                "total": money(order.total_micros, order.currency),
                "tax": money(order.tax_micros, order.currency),
            },
        }
    if order.partial_refunds:
        history["partialRefundEvents"] = [
            {
                "createTime": rfc3339(at_ms),
                "processTime": rfc3339(at_ms),
                "state": "PROCESSED_SUCCESSFULLY",
                "refundDetails": {"total": money(total, order.currency), "tax": money(tax, order.currency)},
            }
            for at_ms, total, tax in order.partial_refunds
        ]
    details: JSON = {"taxInclusive": True} if order.tax_inclusive else {}
    return {
        "orderId": order.id,
        "purchaseToken": order.token,
        "state": order.state,
        "createTime": rfc3339(order.created_ms),
        "lastEventTime": rfc3339(order.last_event_ms),
        "buyerAddress": {"buyerCountry": order.region},
        "total": money(order.total_micros, order.currency),
        "tax": money(order.tax_micros, order.currency),
        "developerRevenueInBuyerCurrency": money(order.revenue_micros, order.currency),
        "orderDetails": details,
        "orderHistory": history,
        "salesChannel": "IN_APP",
        "lineItems": [_order_line(order, line) for line in order.lines],
    }


def _order_line(order: Order, line: OrderLine) -> JSON:
    out: JSON = {
        "productId": line.product_id,
        "productTitle": line.product_id,
        "listingPrice": money(line.price_micros, order.currency),
        "total": money(line.price_micros + (0 if order.tax_inclusive else line.tax_micros), order.currency),
        "tax": money(line.tax_micros, order.currency),
    }
    if line.start_ms is None or line.end_ms is None or line.plan_id is None:
        out["oneTimePurchaseDetails"] = {"purchaseOptionId": "buy", "quantity": line.quantity}
        return out
    phase: JSON = {"prorationPeriodDetails": {"originalOfferPhase": "BASE"}}
    if line.phase != "proration":
        phase = {LINE_PHASES[line.phase]: {}}
    details: JSON = {
        "basePlanId": line.plan_id,
        "offerPhaseDetails": phase,
        "servicePeriodStartTime": rfc3339(line.start_ms),
        "servicePeriodEndTime": rfc3339(line.end_ms),
    }
    if line.offer_id is not None:
        details["offerId"] = line.offer_id
    out["subscriptionDetails"] = details
    return out


def voided_json(row: Voided) -> JSON:
    """VoidedPurchase. `voidedReason` and `voidedSource` are numbers of which 0 means something: they are printed."""
    out: JSON = {
        "kind": "androidpublisher#voidedPurchase",
        "purchaseToken": row.token,
        "orderId": row.order_id,
        "purchaseTimeMillis": str(row.purchased_ms),
        "voidedTimeMillis": str(row.voided_ms),
        "voidedReason": row.reason,
        "voidedSource": row.source,
    }
    if row.quantity is not None:
        out["voidedQuantity"] = row.quantity
    return out
