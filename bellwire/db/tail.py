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


class TailCursor(msgspec.Struct, frozen=True):
    """How far a reader is: the highest number looked at, and which ones of the project were there below it.

    Where several processes write, an event that commits a moment later can have a lower number.
    """

    newest: int
    seen: frozenset[int]


_OVERLAP = 2_000
"""Numbers that can be drawn while one transaction is on its way."""
_COLUMNS = [events.c[name] for name in TailEvent.__struct_fields__]


def latest_events(
    connection: sa.Connection, project_id: str, *, types: Sequence[EventType] = (), limit: int = 10
) -> list[TailEvent]:
    """The last `limit` events, oldest first."""
    query = sa.select(*_COLUMNS).where(_wanted(project_id, types)).order_by(events.c.seq.desc()).limit(limit)
    rows = connection.execute(query).all()
    return [msgspec.convert(row, TailEvent, from_attributes=True) for row in reversed(rows)]


def start_tail(connection: sa.Connection, project_id: str) -> TailCursor:
    """Of somebody who has seen all events that there are."""
    newest = connection.execute(sa.select(sa.func.max(events.c.seq))).scalar_one() or 0
    ours = sa.select(events.c.seq).where(events.c.project_id == project_id, events.c.seq > newest - _OVERLAP)
    return TailCursor(newest, frozenset(connection.execute(ours).scalars()))


def events_after(
    connection: sa.Connection, project_id: str, after: TailCursor, *, types: Sequence[EventType] = (), limit: int = 500
) -> tuple[list[TailEvent], TailCursor]:
    """Up to `limit` events that were not there before, oldest first, and what is to be handed in next time."""
    ours = sa.select(events.c.seq).where(events.c.project_id == project_id, events.c.seq > after.newest - _OVERLAP)
    ours = ours.order_by(events.c.seq).limit(_OVERLAP + limit)
    fresh = [seq for seq in connection.execute(ours).scalars() if seq not in after.seen][:limit]
    if not fresh:
        return [], after
    newest = max(after.newest, fresh[-1])
    seen = frozenset([seq for seq in (*after.seen, *fresh) if seq > newest - _OVERLAP])
    wanted = sa.and_(_wanted(project_id, types), events.c.seq.in_(fresh))
    rows = connection.execute(sa.select(*_COLUMNS).where(wanted).order_by(events.c.seq))
    return [msgspec.convert(row, TailEvent, from_attributes=True) for row in rows], TailCursor(newest, seen)


def load_attempt(connection: sa.Connection, project_id: str, attempt_id: int) -> AttemptRecord | None:
    """One attempt of a project, whole."""
    columns = [attempts.c[name] for name in AttemptRecord.__struct_fields__]
    ours = sa.and_(attempts.c.project_id == project_id, attempts.c.id == attempt_id)
    row = connection.execute(sa.select(*columns).where(ours)).one_or_none()
    return None if row is None else msgspec.convert(row, AttemptRecord, from_attributes=True)


def _wanted(project_id: str, types: Sequence[EventType]) -> sa.ColumnElement[bool]:
    ours = events.c.project_id == project_id
    return sa.and_(ours, events.c.type.in_([one.value for one in types])) if types else ours
