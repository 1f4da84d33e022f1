"""Event ids that follow from what happened, so that a repeat after a crash is the same event (spec: stores 11.4.4)."""

import hashlib
import uuid

from bellwire.model.enums import EventType
from bellwire.model.purchases import Chain

_FIELDS = ~(0xF000 << 64 | 0xC000 << 48)
_VERSION_5 = 0x5000 << 64 | 0x8000 << 48
_NAMESPACE = uuid.UUID("5b0f1f5e-7c0d-5c7a-9d0e-8f2b6a3c4d1e")


def event_id(
    project_id: str, store: str, environment: str, store_key: str, type_: EventType, discriminator: str
) -> str:
    """UUIDv5 over the event key, in upper case. Same fact, same id; the database refuses a second one."""
    key = "\0".join((project_id, store, environment, store_key, type_, discriminator))
    name = hashlib.sha256(key.encode()).hexdigest()
    # uuid.uuid5 spelled out, which makes three objects on its way: an id is made for every event.
    number = int.from_bytes(hashlib.sha1(_NAMESPACE.bytes + name.encode(), usedforsecurity=False).digest()[:16], "big")
    text = f"{number & _FIELDS | _VERSION_5:032X}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def chain_event_id(chain: Chain, type_: EventType, discriminator: str) -> str:
    """The id of an event about a purchase chain."""
    return event_id(chain.project_id, chain.store, chain.environment, chain.first_store_key, type_, discriminator)
