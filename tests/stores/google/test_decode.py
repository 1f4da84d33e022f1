"""Developer notifications of every kind (spec: stores 3.2)."""

import base64
import json

import pytest

from bellwire.stores.base import Notification
from bellwire.stores.google.decode import SUBSCRIPTION_TYPES, decode_push

PACKAGE = "com.example.app"


def _push(member: dict[str, object], *, package: str = PACKAGE, id_key: str = "messageId") -> bytes:
    notification = {"version": "1.0", "packageName": package, "eventTimeMillis": "1767225600123", **member}
    data = base64.b64encode(json.dumps(notification).encode()).decode()
    message = {"data": data, id_key: "m1", "publishTime": "2026-01-01T00:00:00Z"}
    return json.dumps({"message": message, "subscription": "projects/p/subscriptions/s"}).encode()


def _decode(member: dict[str, object], **options: str) -> Notification:
    return decode_push(_push(member, **options), package_name=PACKAGE)


@pytest.mark.parametrize("number", [*SUBSCRIPTION_TYPES, 14, 99])
def test_subscription_notifications_name_the_token_whatever_their_type(number: int) -> None:
    note = _decode({"subscriptionNotification": {"version": "1.0", "notificationType": number, "purchaseToken": "t"}})
    assert note.store_keys == ("t",)
    assert note.type == "SUBSCRIPTION"
    assert note.subtype == SUBSCRIPTION_TYPES.get(number, str(number))
    assert note.occurred_at_ms == 1_767_225_600_123
    assert note.dedup_key == "m1"
    assert note.ignored is None
    assert note.hints == {
        "kind": "subscription",
        "notificationType": str(number),
        "eventTimeMillis": "1767225600123",
    }


def test_the_types_are_those_of_the_reference() -> None:
    assert SUBSCRIPTION_TYPES == {
        1: "RECOVERED", 2: "RENEWED", 3: "CANCELED", 4: "PURCHASED", 5: "ON_HOLD", 6: "IN_GRACE_PERIOD", 7: "RESTARTED",
        8: "PRICE_CHANGE_CONFIRMED", 9: "DEFERRED", 10: "PAUSED", 11: "PAUSE_SCHEDULE_CHANGED", 12: "REVOKED",
        13: "EXPIRED", 17: "ITEMS_CHANGED", 18: "CANCELLATION_SCHEDULED", 19: "PRICE_CHANGE_UPDATED",
        20: "PENDING_PURCHASE_CANCELED", 22: "PRICE_STEP_UP_CONSENT_UPDATED",
    }  # fmt: skip


@pytest.mark.parametrize(("number", "name"), [(1, "PURCHASED"), (2, "CANCELED"), (9, "9")])
def test_one_time_notifications_give_no_hint_of_a_subscriptions_type(number: int, name: str) -> None:
    member = {"version": "1.0", "notificationType": number, "purchaseToken": "t", "sku": "coins_100"}
    note = _decode({"oneTimeProductNotification": member})
    assert (note.type, note.subtype, note.store_keys) == ("ONE_TIME_PRODUCT", name, ("t",))
    assert note.hints["kind"] == "one_time"
    assert "notificationType" not in note.hints


@pytest.mark.parametrize(("product_type", "kind"), [(1, "subscription"), (2, "one_time"), (7, None)])
def test_voided_purchases_name_the_order(product_type: int, kind: str | None) -> None:
    member = {"purchaseToken": "t", "orderId": "GPA.1", "productType": product_type, "refundType": 1}
    note = _decode({"voidedPurchaseNotification": member})
    assert (note.type, note.subtype, note.store_keys) == ("VOIDED_PURCHASE", "FULL_REFUND", ("t",))
    assert note.hints["orderId"] == "GPA.1"
    assert note.hints.get("kind") == kind


def test_a_refund_review_asks_for_no_look() -> None:
    note = _decode({"pendingRefundReviewNotification": {"pendingRefundToken": "r", "orderId": "GPA.1"}})
    assert (note.type, note.store_keys, note.ignored) == ("PENDING_REFUND_REVIEW", (), None)


def test_a_test_is_a_test() -> None:
    note = _decode({"testNotification": {"version": "1.0"}})
    assert note.is_test
    assert note.store_keys == ()


def test_a_kind_from_the_future_is_kept_and_ignored() -> None:
    note = _decode({"giftNotification": {"purchaseToken": "t"}})
    assert note.ignored is not None
    assert note.store_keys == ()


def test_another_apps_notification_is_ignored() -> None:
    member: dict[str, object] = {"notificationType": 4, "purchaseToken": "t"}
    note = _decode({"subscriptionNotification": member}, package="com.example.other")
    assert note.ignored is not None
    assert note.store_keys == ()
    assert not _decode({"testNotification": {}}, package="com.example.other").is_test


def test_both_spellings_of_the_message_id_count() -> None:
    assert _decode({"testNotification": {}}, id_key="message_id").dedup_key == "m1"
