"""Event ids that follow from what happened, so that a repeat after a crash is the same event (spec: stores 11.4.4)."""

import hashlib
import uuid

from bellwire.model.enums import EventType
from bellwire.model.purchases import Chain

_NAMESPACE = uuid.UUID("5b0f1f5e-7c0d-5c7a-9d0e-8f2b6a3c4d1e")


def event_id(
    project_id: str, store: str, environment: str, store_key: str, type_: EventType, discriminator: str
) -> str:
    """UUIDv5 over the event key, in upper case. Same fact, same id; the database refuses a second one."""
    key = "\0".join((project_id, store, environment, store_key, type_, discriminator))
    return str(uuid.uuid5(_NAMESPACE, hashlib.sha256(key.encode()).hexdigest())).upper()


def chain_event_id(chain: Chain, type_: EventType, discriminator: str) -> str:
    """The id of an event about a purchase chain."""
    return event_id(chain.project_id, chain.store, chain.environment, chain.first_store_key, type_, discriminator)
