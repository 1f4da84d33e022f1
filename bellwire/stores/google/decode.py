"""A Pub/Sub push that carries a Real-time developer notification, decoded (spec: stores 3.2).

The notification is a doorbell: it names a purchase to look at. Its type is kept for people and for the few cases
where the API does not tell the same.
"""

import base64
import binascii

import msgspec

from bellwire.stores.base import Notification, Rejected

SUBSCRIPTION = "subscription"
ONE_TIME = "one_time"

SUBSCRIPTION_TYPES = {
    1: "RECOVERED",
    2: "RENEWED",
    3: "CANCELED",
    4: "PURCHASED",
    5: "ON_HOLD",
    6: "IN_GRACE_PERIOD",
    7: "RESTARTED",
    8: "PRICE_CHANGE_CONFIRMED",
    9: "DEFERRED",
    10: "PAUSED",
    11: "PAUSE_SCHEDULE_CHANGED",
    12: "REVOKED",
    13: "EXPIRED",
    17: "ITEMS_CHANGED",
    18: "CANCELLATION_SCHEDULED",
    19: "PRICE_CHANGE_UPDATED",
    20: "PENDING_PURCHASE_CANCELED",
    22: "PRICE_STEP_UP_CONSENT_UPDATED",
}
ONE_TIME_TYPES = {1: "PURCHASED", 2: "CANCELED"}
PRODUCT_TYPES = {1: SUBSCRIPTION, 2: ONE_TIME}
REFUND_TYPES = {1: "FULL_REFUND", 2: "QUANTITY_BASED_PARTIAL_REFUND"}


class _Message(msgspec.Struct, frozen=True):
    """PubsubMessage; both spellings of the id occur in pushes."""

    data: str = ""
    message_id: str = msgspec.field(name="messageId", default="")
    message_id_snake: str = msgspec.field(name="message_id", default="")


class _Envelope(msgspec.Struct, frozen=True):
    message: _Message


class _Subscription(msgspec.Struct, frozen=True, rename="camel"):
    notification_type: int
    purchase_token: str


class _OneTime(msgspec.Struct, frozen=True, rename="camel"):
    notification_type: int
    purchase_token: str
    sku: str = ""


class _Voided(msgspec.Struct, frozen=True, rename="camel"):
    purchase_token: str
    order_id: str = ""
    product_type: int = 0
    refund_type: int = 0


class _PendingRefundReview(msgspec.Struct, frozen=True, rename="camel"):
    order_id: str = ""
    refund_reason: int = 0


class _Developer(msgspec.Struct, frozen=True, rename="camel"):
    """DeveloperNotification: one of the members is there."""

    package_name: str
    event_time_millis: str | int = ""
    subscription_notification: _Subscription | None = None
    one_time_product_notification: _OneTime | None = None
    voided_purchase_notification: _Voided | None = None
    pending_refund_review_notification: _PendingRefundReview | None = None
    test_notification: dict[str, object] | None = None


def decode_push(raw: bytes, *, package_name: str) -> Notification:
    """The notification of a push body. Raises Rejected (400) when the body is no push or carries no notification."""
    try:
        message = msgspec.json.decode(raw, type=_Envelope).message
        told = msgspec.json.decode(base64.b64decode(message.data, validate=True), type=_Developer)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, RecursionError) as error:
        raise Rejected(f"the body is no Pub/Sub push of a developer notification: {error}") from error
    message_id = message.message_id or message.message_id_snake
    if not message_id:
        raise Rejected("the Pub/Sub message has no id")
    notification = _notification(told, message_id)
    if told.package_name != package_name:
        return msgspec.structs.replace(
            notification, store_keys=(), is_test=False, ignored=f"the package {told.package_name} is not this app's"
        )
    return notification


def _notification(told: _Developer, message_id: str) -> Notification:
    millis = str(told.event_time_millis)
    occurred_at_ms = int(millis) if millis.isascii() and millis.isdigit() else None
    hints: dict[str, str] = {} if occurred_at_ms is None else {"eventTimeMillis": millis}
    note = Notification(dedup_key=message_id, type="UNKNOWN", occurred_at_ms=occurred_at_ms)
    if told.subscription_notification is not None:
        subscription = told.subscription_notification
        number = subscription.notification_type
        return msgspec.structs.replace(
            note,
            type="SUBSCRIPTION",
            subtype=SUBSCRIPTION_TYPES.get(number, str(number)),
            store_keys=(subscription.purchase_token,),
            hints=hints | {"kind": SUBSCRIPTION, "notificationType": str(number)},
        )
    if told.one_time_product_notification is not None:
        one_time = told.one_time_product_notification
        number = one_time.notification_type
        return msgspec.structs.replace(
            note,
            type="ONE_TIME_PRODUCT",
            subtype=ONE_TIME_TYPES.get(number, str(number)),
            store_keys=(one_time.purchase_token,),
            # No notificationType here: its numbers mean other things than a subscription's.
            hints=hints | {"kind": ONE_TIME},
        )
    if told.voided_purchase_notification is not None:
        voided = told.voided_purchase_notification
        kind = PRODUCT_TYPES.get(voided.product_type)
        return msgspec.structs.replace(
            note,
            type="VOIDED_PURCHASE",
            subtype=REFUND_TYPES.get(voided.refund_type, str(voided.refund_type)),
            store_keys=(voided.purchase_token,),
            hints=hints
            | ({} if kind is None else {"kind": kind})
            | {"voided": "true", "orderId": voided.order_id, "refundType": str(voided.refund_type)},
        )
    if told.pending_refund_review_notification is not None:
        review = told.pending_refund_review_notification
        return msgspec.structs.replace(note, type="PENDING_REFUND_REVIEW", hints=hints | {"orderId": review.order_id})
    if told.test_notification is not None:
        return msgspec.structs.replace(note, type="TEST", is_test=True)
    return msgspec.structs.replace(note, ignored="a kind of notification that is not known yet")
