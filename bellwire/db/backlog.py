"""What waits, for metrics: how much and since when. Each figure is a seek or a bounded walk of an index."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from bellwire.db.inbox import RECEIVED
from bellwire.db.lane_states import LaneState, load_lane_states
from bellwire.db.outbox import State
from bellwire.db.tables import inbox, outbox, replays
from bellwire.db.workers import Worker, heartbeat_ms, live_workers

COUNTED_UP_TO = 250_000
"""A walk of so many index entries takes some ten milliseconds; whoever has more knows enough."""


class LaneBacklog(msgspec.Struct, frozen=True, kw_only=True):
    """One integration's rows. `oldest_due_ms`: the earliest due time of rows that wait, be it in the future."""

    integration_id: str
    fresh: int
    late: int
    leased: int
    parked: int
    oldest_due_ms: int | None


class ReplayProgress(msgspec.Struct, frozen=True, kw_only=True):
    """All open replays of one integration together."""

    selected: int
    put_out: int
    delivered: int


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, as of one moment."""

    lanes: list[LaneBacklog]
    states: dict[str, LaneState]
    """As `load_lane_states`."""
    replays: dict[str, ReplayProgress]
    """By integration; only of those that have open ones."""
    workers: list[Worker]
    """Processes that have been heard of lately."""
    inbox_open: int
    inbox_oldest_due_ms: int | None


def _counted(*conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    rows = sa.select(sa.literal(1)).where(*conditions).limit(COUNTED_UP_TO).subquery()
    return sa.select(sa.func.count()).select_from(rows).scalar_subquery()


_lane = outbox.c.integration_id == sa.bindparam("lane", type_=sa.Text)


def _in(state: State) -> sa.ColumnElement[bool]:
    return outbox.c.state == sa.literal_column(str(state.value))


_CLASSES = [_in(State.DUE) & (outbox.c.late == late) for late in (sa.false(), sa.true())]

_LANE = sa.select(
    *(_counted(_lane, which).label(name) for which, name in zip(_CLASSES, ("fresh", "late"), strict=True)),
    _counted(_lane, _in(State.LEASED)).label("leased"),
    _counted(_lane, _in(State.PARKED)).label("parked"),
    *(
        sa.select(sa.func.min(outbox.c.due_at_ms)).where(_lane, which).scalar_subquery().label(name)
        for which, name in zip(_CLASSES, ("oldest_fresh", "oldest_late"), strict=True)
    ),
)

_open = inbox.c.status == sa.literal_column(f"'{RECEIVED}'")
"""Spelled out, so that both databases see that the partial index serves."""

_INBOX = sa.select(
    _counted(_open).label("open"),
    sa.select(sa.func.min(inbox.c.next_attempt_at_ms)).where(_open).scalar_subquery().label("oldest"),
)


_REPLAYS = (
    sa.select(
        replays.c.integration_id,
        sa.func.sum(replays.c.total).label("selected"),
        sa.func.sum(replays.c.enqueued + replays.c.passed_over).label("put_out"),
        sa.func.sum(replays.c.delivered).label("delivered"),
    )
    .where(replays.c.ended_at_ms.is_(None))
    .group_by(replays.c.integration_id)
)
"""Open ones have an index of their own."""


def load_backlog(connection: sa.Connection, integration_ids: Sequence[str], *, now_ms: int) -> Backlog:
    """The backlog of these integrations and of the inbox. `now_ms` is real time."""
    lanes: list[LaneBacklog] = []
    for integration_id in integration_ids:
        row = connection.execute(_LANE, {"lane": integration_id}).one()
        oldest = [due_ms for due_ms in (row.oldest_fresh, row.oldest_late) if due_ms is not None]
        lanes.append(
            LaneBacklog(
                integration_id=integration_id,
                fresh=row.fresh,
                late=row.late,
                leased=row.leased,
                parked=row.parked,
                oldest_due_ms=min(oldest, default=None),
            )
        )
    waiting = connection.execute(_INBOX).one()
    states = load_lane_states(connection)
    progress = {
        row.integration_id: ReplayProgress(
            selected=int(row.selected), put_out=int(row.put_out), delivered=int(row.delivered)
        )
        for row in connection.execute(_REPLAYS)
    }
    return Backlog(
        lanes=lanes,
        states=states,
        replays=progress,
        workers=live_workers(connection, heartbeat_ms(connection, now_ms)),
        inbox_open=waiting.open,
        inbox_oldest_due_ms=waiting.oldest,
    )
