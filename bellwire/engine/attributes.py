"""Subscriber attributes: what a write may change (spec: events 9.1, api 1.12).

Pure: the doors decode the body, `apply_changes` decides key by key, ingest stores the result. A refused key never
stops the others.
"""

import msgspec


class AttributeChange(msgspec.Struct, frozen=True, kw_only=True):
    """One key of a write; `value` None or empty deletes. `updated_at_ms` None = the time of the request."""

    value: str | None
    updated_at_ms: int | None = None


class AttributeError(msgspec.Struct, frozen=True, kw_only=True):
    """One key that was not stored, as the wire lists it in `attribute_errors`."""

    key_name: str
    message: str
