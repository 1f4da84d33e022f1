"""What holds for the JSON of every event, whatever happened (spec: events 1, 3.1-3.3, statements 17 and 71)."""

import json
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec

from bellwire.model.enums import CancelReason, EventType
from bellwire.model.events import Event, EventRecord

IDENTITY = {"app_user_id", "original_app_user_id", "aliases", "subscriber_attributes"}
COMMON = {"type", "id", "event_timestamp_ms", "app_id"}
ALWAYS = {
    "product_id",
    "period_type",
    "purchased_at_ms",
    "expiration_at_ms",
    "environment",
    "store",
    "entitlement_ids",
    "entitlement_id",
    "presented_offering_id",
    "transaction_id",
    "original_transaction_id",
    "is_family_share",
    "country_code",
    "currency",
    "price",
    "price_in_purchased_currency",
    "tax_percentage",
    "commission_percentage",
    "takehome_percentage",
    "offer_code",
    "renewal_number",
    "metadata",
}
ONLY_ON = {
    "cancel_reason": EventType.CANCELLATION,
    "expiration_reason": EventType.EXPIRATION,
    "grace_period_expiration_at_ms": EventType.BILLING_ISSUE,
    "is_trial_conversion": EventType.RENEWAL,
    "auto_resume_at_ms": EventType.SUBSCRIPTION_PAUSED,
}
"""Keys that one type always has and no other ever."""

CONSENT_KEYS = {
    "product_id",
    "transaction_id",
    "original_transaction_id",
    "store",
    "environment",
    "currency",
    "country_code",
}
CONSENT = {EventType.PRICE_INCREASE_CONSENT_REQUIRED, EventType.PRICE_INCREASE_CONSENT_APPROVED}
SOMETIMES = {
    "new_product_id",
    "quantity",
    "presented_offering_context",
    "customer_sequence",
    "items",
    "product_display_name",
}
EARNING = {EventType.INITIAL_PURCHASE, EventType.RENEWAL, EventType.NON_RENEWING_PURCHASE, EventType.REFUND_REVERSED}


def wire(event: Event) -> dict[str, Any]:
    """The event as a receiver reads it, numbers exact."""
    return json.loads(msgspec.json.encode(event), parse_float=Decimal)


def check_wire(event: Event) -> None:
    """Keys, types, units and signs of one event about a purchase."""
    body = wire(event)
    if event.type in CONSENT:
        assert set(body) - SOMETIMES == COMMON | IDENTITY | CONSENT_KEYS
    else:
        own = {key for key, kind in ONLY_ON.items() if kind is event.type}
        assert set(body) - SOMETIMES == COMMON | IDENTITY | ALWAYS | own
        _check_money(event, body)
        assert body["entitlement_ids"] != []
        assert body["entitlement_id"] is None
    for key, value in body.items():
        if key.endswith("_ms"):
            assert value is None or type(value) is int, key
    _check_items(body)
    assert ("new_product_id" in body) <= (event.type is EventType.PRODUCT_CHANGE)
    assert event.id == event.id.upper()


def _check_items(body: dict[str, Any]) -> None:
    """One base product and add-ons, whose known amounts add up to the event's."""
    if "items" not in body:
        assert "product_display_name" not in body
        return
    items: list[dict[str, Any]] = body["items"]
    assert [item["type"] for item in items] == ["base"] + ["addon"] * (len(items) - 1)
    assert len(items) > 1 or body["type"] == EventType.PRODUCT_CHANGE
    for item in items:
        assert set(item) == {
            "type",
            "product_id",
            "price",
            "price_in_purchased_currency",
            "currency",
            "expiration_at_ms",
        }
    for key, slack in (("price_in_purchased_currency", 0), ("price", len(items) * Decimal("0.0001"))):
        amounts = [item[key] for item in items]
        if body[key] is not None and None not in amounts:
            assert abs(sum(map(_exact, amounts)) - _exact(body[key])) <= slack, (key, amounts, body[key])


def _exact(value: object) -> Decimal:
    return Decimal(str(value))


def _check_money(event: Event, body: dict[str, object]) -> None:
    for key in ("price", "tax_percentage", "commission_percentage", "takehome_percentage"):
        value = body[key]
        assert value is None or Decimal(str(value)) * 10_000 % 1 == 0, (key, value)
    for key in ("tax_percentage", "commission_percentage", "takehome_percentage"):
        value = body[key]
        assert value is None or 0 <= Decimal(str(value)) <= 1, (key, value)
    for key in ("price", "price_in_purchased_currency"):
        value = body[key]
        if event.type in EARNING:
            assert value is None or Decimal(str(value)) >= 0, (event.type, key, value)
        elif event.type is EventType.CANCELLATION and event.cancel_reason is CancelReason.CUSTOMER_SUPPORT:
            assert value is None or Decimal(str(value)) <= 0, (event.type, key, value)
        else:
            assert value == 0, (event.type, key, value)


def check_stream(records: Sequence[EventRecord]) -> None:
    """One customer's events: times strictly rise, sequence numbers of what was sent have no hole, ids are unique."""
    times = [record.event.event_timestamp_ms for record in records]
    assert all(earlier < later for earlier, later in pairwise(times))
    numbers = [record.event.customer_sequence for record in records if record.dispatch]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len({record.event.id for record in records}) == len(records)
    for record in records:
        check_wire(record.event)
