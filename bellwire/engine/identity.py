"""Who is who: which app user ids are acceptable, which one events name, when two customers become one.

Source: specification, events 8.1-8.4 and api 1.7.
"""

from msgspec.structs import replace

from bellwire.engine.attributes import merge_attributes
from bellwire.model.customers import AppUserId, Customer, is_anonymous

MAX_APP_USER_ID_LENGTH = 100

_BLOCKED = frozenset(
    {
        "no_user",
        "null",
        "none",
        "nil",
        "(null)",
        "NaN",
        "unidentified",
        "undefined",
        "unknown",
        "anonymous",
        "guest",
        "-1",
        "0",
        "[]",
        "{}",
        "[object Object]",
    }
)
"""What programs send instead of an id when they have none; compared exactly, so `Null` is a name."""

_EMPTY_CODE = 7220
_INVALID_CODE = 7256


class InvalidAppUserId(ValueError):
    """This text cannot name a customer; `code` and `message` are what the wire answers (spec: api 1.5)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def check_app_user_id(text: str) -> None:
    """Raise InvalidAppUserId unless `text` may name a customer."""
    if not text.strip():
        raise InvalidAppUserId(_EMPTY_CODE, "The app user id is empty.")
    problem = _problem(text)
    if problem is not None:
        raise InvalidAppUserId(_INVALID_CODE, f"The app user id is not valid: {problem}.")


def _problem(text: str) -> str | None:
    if text in _BLOCKED:
        return f"'{text}' is what programs send when they have no id"
    if len(text) > MAX_APP_USER_ID_LENGTH:
        return f"it is longer than {MAX_APP_USER_ID_LENGTH} characters"
    if "/" in text:
        return "it contains a slash"
    if "\x00" in text:
        return "it contains a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "it contains a lone surrogate"
    return None


def event_app_user_id(customer: Customer) -> str:
    """The id that events name: the identified one seen last, else the one seen last, else the original one.

    Of ids seen in the same millisecond the younger one counts as seen last.
    """
    if len(customer.ids) == 1:
        return customer.ids[0].app_user_id
    identified = [one for one in customer.ids if not is_anonymous(one.app_user_id)]
    candidates = identified or list(customer.ids)
    if not candidates:
        return customer.original_app_user_id
    return max(candidates, key=lambda one: (one.last_seen_ms, one.first_seen_ms, one.app_user_id)).app_user_id


def aliases(customer: Customer) -> list[str]:
    """Every id of the customer, the original one among them, oldest first, none twice."""
    if len(customer.ids) == 1:
        return [customer.ids[0].app_user_id]
    ids = [one.app_user_id for one in _oldest_first(customer.ids)]
    return list(dict.fromkeys(ids or [customer.original_app_user_id]))


def should_merge_on_identify(current: Customer, provided: Customer | None, current_id: str) -> bool:
    """Whether logging in from `current_id` makes both customers one (table of events 8.4).

    `provided` is None when nobody is known by the id that is logged in to.
    """
    if not is_anonymous(current_id):
        return False
    if provided is None:
        return True
    if provided.id == current.id:
        return False
    return not any(is_anonymous(one.app_user_id) for one in provided.ids)


def merge_customers(older_or_any: Customer, other: Customer) -> Customer:
    """One customer made of two: row id and original app user id of the one first seen earlier.

    First seen in the same millisecond, the first argument counts as the older: pass the anonymous one there.
    Purchases are not the business of this function; events already sent keep what they say.
    """
    older, younger = older_or_any, other
    if other.first_seen_ms < older_or_any.first_seen_ms:
        older, younger = other, older_or_any
    latest, earlier = (younger, older) if younger.last_seen_ms >= older.last_seen_ms else (older, younger)
    return replace(
        older,
        ids=_merge_ids(older.ids, younger.ids),
        first_seen_ms=older.first_seen_ms,
        last_seen_ms=latest.last_seen_ms,
        attributes=merge_attributes(older.attributes, younger.attributes),
        country=latest.country or earlier.country,
        platform=latest.platform or earlier.platform,
        app_version=latest.app_version or earlier.app_version,
        next_sequence=max(older.next_sequence, younger.next_sequence),
    )


def _merge_ids(first: tuple[AppUserId, ...], second: tuple[AppUserId, ...]) -> tuple[AppUserId, ...]:
    merged: dict[str, AppUserId] = {}
    for one in (*first, *second):
        known = merged.get(one.app_user_id)
        if known is not None:
            one = AppUserId(
                app_user_id=one.app_user_id,
                first_seen_ms=min(known.first_seen_ms, one.first_seen_ms),
                last_seen_ms=max(known.last_seen_ms, one.last_seen_ms),
            )
        merged[one.app_user_id] = one
    return _oldest_first(tuple(merged.values()))


def _oldest_first(ids: tuple[AppUserId, ...]) -> tuple[AppUserId, ...]:
    return tuple(sorted(ids, key=lambda one: one.first_seen_ms))
