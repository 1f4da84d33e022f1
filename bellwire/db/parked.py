"""Parked deliveries: given up, until a person retries or discards them. A list to work through."""

from collections import Counter
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from bellwire.db.attempts import AttemptRecord, append_attempts
from bellwire.db.outbox import State
from bellwire.db.replay_selection import customers_called
from bellwire.db.tables import attempts, events, integrations, outbox

MAX_AT_ONCE = 500
"""Deliveries that one call names."""
AGED_OUT = "Its attempts are older than the log."


class ParkedFilters(msgspec.Struct, frozen=True, kw_only=True):
    """None = all. `customer` is an app user id, exactly."""

    integration_id: str | None = None
    event_type: str | None = None
    environment: str | None = None
    customer: str | None = None


class ParkedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One of them, with what its last attempt brought; that is None once the attempt log is past it."""

    id: int
    integration_id: str
    event_seq: int
    event_id: str
    event_type: str
    app_user_id: str | None
    customer_id: int
    environment: str | None
    event_timestamp_ms: int
    queued_at_ms: int
    attempts: int | None
    """How many there were."""
    last_attempt_at_ms: int | None
    outcome: str | None
    reason: str | None
    """Why, in words."""
    status_code: int | None
    error: str | None


class DiscardRefused(Exception):
    """The message says why."""


_PARKED = outbox.c.state == sa.literal_column(str(State.PARKED.value))

_latest = (
    sa.select(sa.func.max(attempts.c.id))
    .where(attempts.c.event_seq == outbox.c.event_seq, attempts.c.integration_id == outbox.c.integration_id)
    .scalar_subquery()
)


def list_parked(
    connection: sa.Connection,
    project_id: str,
    filters: ParkedFilters,
    *,
    after: int | None = None,
    limit: int = 50,
) -> list[ParkedDelivery]:
    """Of integrations that are not deleted, newest first; those with ids below `after` if given."""
    found: list[int] = []
    for lane in _lanes(connection, project_id, filters.integration_id):
        query = (
            sa.select(outbox.c.id)
            .join(events, events.c.seq == outbox.c.event_seq)
            .where(outbox.c.integration_id == lane, _PARKED, *_conditions(project_id, filters))
            .order_by(outbox.c.id.desc())
            .limit(limit)
        )
        if after is not None:
            query = query.where(outbox.c.id < after)
        found += connection.execute(query).scalars()
    return _load(connection, project_id, sorted(found, reverse=True)[:limit])


def load_parked(connection: sa.Connection, project_id: str, delivery_id: int) -> ParkedDelivery | None:
    """One; None when this project has no such one (any more)."""
    found = _load(connection, project_id, [delivery_id])
    return found[0] if found else None


def count_parked(connection: sa.Connection, project_id: str) -> dict[str, int]:
    """How many each integration has; those with none are left out."""
    counts: dict[str, int] = {}
    for lane in _lanes(connection, project_id, None):
        query = sa.select(sa.func.count()).select_from(outbox).where(outbox.c.integration_id == lane, _PARKED)
        count = connection.execute(query).scalar_one()
        if count:
            counts[lane] = count
    return counts


def lanes_of(connection: sa.Connection, project_id: str, ids: Sequence[int]) -> dict[str, list[int]]:
    """Which of these are parked deliveries of the project, by integration."""
    query = (
        sa.select(outbox.c.id, outbox.c.integration_id)
        .join(integrations, integrations.c.id == outbox.c.integration_id)
        .where(outbox.c.id.in_(ids), _PARKED, integrations.c.project_id == project_id)
        .where(integrations.c.deleted_at_ms.is_(None))
        .order_by(outbox.c.id)
    )
    found: dict[str, list[int]] = {}
    for delivery_id, lane in connection.execute(query):
        found.setdefault(lane, []).append(delivery_id)
    return found


def discard_parked(
    connection: sa.Connection, project_id: str, ids: Sequence[int], *, reason: str, by: str, now_ms: int
) -> list[int]:
    """Give them up for good; the attempt log says by whom and why. Returns the ids of those that were discarded.

    Raises DiscardRefused without a reason.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise DiscardRefused("say why: the reason is kept in the log")
    wanted = [one for some in lanes_of(connection, project_id, ids).values() for one in some]
    found = {one.id: one for one in _load(connection, project_id, wanted)}
    query = sa.delete(outbox).where(outbox.c.id.in_(found), _PARKED).returning(outbox.c.id)
    gone = sorted(connection.execute(query).scalars()) if found else []
    append_attempts(
        connection,
        [_record(project_id, found[delivery_id], f"Discarded by {by}: {reason}", now_ms) for delivery_id in gone],
    )
    return gone


def _record(project_id: str, one: ParkedDelivery, reason: str, now_ms: int) -> AttemptRecord:
    return AttemptRecord(
        project_id=project_id,
        integration_id=one.integration_id,
        event_seq=one.event_seq,
        event_id=one.event_id,
        event_type=one.event_type,
        app_user_id=one.app_user_id,
        environment=one.environment,
        attempt=(one.attempts or 0) + 1,
        trigger="manual",
        outcome="skipped",
        reason=reason,
        started_at_ms=now_ms,
    )


def _lanes(connection: sa.Connection, project_id: str, only: str | None) -> list[str]:
    query = sa.select(integrations.c.id).where(
        integrations.c.project_id == project_id, integrations.c.deleted_at_ms.is_(None)
    )
    if only is not None:
        query = query.where(integrations.c.id == only)
    return list(connection.execute(query).scalars())


def _conditions(project_id: str, filters: ParkedFilters) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = [events.c.project_id == project_id]
    if filters.event_type is not None:
        found.append(events.c.type == filters.event_type)
    if filters.environment is not None:
        found.append(events.c.environment == filters.environment)
    if filters.customer is not None:
        found.append(events.c.customer_id == customers_called(project_id, filters.customer))
    return found


def _load(connection: sa.Connection, project_id: str, ids: Sequence[int]) -> list[ParkedDelivery]:
    """These, newest first, each with its last attempt."""
    if not ids:
        return []
    rows = connection.execute(
        sa.select(
            outbox.c.id,
            outbox.c.integration_id,
            outbox.c.event_seq,
            events.c.id.label("event_id"),
            events.c.type.label("event_type"),
            events.c.app_user_id,
            events.c.customer_id,
            events.c.environment,
            events.c.event_timestamp_ms,
            outbox.c.created_at_ms.label("queued_at_ms"),
            _latest.label("attempt_id"),
        )
        .join(events, events.c.seq == outbox.c.event_seq)
        .where(outbox.c.id.in_(ids), _PARKED, events.c.project_id == project_id)
        .order_by(outbox.c.id.desc())
    ).all()
    known = {
        row.id: row
        for row in connection.execute(
            sa.select(
                attempts.c.id,
                attempts.c.started_at_ms,
                attempts.c.outcome,
                attempts.c.reason,
                attempts.c.status_code,
                attempts.c.error,
            ).where(attempts.c.id.in_([row.attempt_id for row in rows if row.attempt_id is not None]))
        )
    }
    numbers = _attempt_counts(connection, [row.event_seq for row in rows])
    return [
        ParkedDelivery(
            **{name: getattr(row, name) for name in _OF_ROW},
            attempts=numbers.get((row.integration_id, row.event_seq)),
            last_attempt_at_ms=None if last is None else last.started_at_ms,
            outcome=None if last is None else last.outcome,
            reason=None if last is None else last.reason,
            status_code=None if last is None else last.status_code,
            error=None if last is None else last.error,
        )
        for row in rows
        for last in (known.get(row.attempt_id),)
    ]


_OF_ROW = (
    "id integration_id event_seq event_id event_type app_user_id customer_id environment event_timestamp_ms queued_at_ms"
).split()


def _attempt_counts(connection: sa.Connection, seqs: Sequence[int]) -> Counter[tuple[str, int]]:
    query = (
        sa.select(attempts.c.integration_id, attempts.c.event_seq, sa.func.count())
        .where(attempts.c.event_seq.in_(seqs))
        .group_by(attempts.c.integration_id, attempts.c.event_seq)
    )
    return Counter({(lane, seq): count for lane, seq, count in connection.execute(query)})
