"""Customers, the ids they are known by, and their attributes (spec: events 8, 9)."""

import re

import msgspec

ANONYMOUS_ID = re.compile(r"^\$RCAnonymousID:[a-f0-9]{32}$")


def is_anonymous(app_user_id: str) -> bool:
    """Whether an SDK made this id up for somebody who has not logged in."""
    return ANONYMOUS_ID.match(app_user_id) is not None


class AppUserId(msgspec.Struct, frozen=True, kw_only=True):
    """One id of a customer; `last_seen_ms` is the last request that named it (secret-key reads do not count)."""

    app_user_id: str
    first_seen_ms: int
    last_seen_ms: int


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """One subscriber attribute; `value` None is a tombstone, so that an older write does not resurrect it."""

    value: str | None
    updated_at_ms: int


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """One person as far as the hub knows: several app user ids, one set of purchases and attributes.

    `ids` is sorted oldest first and holds `original_app_user_id`.
    """

    id: int
    project_id: str
    original_app_user_id: str
    ids: tuple[AppUserId, ...]
    first_seen_ms: int
    last_seen_ms: int
    attributes: dict[str, Attribute] = {}
    country: str | None = None
    """ISO 3166-1 alpha-2, from the last SDK request that told one."""
    platform: str | None = None
    app_version: str | None = None
    next_sequence: int = 1
    """Sequence number that the next event of this customer gets (architecture D4)."""
