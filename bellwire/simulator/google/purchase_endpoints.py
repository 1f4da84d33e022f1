"""What the fake API does with purchases and orders."""

import base64

from bellwire.simulator.google.calendar import DAY_MS, duration_ms, rfc3339
from bellwire.simulator.google.calls import Call
from bellwire.simulator.google.records import DEVELOPER, EXPIRED, USER, PlayError, Subscription
from bellwire.simulator.google.views import (
    JSON,
    order_json,
    product_json,
    product_v2_json,
    subscription_json,
    voided_json,
)

READABLE_AFTER_EXPIRY_MS = 60 * DAY_MS
VOIDED_WINDOW_MS = 30 * DAY_MS
DEFAULT_PAGE, MAX_VOIDED_PAGE, MAX_BATCH = 100, 1000, 1000
CANCELLATION_TYPES = {"USER_REQUESTED_STOP_RENEWALS": USER, "DEVELOPER_REQUESTED_STOP_PAYMENTS": DEVELOPER}


# -- subscriptions


def _subscription(call: Call) -> Subscription:
    found = call.play.subscription(call.path["token"])
    if found.ended_ms is not None and call.play.now_ms > found.ended_ms + READABLE_AFTER_EXPIRY_MS:
        message = "The subscription purchase is no longer available for query because it has been expired for too long."
        raise PlayError(410, "subscriptionPurchaseNoLongerAvailable", message)
    return found


def get_subscription(call: Call) -> JSON:
    return subscription_json(_subscription(call))


def acknowledge_subscription(call: Call) -> None:
    found = _subscription(call)
    if found.state == EXPIRED or found.start_ms is None:
        raise PlayError(400, "subscriptionInvalid", "The subscription purchase cannot be acknowledged.")
    found.acknowledged = True
    found.version += 1


def cancel_v1(call: Call) -> None:
    call.play.cancel(_subscription(call).token, by=DEVELOPER)


def cancel_v2(call: Call) -> JSON:
    kind = CANCELLATION_TYPES.get(str(call.part("cancellationContext").get("cancellationType")))
    if kind is None:
        raise PlayError(400, "invalid", "cancellationType is required")
    call.play.cancel(_subscription(call).token, by=kind)
    return {}


def defer_v1(call: Call) -> JSON:
    found, info = _subscription(call), call.part("deferralInfo")
    expected, desired = info.get("expectedExpiryTimeMillis"), info.get("desiredExpiryTimeMillis")
    if not (isinstance(expected, str) and isinstance(desired, str) and expected.isdigit() and desired.isdigit()):
        raise PlayError(400, "required", "expectedExpiryTimeMillis and desiredExpiryTimeMillis are required")
    if int(expected) != found.expiry_ms:
        raise PlayError(400, "expectedExpiryTimeMismatch", "The expiry time is not the expected one.")
    return {"newExpiryTimeMillis": str(call.play.defer(found.token, int(desired) - found.expiry_ms))}


def defer_v2(call: Call) -> JSON:
    found, context = _subscription(call), call.part("deferralContext")
    if context.get("etag") != subscription_json(found)["etag"]:
        raise PlayError(409, "concurrentUpdate", "The etag is not the latest one.")
    try:
        by_ms = duration_ms(str(context.get("deferDuration")))
    except ValueError as error:
        raise PlayError(400, "invalid", str(error)) from error
    expiry_ms = found.expiry_ms + by_ms
    if context.get("validateOnly") is not True:
        call.play.defer(found.token, by_ms)
    details: JSON = {"productId": found.base.plan.product_id, "expiryTime": rfc3339(expiry_ms)}
    return {"itemExpiryTimeDetails": [details]}


def revoke(call: Call) -> JSON:
    found, context = _subscription(call), call.part("revocationContext")
    if "proratedRefund" in context:
        length = max(found.paid_until_ms - (found.start_ms or 0), 1)
        left = max(found.paid_until_ms - call.play.now_ms, 0)
        call.play.revoke(found.token, part_ppm=min(1_000_000 * left // length, 1_000_000))
    elif "fullRefund" in context or "itemBasedRefund" in context:
        call.play.revoke(found.token)
    else:
        raise PlayError(400, "required", "a kind of refund is required")
    return {}


# -- one-time products


def get_product_v2(call: Call) -> JSON:
    return product_v2_json(call.play.one_time_purchase(call.path["token"]))


def get_product(call: Call) -> JSON:
    bought = call.play.one_time_purchase(call.path["token"])
    if bought.product.product_id != call.path["product_id"]:
        raise PlayError(404, "purchaseTokenDoesNotMatchProductId", "The purchase token does not match the product.")
    return product_json(bought)


def acknowledge_product(call: Call) -> None:
    get_product(call)
    bought = call.play.one_time_purchase(call.path["token"])
    if bought.state != "PURCHASED":
        raise PlayError(400, "productNotOwnedByUser", "The product is not owned by the user.")
    bought.acknowledged = True


def consume_product(call: Call) -> None:
    acknowledge_product(call)
    call.play.one_time_purchase(call.path["token"]).consumed = True


# -- orders


def _may_view_orders(call: Call) -> None:
    if not call.play.financial_permission:
        message = "The current user has insufficient permissions to perform the requested operation."
        raise PlayError(403, "permissionDenied", message)


def get_order(call: Call) -> JSON:
    _may_view_orders(call)
    return order_json(call.play.order(call.path["order_id"]))


def get_orders(call: Call) -> JSON:
    """All or nothing."""
    _may_view_orders(call)
    order_ids = call.texts("orderIds")
    if not 1 <= len(order_ids) <= MAX_BATCH:
        raise PlayError(400, "invalid", f"between 1 and {MAX_BATCH} order ids are required")
    return {"orders": [order_json(call.play.order(order_id)) for order_id in order_ids]}


def refund_order(call: Call) -> None:
    order = call.play.order(call.path["order_id"])
    bought = call.play.one_time.get(order.token)
    if bought is not None and call.text("revoke") == "true":
        call.play.refund_product(order.token)
    else:
        call.play.refund_order(order.id, revoke=call.text("revoke") == "true")


def review_refund(call: Call) -> None:
    call.play.order(call.path["order_id"])
    body = call.json()
    if body.get("refundPreference") not in ("DECLINE", "APPROVE", "NEUTRAL") or not body.get("pendingRefundToken"):
        raise PlayError(400, "required", "pendingRefundToken and refundPreference are required")


def list_voided(call: Call) -> JSON:
    now_ms = call.play.now_ms
    kind, size = call.number("type", 0), call.number("maxResults", DEFAULT_PAGE)
    partial = call.text("includeQuantityBasedPartialRefund") == "true"
    start_ms = call.number("startTime", now_ms - VOIDED_WINDOW_MS)
    end_ms, offset = call.number("endTime", now_ms), 0
    page_token = call.text("token")
    if page_token is not None:
        start_ms, end_ms, offset = _read_page_token(page_token)
    elif start_ms < now_ms - VOIDED_WINDOW_MS or end_ms > now_ms or start_ms > end_ms:
        raise PlayError(400, "invalid", "startTime or endTime is outside the last 30 days")
    if not 1 <= size <= MAX_VOIDED_PAGE:
        raise PlayError(400, "invalid", f"maxResults is between 1 and {MAX_VOIDED_PAGE}")
    rows = [
        row
        for row in call.play.voided
        if start_ms <= row.seen_ms <= end_ms
        and (kind == 1 or not row.subscription)
        and (partial or row.quantity is None)
    ]
    out: JSON = {}
    if rows[offset:]:
        out["voidedPurchases"] = [voided_json(row) for row in rows[offset : offset + size]]
    if offset + size < len(rows):
        token = base64.urlsafe_b64encode(f"{start_ms} {end_ms} {offset + size}".encode()).decode()
        out["tokenPagination"] = {"nextPageToken": token}
    return out


def _read_page_token(token: str) -> tuple[int, int, int]:
    try:
        start_ms, end_ms, offset = map(int, base64.urlsafe_b64decode(token).decode().split())
    except ValueError as error:
        raise PlayError(400, "invalid", "Invalid page token") from error
    return start_ms, end_ms, offset
