"""What alerts are judged by: how each lane went lately and what waits in it, and when each store was last heard of."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import sqlalchemy as sa

from bellwire.db.lane_states import SLOT_MS, LaneState, load_lane_states, load_oldest_due
from bellwire.db.outbox import State
from bellwire.db.tables import apps, inbox, integrations, lane_counts, outbox

HOUR_MS = 3_600_000
WEEK_MS = 7 * 24 * HOUR_MS
GAPS = 200
"""Notifications that a store's usual gap is taken from."""
COUNTED = 10_000
"""Waiting rows are counted up to this: a backlog of a million is not walked every minute."""


class LaneFigures(msgspec.Struct, frozen=True, kw_only=True):
    """`attempts` and `failures` of the last hour (whole slots), those of the week before that beside them."""

    project_id: str
    integration_id: str
    name: str
    enabled: bool
    state: LaneState
    attempts: int = 0
    failures: int = 0
    week_attempts: int = 0
    week_failures: int = 0
    oldest_due_ms: int | None = None
    """When the longest waiting row that is due fell due."""
    waiting: int = 0

    @property
    def waiting_in_words(self) -> str:
        """`17 events`, `10,000 events or more`."""
        return f"{self.waiting:,} event{'' if self.waiting == 1 else 's'}" + (
            " or more" if self.waiting >= COUNTED else ""
        )


class AppFigures(msgspec.Struct, frozen=True, kw_only=True):
    """`gaps_ms`: between the latest notifications of its store, the silence since the last one left out."""

    project_id: str
    app_id: str
    name: str
    last_notification_at_ms: int | None
    gaps_ms: list[int] = []


def load_lane_figures(connection: sa.Connection, *, now_ms: int) -> list[LaneFigures]:
    """Figures of every integration that is not deleted."""
    states = load_lane_states(connection)
    hour = _counts(connection, now_ms - HOUR_MS, now_ms + SLOT_MS)
    week = _counts(connection, now_ms - WEEK_MS - HOUR_MS, now_ms - HOUR_MS)
    query = sa.select(integrations.c.project_id, integrations.c.id, integrations.c.name, integrations.c.enabled).where(
        integrations.c.deleted_at_ms.is_(None)
    )
    return [
        LaneFigures(
            project_id=row.project_id,
            integration_id=row.id,
            name=row.name,
            enabled=row.enabled,
            state=states.get(row.id, LaneState()),
            attempts=hour.get(row.id, (0, 0))[0],
            failures=hour.get(row.id, (0, 0))[1],
            week_attempts=week.get(row.id, (0, 0))[0],
            week_failures=week.get(row.id, (0, 0))[1],
            oldest_due_ms=load_oldest_due(connection, row.id, now_ms),
            waiting=count_waiting(connection, row.id, at_most=COUNTED),
        )
        for row in connection.execute(query).all()
    ]


def load_app_figures(connection: sa.Connection, *, silent_since_ms: int) -> list[AppFigures]:
    """Figures of the apps whose store was last heard of before `silent_since_ms`; the others are not silent."""
    query = sa.select(apps.c.project_id, apps.c.id, apps.c.name, apps.c.last_notification_at_ms).where(
        apps.c.last_notification_at_ms < silent_since_ms
    )
    return [
        AppFigures(
            project_id=row.project_id,
            app_id=row.id,
            name=row.name,
            last_notification_at_ms=row.last_notification_at_ms,
            gaps_ms=_gaps(connection, row.id),
        )
        for row in connection.execute(query)
    ]


def count_waiting(connection: sa.Connection, integration_id: str, *, at_most: int) -> int:
    """Rows that wait or are on their way, parked ones left out; counting stops at `at_most`."""
    rows = (
        sa.select(outbox.c.id)
        .where(outbox.c.integration_id == integration_id, outbox.c.state.in_((State.DUE.value, State.LEASED.value)))
        .limit(at_most)
        .subquery()
    )
    return connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one()


def _counts(connection: sa.Connection, from_ms: int, to_ms: int) -> dict[str, tuple[int, int]]:
    """(attempts, failures) by integration, from the slot that holds `from_ms` to the one before that of `to_ms`."""
    query = (
        sa.select(
            lane_counts.c.integration_id,
            sa.func.sum(lane_counts.c.attempts).label("attempts"),
            sa.func.sum(lane_counts.c.failures).label("failures"),
        )
        .where(lane_counts.c.slot_ms >= from_ms - from_ms % SLOT_MS, lane_counts.c.slot_ms < to_ms - to_ms % SLOT_MS)
        .group_by(lane_counts.c.integration_id)
    )
    return {row.integration_id: (int(row.attempts), int(row.failures)) for row in connection.execute(query)}


def _gaps(connection: sa.Connection, app_id: str) -> list[int]:
    query = (
        sa.select(inbox.c.received_at_ms)
        .where(inbox.c.app_id == app_id, inbox.c.kind == "notification")
        .order_by(inbox.c.received_at_ms.desc())
        .limit(GAPS + 1)
    )
    latest: Sequence[int] = connection.execute(query).scalars().all()
    return [later - earlier for later, earlier in pairwise(latest)]
