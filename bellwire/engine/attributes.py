"""Subscriber attributes: what a write may change (spec: events 9.1, api 1.12).

Pure: the doors decode the body, `apply_changes` decides key by key, ingest stores the result. A refused key never
stops the others.
"""

import re
from collections.abc import Mapping

import msgspec

from bellwire.engine.reserved_attributes import ATT_CONSENT_STATUSES, RESERVED, WRITE_ONCE
from bellwire.model.customers import Attribute

MAX_KEY_LENGTH = 40
MAX_VALUE_LENGTH = 500
MAX_CUSTOM = 50
"""Live attributes of a customer whose keys are not reserved."""
MAX_LEFT_OVERS = 50
"""Tombstones of custom keys that are kept, and `$` keys that are not on the list; bounds what a client can store."""

_KEY = re.compile(r"\$?[A-Za-z][A-Za-z0-9_-]*")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")

_BAD_KEY = "Key name format is not valid."
_TOO_LONG = "Value is too long."
_BAD_EMAIL = "Value is not a valid email address."
_BAD_CONSENT = f"Value must be one of {', '.join(ATT_CONSENT_STATUSES)}."
_TOO_MANY = f"A customer cannot have more than {MAX_CUSTOM} custom attributes."
_TOO_MANY_UNKNOWN = f"A customer cannot have more than {MAX_LEFT_OVERS} attributes with unknown reserved keys."
_BAD_TEXT = "Value contains a NUL character or a lone surrogate."
_BAD_TIME = "updated_at_ms is not a time in milliseconds."

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_MAX_TIME_MS = 253_402_300_799_999  # the last millisecond of year 9999


class AttributeChange(msgspec.Struct, frozen=True, kw_only=True):
    """One key of a write; `value` None or empty deletes. `updated_at_ms` None = the time of the request."""

    value: str | None
    updated_at_ms: int | None = None


class AttributeError(msgspec.Struct, frozen=True, kw_only=True):
    """One key that was not stored, as the wire lists it in `attribute_errors`."""

    key_name: str
    message: str


def apply_changes(
    current: Mapping[str, Attribute],
    changes: Mapping[str, AttributeChange],
    *,
    now_ms: int,
    ip: str | None,
    strict_reserved: bool,
) -> tuple[dict[str, Attribute], list[AttributeError]]:
    """The attributes after a write, and the keys that were refused.

    `ip` is the address of the request, which `$ip: "true"` asks for. `strict_reserved` refuses `$` keys that are not
    on the list: servers misspell, while SDKs know new keys before a hub does.
    """
    after = dict(current)
    errors: list[AttributeError] = []
    for key, change in changes.items():
        value = change.value or None
        if key == "$ip" and value == "true":
            if ip is None:
                continue
            value = ip
        problem = _problem(key, value, change.updated_at_ms, strict_reserved) or _limit_problem(after, key, value)
        if problem is not None:
            errors.append(AttributeError(key_name=key, message=problem))
            continue
        updated_at_ms = now_ms if change.updated_at_ms is None else change.updated_at_ms
        if _takes_effect(after, key, value, updated_at_ms):
            after[key] = Attribute(value=value, updated_at_ms=updated_at_ms)
    return after, errors


def merge_attributes(older: Mapping[str, Attribute], younger: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Attributes of two customers that become one (spec: events 8.4): the newer write of each key wins.

    Of keys that cannot be changed once set, the older value stays. Written at the same time, the younger customer's wins.
    """
    merged = dict(older)
    for key, theirs in younger.items():
        ours = merged.get(key)
        if ours is None or _is_better(key, theirs, than=ours):
            merged[key] = theirs
    return merged


def _is_better(key: str, theirs: Attribute, *, than: Attribute) -> bool:
    if key in WRITE_ONCE and theirs.value is not None and than.value is not None:
        return theirs.updated_at_ms < than.updated_at_ms
    if key in WRITE_ONCE and (theirs.value is None) != (than.value is None):
        return theirs.value is not None
    return theirs.updated_at_ms >= than.updated_at_ms


def _problem(key: str, value: str | None, updated_at_ms: int | None, strict_reserved: bool) -> str | None:
    if len(key) > MAX_KEY_LENGTH or _KEY.fullmatch(key) is None:
        return _BAD_KEY
    if strict_reserved and key.startswith("$") and key not in RESERVED:
        return _BAD_KEY
    if updated_at_ms is not None and not 0 <= updated_at_ms <= _MAX_TIME_MS:
        return _BAD_TIME
    if value is None:
        return None
    if len(value) > MAX_VALUE_LENGTH:
        return _TOO_LONG
    if _UNSTORABLE.search(value) is not None:
        return _BAD_TEXT
    if key == "$email" and _EMAIL.fullmatch(value) is None:
        return _BAD_EMAIL
    if key == "$attConsentStatus" and value not in ATT_CONSENT_STATUSES:
        return _BAD_CONSENT
    return None


def _limit_problem(attributes: Mapping[str, Attribute], key: str, value: str | None) -> str | None:
    if key in RESERVED or value is None or _is_live(attributes, key):
        return None
    if key.startswith("$"):
        return _TOO_MANY_UNKNOWN if sum(map(_is_unknown_reserved, attributes)) >= MAX_LEFT_OVERS else None
    live = sum(1 for name, one in attributes.items() if one.value is not None and not name.startswith("$"))
    return _TOO_MANY if live >= MAX_CUSTOM else None


def _takes_effect(attributes: Mapping[str, Attribute], key: str, value: str | None, updated_at_ms: int) -> bool:
    known = attributes.get(key)
    if known is None:
        return value is not None or key in RESERVED or _has_room_for_tombstone(attributes, key)
    if updated_at_ms < known.updated_at_ms:
        return False
    return not (key in WRITE_ONCE and known.value is not None and value is not None)


def _has_room_for_tombstone(attributes: Mapping[str, Attribute], key: str) -> bool:
    """A delete of a key never seen is remembered, so that a late older write does not stick, but not without end."""
    reserved = key.startswith("$")
    left_overs = (
        name
        for name, one in attributes.items()
        if one.value is None and name not in RESERVED and name.startswith("$") == reserved
    )
    return sum(1 for _ in left_overs) < MAX_LEFT_OVERS


def _is_live(attributes: Mapping[str, Attribute], key: str) -> bool:
    known = attributes.get(key)
    return known is not None and known.value is not None


def _is_unknown_reserved(key: str) -> bool:
    return key.startswith("$") and key not in RESERVED
