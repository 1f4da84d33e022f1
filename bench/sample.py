"""The bodies that the reference programs carry: the size of a real event, 1.6 KB of JSON."""

import json

import msgspec

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
