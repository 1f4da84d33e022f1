"""Reads for one delivery, opened up: every attempt with its request and answer, and where an event went."""

import msgspec
import sqlalchemy as sa

from bellwire.db.feed_queue import load_queued_delivery
from bellwire.db.feed_rows import FeedRow, to_row, tried, with_outbox
from bellwire.db.tables import attempts, events, outbox

ATTEMPTS_SHOWN = 50
RECENT_TESTS = 2_000
"""Attempts of an integration among which a test event, which has no row of its own, is looked for."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, whole. Headers and timings are JSON; secrets in request headers are masked already."""

    id: int
    attempt: int
    trigger: str
    outcome: str
    reason: str
    status_code: int | None
    error: str | None
    started_at_ms: int
    duration_ms: int
    timings: str
    next_attempt_at_ms: int | None
    parked: bool
    request_method: str | None
    request_url: str | None
    request_headers: str | None
    request_body: bytes | None
    response_headers: str | None
    response_body: bytes | None
    response_truncated: bool


class AttemptLine(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt in the list of all."""

    id: int
    attempt: int
    trigger: str
    outcome: str
    reason: str
    status_code: int | None
    error: str | None
    started_at_ms: int
    duration_ms: int


def load_delivery(connection: sa.Connection, project_id: str, integration_id: str, event_id: str) -> FeedRow | None:
    """The present row of one delivery; None when this project has no such one."""
    seq = connection.execute(
        sa.select(events.c.seq).where(events.c.id == event_id, events.c.project_id == project_id)
    ).scalar_one_or_none()
    if seq is None:
        recent = (
            sa.select(attempts.c.id)
            .where(attempts.c.integration_id == integration_id)
            .order_by(attempts.c.id.desc())
            .limit(RECENT_TESTS)
        )
        here = sa.and_(attempts.c.id.in_(recent), attempts.c.event_id == event_id)
    else:
        here = sa.and_(attempts.c.event_seq == seq, attempts.c.integration_id == integration_id)
    query = tried().where(here, attempts.c.project_id == project_id).order_by(attempts.c.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    if row is not None:
        return with_outbox(connection, [to_row(row)])[0]
    return None if seq is None else load_queued_delivery(connection, project_id, integration_id, seq)


def load_deliveries_of_event(connection: sa.Connection, project_id: str, event_seq: int) -> list[FeedRow]:
    """Where one event went: its latest attempt for each integration, and first what still waits."""
    query = (
        tried()
        .where(attempts.c.event_seq == event_seq, attempts.c.project_id == project_id)
        .order_by(attempts.c.id.desc())
    )
    latest: dict[str, FeedRow] = {}
    for row in map(to_row, connection.execute(query)):
        latest.setdefault(row.integration_id, row)
    lanes = connection.execute(sa.select(outbox.c.integration_id).where(outbox.c.event_seq == event_seq)).scalars()
    queued = [
        load_queued_delivery(connection, project_id, integration_id, event_seq)
        for integration_id in lanes
        if integration_id not in latest
    ]
    return [*(row for row in queued if row is not None), *with_outbox(connection, list(latest.values()))]


def load_attempt_lines(connection: sa.Connection, delivery: FeedRow) -> list[AttemptLine]:
    """The attempts of a delivery, newest first."""
    query = (
        sa.select(*(attempts.c[name] for name in AttemptLine.__struct_fields__))
        .where(*_of(delivery))
        .order_by(attempts.c.id.desc())
        .limit(ATTEMPTS_SHOWN)
    )
    return [msgspec.convert(row, AttemptLine, from_attributes=True) for row in connection.execute(query)]


def load_attempt(connection: sa.Connection, delivery: FeedRow, attempt_id: int) -> Attempt | None:
    """One attempt of a delivery, with request and answer."""
    query = sa.select(*(attempts.c[name] for name in Attempt.__struct_fields__)).where(
        *_of(delivery), attempts.c.id == attempt_id
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else msgspec.convert(row, Attempt, from_attributes=True)


def _of(delivery: FeedRow) -> list[sa.ColumnElement[bool]]:
    return [
        attempts.c.event_seq == delivery.event_seq,
        attempts.c.integration_id == delivery.integration_id,
        attempts.c.event_id == delivery.event_id,
    ]
