"""Deliveries that wait for their first attempt: what the feed shows before there is an attempt to show."""

from itertools import product

import sqlalchemy as sa

from bellwire.db.feed_rows import (
    EVENT_COLUMNS,
    OUTBOX_COLUMNS,
    OUTBOX_DUE,
    OUTBOX_LEASED,
    AnySelect,
    FeedFilters,
    FeedRow,
    FeedStatus,
    admitted,
    select,
    to_row,
)
from bellwire.db.tables import events, integrations, outbox

QUEUED_ROWS = 50
"""Waiting deliveries that the feed shows, newest first."""
HELD_BACK_MS = 60_000
"""Rows due later than this from now are retries: a first attempt is due at once, or held back for order's sake."""


def load_queued(
    connection: sa.Connection, project_id: str, filters: FeedFilters, *, now_ms: int, queued_before_ms: int
) -> list[FeedRow]:
    """Deliveries without an attempt, queued before `queued_before_ms`; newest first. Both times are real time."""
    if filters.status not in (None, FeedStatus.QUEUED, FeedStatus.SENDING):
        return []
    found: list[FeedRow] = []
    for integration_id in _lanes(connection, project_id, filters.integration_id):
        for state, late in product((OUTBOX_DUE, OUTBOX_LEASED), (False, True)):
            query = _first_attempts(project_id, integration_id, state, late, now_ms, queued_before_ms)
            found += [to_row(row) for row in connection.execute(query)]
    wanted = admitted(connection, project_id, filters, found)
    return sorted(wanted, key=lambda row: row.outbox_id or 0, reverse=True)[:QUEUED_ROWS]


def load_queued_delivery(
    connection: sa.Connection, project_id: str, integration_id: str, event_seq: int
) -> FeedRow | None:
    """One waiting delivery; None when nothing waits."""
    query = (
        select(*OUTBOX_COLUMNS, outbox.c.created_at_ms.label("at_ms"), *EVENT_COLUMNS)
        .join(events, events.c.seq == outbox.c.event_seq)
        .where(
            outbox.c.integration_id == integration_id,
            outbox.c.event_seq == event_seq,
            events.c.project_id == project_id,
        )
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else to_row(row)


def _lanes(connection: sa.Connection, project_id: str, only: str | None) -> list[str]:
    query = sa.select(integrations.c.id).where(integrations.c.project_id == project_id)
    if only is not None:
        query = query.where(integrations.c.id == only)
    return list(connection.execute(query).scalars())


def _first_attempts(
    project_id: str, integration_id: str, state: int, late: bool, now_ms: int, queued_before_ms: int
) -> AnySelect:
    """One index range of one lane, state and class, cut short: a long queue of retries is never walked."""
    near = (
        sa.select(outbox.c.id)
        .where(
            outbox.c.integration_id == integration_id,
            outbox.c.state == state,
            outbox.c.late == late,
            outbox.c.due_at_ms <= now_ms + HELD_BACK_MS,
        )
        .order_by(outbox.c.due_at_ms.desc())
        .limit(QUEUED_ROWS * 4)
    )
    return (
        select(*OUTBOX_COLUMNS, outbox.c.created_at_ms.label("at_ms"), *EVENT_COLUMNS)
        .join(events, events.c.seq == outbox.c.event_seq)
        .where(
            outbox.c.id.in_(near),
            outbox.c.attempt == 0,
            outbox.c.created_at_ms <= queued_before_ms,
            events.c.project_id == project_id,
        )
        .order_by(outbox.c.id.desc())
        .limit(QUEUED_ROWS)
    )
