"""The inbox: what stores and apps sent, as it came; durable before it is answered (architecture D7, stores 1.2)."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from bellwire.db.dialect import insert
from bellwire.db.tables import inbox

RECEIVED = "received"
PROCESSED = "processed"
IGNORED_UNKNOWN_PURCHASE = "ignored_unknown_purchase"
IGNORED_TYPE = "ignored_type"
REJECTED = "rejected"
FAILED = "failed"


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


def append_entries(connection: sa.Connection, entries: Sequence[InboxEntry]) -> list[bool]:
    """Keep entries; False for one whose (app, dedup key) is there already, or came earlier in the same call."""
    if not entries:
        return []
    statement = (
        insert(connection, inbox).on_conflict_do_nothing(index_elements=["app_id", "dedup_key"]).returning(inbox.c.id)
    )
    rows = [msgspec.structs.asdict(entry) | {"attempts": 0} for entry in entries]
    written = {row.id for row in connection.execute(statement, rows)}
    return [entry.id in written for entry in entries]


def record_outcomes(connection: sa.Connection, outcomes: Sequence[InboxOutcome]) -> None:
    """Note how work on entries went; counts the attempt."""
    if not outcomes:
        return
    statement = (
        sa.update(inbox)
        .where(inbox.c.id == sa.bindparam("entry_id"))
        .values(
            status=sa.bindparam("new_status"),
            error=sa.bindparam("new_error"),
            next_attempt_at_ms=sa.bindparam("new_next"),
            processed_at_ms=sa.bindparam("new_processed"),
            event_count=sa.bindparam("new_count"),
            attempts=inbox.c.attempts + 1,
        )
    )
    connection.execute(
        statement,
        [
            {
                "entry_id": outcome.id,
                "new_status": outcome.status,
                "new_error": outcome.error,
                "new_next": outcome.next_attempt_at_ms,
                "new_processed": outcome.processed_at_ms,
                "new_count": outcome.event_count,
            }
            for outcome in outcomes
        ],
    )


def load_open(connection: sa.Connection, now_ms: int, limit: int) -> list[OpenEntry]:
    """Notifications that wait for work, oldest due first."""
    statement = (
        sa.select(inbox.c.id, inbox.c.app_id, inbox.c.body, inbox.c.received_at_ms, inbox.c.attempts)
        .where(inbox.c.status == RECEIVED, inbox.c.next_attempt_at_ms <= now_ms)
        .order_by(inbox.c.next_attempt_at_ms, inbox.c.id)
        .limit(limit)
    )
    return [msgspec.convert(row, OpenEntry, from_attributes=True) for row in connection.execute(statement)]


def count_open(connection: sa.Connection) -> int:
    """Notifications that are kept but not worked through yet."""
    return connection.execute(
        sa.select(sa.func.count()).select_from(inbox).where(inbox.c.status == RECEIVED)
    ).scalar_one()
