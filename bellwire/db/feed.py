"""Reads for the live feed: one row for each (integration, event), showing its latest attempt; newest first.

Every read is cheap however long the attempt log is: it walks one index from its newest end and looks at no more than
SCAN_ROWS attempts. A page that found too little says how far it looked (`FeedPage.searched_to_ms`).
"""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from bellwire.db.feed_rows import FeedFilters, FeedRow, FeedStatus, admitted, to_row, tried, with_outbox
from bellwire.db.tables import app_user_ids, attempts, events, integrations
from bellwire.kit.ids import row_id_span

SCAN_ROWS = 20_000
"""Attempts that one filtered page looks at: tens of milliseconds."""
_OVERLAP = row_id_span(10_000)
"""How much lower the id of an attempt that commits later can be: no transaction takes nearly as long."""
_OVERLAP_ROWS = 2_000
"""Of a busier log the oldest of these ten seconds are not looked at again."""
CUSTOMER_EVENTS = 1_000
"""Events of one customer that the customer filter looks at, newest first."""


class FeedPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some rows, newest first. `older_than` is the attempt id to go on from; None = this was the end."""

    rows: list[FeedRow]
    older_than: int | None
    searched_to_ms: int | None = None
    """Set when the search stopped at its bound before the page was full: start of the last attempt looked at."""


class FeedCursor(msgspec.Struct, frozen=True):
    """How far a live reader is: the newest attempt looked at, and which ones were looked at in the time before it.

    Where several processes write, an attempt that commits a moment later can have a lower id: each look goes back by
    that moment, and `seen` tells what is new. A reader who comes back with the newest id alone gets some rows again.
    """

    newest: int
    seen: frozenset[int] = frozenset()

    @classmethod
    def at(cls, attempt_id: int) -> "FeedCursor":
        """Of somebody who has seen this one."""
        return cls(attempt_id, frozenset([attempt_id]))


def latest_attempt_id(connection: sa.Connection, project_id: str) -> int:
    """The newest attempt of a project, 0 before the first: where a stream begins."""
    query = sa.select(sa.func.max(attempts.c.id)).where(attempts.c.project_id == project_id)
    return connection.execute(query).scalar_one_or_none() or 0


def load_page(
    connection: sa.Connection, project_id: str, filters: FeedFilters, *, before: int | None = None, limit: int = 50
) -> FeedPage:
    """One page of deliveries that were tried, those with attempts below `before` if given."""
    if filters.status in (FeedStatus.QUEUED, FeedStatus.SENDING):
        return FeedPage(rows=[], older_than=None)
    scope = _scope(project_id, filters)
    if before is not None:
        scope = [*scope, attempts.c.id < before]
    floor = None if filters.customer is not None else _floor(connection, scope)
    bounded = scope if floor is None else [*scope, attempts.c.id >= floor.id]
    newer = attempts.alias("newer")
    overtaken = sa.exists().where(
        newer.c.event_seq == attempts.c.event_seq,
        newer.c.integration_id == attempts.c.integration_id,
        newer.c.event_id == attempts.c.event_id,
        newer.c.id > attempts.c.id,
    )
    query = tried().where(*bounded, *_conditions(filters), ~overtaken).order_by(attempts.c.id.desc()).limit(limit + 1)
    rows = with_outbox(connection, [to_row(row) for row in connection.execute(query)])
    if len(rows) > limit:
        return FeedPage(rows=rows[:limit], older_than=rows[limit - 1].attempt_id)
    if floor is None:
        return FeedPage(rows=rows, older_than=None)
    return FeedPage(rows=rows, older_than=floor.id, searched_to_ms=floor.started_at_ms)


def load_changes(
    connection: sa.Connection, project_id: str, filters: FeedFilters, *, after: FeedCursor, limit: int = 200
) -> tuple[list[FeedRow], FeedCursor]:
    """Deliveries tried since the last look, newest first and each once, and what is to be handed in next time.

    The status filter is left to the caller: a row that no longer has the status must still be updated where it shows.
    With more than `limit` attempts the older ones are left out.
    """
    recent = (
        sa.select(attempts.c.id)
        .where(attempts.c.project_id == project_id, attempts.c.id > after.newest - _OVERLAP)
        .order_by(attempts.c.id.desc())
        .limit(_OVERLAP_ROWS)
    )
    ids = list(connection.execute(recent).scalars())
    fresh = [attempt_id for attempt_id in ids if attempt_id not in after.seen][:limit]
    newest = max(after.newest, ids[0]) if ids else after.newest
    cursor = FeedCursor(newest, frozenset([attempt_id for attempt_id in ids if attempt_id > newest - _OVERLAP]))
    if not fresh:
        return [], cursor
    query = tried().where(attempts.c.id.in_(fresh), attempts.c.project_id == project_id).order_by(attempts.c.id.desc())
    seen: set[tuple[str, str]] = set()
    latest = []
    for row in map(to_row, connection.execute(query)):
        if (row.integration_id, row.event_id) not in seen:
            seen.add((row.integration_id, row.event_id))
            latest.append(row)
    return with_outbox(connection, admitted(connection, project_id, filters, latest)), cursor


def _scope(project_id: str, filters: FeedFilters) -> list[sa.ColumnElement[bool]]:
    """The one condition that an index serves, so that no database is tempted to take another."""
    if filters.customer is not None:
        of_customer = (
            sa.select(events.c.seq)
            .join(app_user_ids, app_user_ids.c.customer_id == events.c.customer_id)
            .where(
                app_user_ids.c.project_id == project_id,
                app_user_ids.c.app_user_id == filters.customer,
                events.c.project_id == project_id,
            )
            .order_by(events.c.seq.desc())
            .limit(CUSTOMER_EVENTS)
        )
        return [attempts.c.event_seq.in_(of_customer)]
    if filters.integration_id is not None:
        ours = sa.select(integrations.c.id).where(
            integrations.c.id == filters.integration_id, integrations.c.project_id == project_id
        )
        return [attempts.c.integration_id == ours.scalar_subquery()]
    return [attempts.c.project_id == project_id]


def _floor(connection: sa.Connection, scope: Sequence[sa.ColumnElement[bool]]) -> sa.Row[int, int] | None:
    """The attempt at which the search stops; None when there are fewer than SCAN_ROWS."""
    nth = (
        sa.select(attempts.c.id).where(*scope).order_by(attempts.c.id.desc()).offset(SCAN_ROWS).limit(1)
    ).scalar_subquery()
    return connection.execute(
        sa.select(attempts.c.id, attempts.c.started_at_ms).where(attempts.c.id == nth)
    ).one_or_none()


def _conditions(filters: FeedFilters) -> list[sa.ColumnElement[bool]]:
    """What is checked row by row within the scope."""
    found: list[sa.ColumnElement[bool]] = []
    if filters.event_type is not None:
        found.append(attempts.c.event_type == filters.event_type)
    if filters.environment is not None:
        found.append(attempts.c.environment == filters.environment)
    if filters.customer is not None and filters.integration_id is not None:
        found.append(attempts.c.integration_id == filters.integration_id)
    unsettled = attempts.c.outcome.not_in(("delivered", "skipped"))
    goes_on = sa.and_(attempts.c.next_attempt_at_ms.is_not(None), attempts.c.parked.is_(sa.false()))
    match filters.status:
        case FeedStatus.SENT:
            found.append(attempts.c.outcome == "delivered")
        case FeedStatus.SKIPPED:
            found.append(attempts.c.outcome == "skipped")
        case FeedStatus.RETRYING:
            found += [unsettled, goes_on]
        case FeedStatus.FAILED:
            found += [unsettled, ~goes_on]
        case _:
            pass
    return found
