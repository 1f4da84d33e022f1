"""The inbox: what stores and apps sent, as it came; durable before it is answered (architecture D7, stores 1.2)."""

from collections.abc import Collection, Sequence
from itertools import compress
from operator import attrgetter

import msgspec
import sqlalchemy as sa

from bellwire.db.bulk import Bulk, BulkInsert
from bellwire.db.tables import inbox, inbox_bodies

RECEIVED = "received"
PROCESSED = "processed"
IGNORED_UNKNOWN_PURCHASE = "ignored_unknown_purchase"
IGNORED_TYPE = "ignored_type"
REJECTED = "rejected"
FAILED = "failed"

_FRESH_DUE_WITHIN_MS = 60_000
"""A fresh entry is left for half a minute to the process that received it, and clocks of hosts differ."""


class InboxEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One message to keep. `headers` is JSON without credentials."""

    id: int
    project_id: str
    app_id: str
    store: str
    kind: str
    dedup_key: str
    type: str | None = None
    subtype: str | None = None
    environment: str | None = None
    store_key: str | None = None
    occurred_at_ms: int | None = None
    received_at_ms: int
    body: bytes
    headers: str = "{}"
    status: str = RECEIVED
    error: str | None = None
    next_attempt_at_ms: int | None = None
    processed_at_ms: int | None = None


class InboxOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How the work on one entry ended, or when it goes on."""

    id: int
    status: str
    error: str | None = None
    next_attempt_at_ms: int | None = None
    processed_at_ms: int | None = None
    event_count: int = 0


class OpenEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that still needs work."""

    id: int
    app_id: str
    body: bytes
    received_at_ms: int
    attempts: int


_BYTES = ("body", "headers")
_NARROW = tuple(name for name in InboxEntry.__struct_fields__ if name not in _BYTES)
_APPEND = BulkInsert(inbox, (*_NARROW, "attempts"), conflict="(app_id, dedup_key) DO NOTHING")
_APPEND_BODIES = BulkInsert(inbox_bodies, ("inbox_id", *_BYTES))
_narrow = attrgetter(*_NARROW)
_PRESENT = Bulk("SELECT i.id FROM {rows} JOIN inbox i ON i.id = column1", (sa.BigInteger(),))
_CONCLUDE = Bulk(
    "UPDATE inbox SET status = column2, error = column3, next_attempt_at_ms = column4, processed_at_ms = column5, "
    "event_count = column6, attempts = attempts + 1 FROM {rows} WHERE id = column1",
    (sa.BigInteger(), sa.Text(), sa.Text(), sa.BigInteger(), sa.BigInteger(), sa.Integer()),
)


def append_entries(connection: sa.Connection, entries: Sequence[InboxEntry]) -> list[bool]:
    """Keep entries; False for one whose (app, dedup key) is there already, or came earlier in the same call."""
    if not entries:
        return []
    rows = [(*_narrow(entry), 0) for entry in entries]
    if _APPEND.run(connection, rows) == len(rows):
        kept = [True] * len(rows)
    else:
        written = {row.id for row in _PRESENT.fetch(connection, [(entry.id,) for entry in entries])}
        kept = [entry.id in written for entry in entries]
    bodies = [(entry.id, entry.body, entry.headers) for entry in compress(entries, kept)]
    _APPEND_BODIES.run(connection, bodies)
    return kept


def record_outcomes(connection: sa.Connection, outcomes: Sequence[InboxOutcome]) -> None:
    """Note how work on entries went; counts the attempt."""
    if not outcomes:
        return
    last = {outcome.id: outcome for outcome in outcomes}
    _CONCLUDE.run(
        connection,
        [
            (one.id, one.status, one.error, one.next_attempt_at_ms, one.processed_at_ms, one.event_count)
            for one in last.values()
        ],
    )


def put_off(connection: sa.Connection, entry_ids: Collection[int], until_ms: int) -> None:
    """Leave open entries to the process that works on them until then."""
    _PUT_OFF.run(connection, [(entry_id, until_ms) for entry_id in entry_ids])


_PUT_OFF = Bulk(
    "UPDATE inbox SET next_attempt_at_ms = given.column2 FROM {rows} WHERE inbox.id = given.column1 "
    "AND inbox.status = 'received' AND inbox.next_attempt_at_ms < given.column2",
    (sa.BigInteger(), sa.BigInteger()),
)


def load_open(
    connection: sa.Connection, now_ms: int, limit: int, *, left_to_others: Collection[str] = ()
) -> list[OpenEntry]:
    """Notifications that wait for work, oldest due first; without those of some apps. One whose body has aged out has an
    empty one.

    One that nobody has tried yet and that is due only later than it can be was kept before the clock was set back.
    """
    due = sa.or_(
        inbox.c.next_attempt_at_ms <= now_ms,
        sa.and_(inbox.c.attempts == 0, inbox.c.next_attempt_at_ms > now_ms + _FRESH_DUE_WITHIN_MS),
    )
    body = sa.func.coalesce(inbox_bodies.c.body, sa.literal(b"")).label("body")
    statement = (
        sa.select(inbox.c.id, inbox.c.app_id, body, inbox.c.received_at_ms, inbox.c.attempts)
        .outerjoin(inbox_bodies, inbox_bodies.c.inbox_id == inbox.c.id)
        .where(inbox.c.status == RECEIVED, due)
        .order_by(inbox.c.next_attempt_at_ms, inbox.c.id)
        .limit(limit)
    )
    if left_to_others:
        statement = statement.where(inbox.c.app_id.not_in(left_to_others))
    return [msgspec.convert(row, OpenEntry, from_attributes=True) for row in connection.execute(statement)]


def count_open(connection: sa.Connection) -> int:
    """Notifications that are kept but not worked through yet."""
    return connection.execute(
        sa.select(sa.func.count()).select_from(inbox).where(inbox.c.status == RECEIVED)
    ).scalar_one()
