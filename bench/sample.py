"""The bodies that the reference programs carry: the size of a real event, 1.6 KB of JSON."""

import json

import msgspec

from bellwire.model.enums import Environment, EventType, PeriodType, Store
from bellwire.model.events import Event, WireAttribute

BODY_BYTES = 1600


class Incoming(msgspec.Struct, kw_only=True):
    """What R1 decodes: a shape like an event, so that decoding costs what it would cost us."""

    id: str
    type: str
    app_user_id: str
    product_id: str
    price_micros: int
    purchased_at_ms: int
    expiration_at_ms: int | None
    aliases: list[str]
    subscriber_attributes: dict[str, dict[str, str | int]]
    padding: str


def body(number: int = 0) -> bytes:
    """1.6 KB of JSON that decodes into `Incoming`; `number` makes it one of a kind."""
    content = {
        "id": f"00000000-0000-5000-8000-{number:012d}",
        "type": "RENEWAL",
        "app_user_id": f"customer-{number:08d}",
        "product_id": "pro_monthly",
        "price_micros": 9_990_000,
        "purchased_at_ms": 1_790_000_000_000,
        "expiration_at_ms": 1_792_592_000_000,
        "aliases": [f"customer-{number:08d}", f"$RCAnonymousID:{number:032x}"],
        "subscriber_attributes": {
            name: {"value": f"value of {name}", "updated_at_ms": 1_790_000_000_000}
            for name in ("$email", "$displayName", "$idfa", "$idfv", "$gpsAdId", "campaign", "cohort")
        },
        "padding": "",
    }
    content["padding"] = "x" * (BODY_BYTES - len(json.dumps(content)))
    return json.dumps(content).encode()


def event(app_id: str, size: int = 0) -> bytes:
    """A renewal as the hub keeps it, as small as one is or padded to nearly `size` bytes."""
    bare = Event(
        type=EventType.RENEWAL,
        id="00000000-0000-5000-8000-000000000000",
        event_timestamp_ms=1_790_000_000_000,
        app_id=app_id,
        app_user_id="customer-0",
        original_app_user_id="customer-0",
        aliases=["customer-0"],
        product_id="pro_monthly",
        period_type=PeriodType.NORMAL,
        purchased_at_ms=1_790_000_000_000,
        expiration_at_ms=1_792_592_000_000,
        environment=Environment.PRODUCTION,
        store=Store.APP_STORE,
        entitlement_ids=["pro"],
        price=9.99,
        price_in_purchased_currency=9.99,
        currency="USD",
        subscriber_attributes={},
    )
    padding = size - len(msgspec.json.encode(bare)) - 100
    if padding <= 0:
        return msgspec.json.encode(bare)
    attribute = WireAttribute(value="x" * padding, updated_at_ms=1_790_000_000_000)
    return msgspec.json.encode(msgspec.structs.replace(bare, subscriber_attributes={"note": attribute}))
