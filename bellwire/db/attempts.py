"""The attempt log: one row for every request that was sent, or skipped on purpose; never changed afterwards.

Ids sort by the time at which a row was written down, nearly: where several processes write, one that commits a moment
later can have a lower id than one that is there already.
"""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from bellwire.db.bulk import BulkInsert
from bellwire.db.tables import attempts
from bellwire.kit.ids import new_row_id

NO_EVENT_SEQ = 0
"""`event_seq` of attempts whose event is not kept (TEST)."""


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One attempt as it is stored, field by field in the order of the table's columns. Whatever is secret in request or answer has been masked before."""

    project_id: str
    integration_id: str
    event_seq: int
    event_id: str
    event_type: str
    app_user_id: str | None
    environment: str | None
    attempt: int
    trigger: str
    """automatic | manual | test | replay"""
    outcome: str
    reason: str
    """In words, fit to be shown."""
    status_code: int | None = None
    error: str | None = None
    """A TransportError."""
    started_at_ms: int
    duration_ms: int = 0
    timings: str = "{}"
    """JSON: milliseconds by stage."""
    next_attempt_at_ms: int | None = None
    """When the next automatic attempt is due."""
    parked: bool = False
    """No automatic attempt will follow."""
    request_method: str | None = None
    request_url: str | None = None
    request_headers: str | None = None
    """JSON, as are `response_headers`."""
    request_body: bytes | None = None
    response_headers: str | None = None
    response_body: bytes | None = None
    response_truncated: bool = False


SCHEDULED = ("automatic", "replay")
"""Triggers of attempts that follow a schedule: a failure is tried again by itself, or parked."""


class LastAutomatic(msgspec.Struct, frozen=True, kw_only=True):
    """What the newest attempt of a schedule left behind."""

    settled: bool
    """Delivered or skipped: nothing was to follow."""
    next_attempt_at_ms: int | None


_APPEND = BulkInsert(attempts, ("id", *AttemptRecord.__struct_fields__))


def append_attempts(connection: sa.Connection, records: Sequence[AttemptRecord]) -> int | None:
    """Append; returns the highest of their ids."""
    if not records:
        return None
    rows = [(new_row_id(), *msgspec.structs.astuple(record)) for record in records]
    _APPEND.run(connection, rows)
    return rows[-1][0]


def append_attempt(connection: sa.Connection, record: AttemptRecord) -> int:
    """Append one; returns its id."""
    attempt_id = new_row_id()
    _APPEND.run(connection, [(attempt_id, *msgspec.structs.astuple(record))])
    return attempt_id


def load_last_automatic(connection: sa.Connection, integration_id: str, event_seq: int) -> LastAutomatic | None:
    """The newest attempt of a schedule; None when there was none."""
    query = (
        sa.select(attempts.c.outcome, attempts.c.next_attempt_at_ms)
        .where(*_of(integration_id, event_seq), attempts.c.trigger.in_(SCHEDULED))
        .order_by(attempts.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return LastAutomatic(settled=row.outcome in ("delivered", "skipped"), next_attempt_at_ms=row.next_attempt_at_ms)


def load_last_number(connection: sa.Connection, integration_id: str, event_seq: int) -> int:
    """The number of the last attempt of a delivery, 0 before the first."""
    query = sa.select(sa.func.max(attempts.c.attempt)).where(*_of(integration_id, event_seq))
    return connection.execute(query).scalar_one_or_none() or 0


def _of(integration_id: str, event_seq: int) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return attempts.c.event_seq == event_seq, attempts.c.integration_id == integration_id
