"""Reads for the command line: events in the order in which they were committed, and what became of one attempt."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from bellwire.db.attempts import AttemptRecord
from bellwire.db.tables import attempts, events
from bellwire.model.enums import EventType


class TailEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event; `payload` is the `event` object as it is sent to webhooks."""

    seq: int
    committed_at_ms: int
    dispatched: bool
    historical: bool
    payload: bytes


_COLUMNS = [events.c[name] for name in TailEvent.__struct_fields__]


def latest_events(
    connection: sa.Connection, project_id: str, *, types: Sequence[EventType] = (), limit: int = 10
) -> list[TailEvent]:
    """The last `limit` events, oldest first."""
    query = sa.select(*_COLUMNS).where(_wanted(project_id, types)).order_by(events.c.seq.desc()).limit(limit)
    rows = connection.execute(query).all()
    return [msgspec.convert(row, TailEvent, from_attributes=True) for row in reversed(rows)]


def events_after(
    connection: sa.Connection, project_id: str, seq: int, *, types: Sequence[EventType] = (), limit: int = 500
) -> list[TailEvent]:
    """Up to `limit` events after `seq`, oldest first."""
    wanted = sa.and_(_wanted(project_id, types), events.c.seq > seq)
    rows = connection.execute(sa.select(*_COLUMNS).where(wanted).order_by(events.c.seq).limit(limit))
    return [msgspec.convert(row, TailEvent, from_attributes=True) for row in rows]


def latest_seq(connection: sa.Connection) -> int:
    """The number of the last event of all projects; 0 when there is none."""
    return connection.execute(sa.select(sa.func.max(events.c.seq))).scalar_one() or 0


def load_attempt(connection: sa.Connection, project_id: str, attempt_id: int) -> AttemptRecord | None:
    """One attempt of a project, whole."""
    columns = [attempts.c[name] for name in AttemptRecord.__struct_fields__]
    ours = sa.and_(attempts.c.project_id == project_id, attempts.c.id == attempt_id)
    row = connection.execute(sa.select(*columns).where(ours)).one_or_none()
    return None if row is None else msgspec.convert(row, AttemptRecord, from_attributes=True)


def _wanted(project_id: str, types: Sequence[EventType]) -> sa.ColumnElement[bool]:
    ours = events.c.project_id == project_id
    return sa.and_(ours, events.c.type.in_([one.value for one in types])) if types else ours
