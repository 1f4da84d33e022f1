"""Taking due rows of the outbox, lane by lane (architecture D3, D4): who goes first, and who must wait for whom."""

from collections.abc import Mapping
from typing import cast

import msgspec
import sqlalchemy as sa

from bellwire.db.outbox import Fence, State
from bellwire.db.tables import events, integrations, outbox


class LaneRoom(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows a lane takes now: in all, and of those how many late ones (retries and replays)."""

    rows: int
    late: int
    order_wait_ms: int | None
    """As `Integration.order_wait_ms`."""


class Claimed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A row that is ours until `lease_until_ms`, with the event it is about. `attempt` counts automatic ones so far."""

    id: int
    integration_id: str
    event_seq: int
    customer_id: int
    attempt: int
    manual: bool
    late: bool
    fence: Fence
    lease_until_ms: int
    project_id: str
    event_id: str
    event_type: str
    app_user_id: str | None
    environment: str | None
    payload: bytes


class LaneClaim(msgspec.Struct, frozen=True, kw_only=True):
    """What one lane got. `full`: it got all it asked for, there may be more.

    `next_at_ms`: the earliest time at which another row can become free by itself; None = no row can.
    """

    rows: list[Claimed]
    full: bool
    next_at_ms: int | None


_Row = sa.Row[*tuple[object, ...]]

_UNHEARD_OF_MS = 250
_NEVER_YOUNG_MS = 2**62
_ALWAYS_YOUNG_MS = -1

_DUE = sa.literal_column(str(State.DUE.value))
_LEASED = sa.literal_column(str(State.LEASED.value))
_lane = sa.bindparam("lane", type_=sa.Text)
_now = sa.bindparam("now", type_=sa.BigInteger)
_young_after = sa.bindparam("young_after", type_=sa.BigInteger)
_fence = sa.bindparam("fence", type_=sa.BigInteger)

_waiting = outbox.alias("waiting")
_earlier = outbox.alias("earlier")
_same_customer = sa.and_(
    _earlier.c.integration_id == _waiting.c.integration_id,
    _earlier.c.customer_id == _waiting.c.customer_id,
    _earlier.c.id < _waiting.c.id,
)
_holds_back = sa.and_(_earlier.c.state.in_((_DUE, _LEASED)), _earlier.c.created_at_ms > _young_after)
_in_this_claim = sa.or_(
    sa.and_(_earlier.c.state == _DUE, _earlier.c.due_at_ms <= _now),
    _earlier.c.lease == _fence,
)
_must_wait = sa.exists().where(_same_customer, sa.or_(_holds_back, _in_this_claim))
"""An earlier event of the customer is unfinished and young, or itself takes part in this claim."""

_due_rows = (_waiting.c.integration_id == _lane, _waiting.c.state == _DUE, _waiting.c.due_at_ms <= _now)


def _claim(kind: sa.ColumnElement[bool]) -> sa.UpdateBase:
    chosen = (
        sa.select(_waiting.c.id)
        .where(*_due_rows, kind, sa.or_(_waiting.c.manual, ~_must_wait))
        .order_by(_waiting.c.due_at_ms, _waiting.c.id)
        .limit(sa.bindparam("rows"))
        .with_for_update(skip_locked=True)
    )
    return (
        sa.update(outbox)
        .where(outbox.c.id.in_(chosen))
        .values(state=State.LEASED.value, lease=_fence, lease_until_ms=sa.bindparam("lease_until"))
        .returning(*_ROW_COLUMNS)
    )


_ROW_COLUMNS = [
    outbox.c[name]
    for name in ("id", "integration_id", "event_seq", "customer_id", "attempt", "manual", "late", "due_at_ms")
]

_CLAIM_FRESH = _claim(~_waiting.c.late)
"""First attempts, oldest first."""

_CLAIM_LATE = _claim(_waiting.c.late)
"""Retries and replays, longest due first."""

_BY_ID = cast(sa.Select[*tuple[object, ...]], sa.select(*_ROW_COLUMNS).where(outbox.c.id == sa.bindparam("row_id")))
"""One row, whatever its state."""


def _earliest(*conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return (
        sa.select(sa.func.min(outbox.c.due_at_ms))
        .where(outbox.c.integration_id == integrations.c.id, outbox.c.state == _DUE, *conditions)
        .scalar_subquery()
    )


_EARLIEST = (
    sa.select(
        integrations.c.id,
        integrations.c.deleted_at_ms.is_not(None).label("deleted"),
        _earliest(~outbox.c.late).label("fresh"),
        _earliest(outbox.c.late).label("late"),
    )
).subquery()
_LANES = sa.select(_EARLIEST).where(sa.or_(_EARLIEST.c.fresh.is_not(None), _EARLIEST.c.late.is_not(None)))
"""Every lane with waiting rows: the earliest due times of fresh and of late ones. One index seek each."""

_NEXT_DUE = [
    sa.select(sa.func.min(outbox.c.due_at_ms)).where(
        outbox.c.integration_id == _lane, outbox.c.state == _DUE, of_class, outbox.c.due_at_ms > _now
    )
    for of_class in (~outbox.c.late, outbox.c.late)
]
"""When the next fresh and the next late row of a lane fall due."""

_OLDEST_HOLDING_BACK = (
    sa.select(sa.func.min(_earlier.c.created_at_ms))
    .select_from(_waiting.join(_earlier, _same_customer))
    .where(*_due_rows, _holds_back)
)
"""The row that will first be too old to hold others back."""

_EVENTS = sa.select(
    events.c.seq,
    events.c.id,
    events.c.project_id,
    events.c.type,
    events.c.app_user_id,
    events.c.environment,
    events.c.payload,
).where(events.c.seq.in_(sa.bindparam("seqs", expanding=True)))


def claim_due(
    connection: sa.Connection,
    rooms: Mapping[str, LaneRoom],
    *,
    room_of_deleted: LaneRoom,
    now_ms: int,
    fence: Fence,
    lease_until_ms: int,
) -> dict[str, LaneClaim]:
    """Take what is due in all lanes, each up to its room.

    Lanes without waiting rows are not in the answer. A lane without room is, and gets nothing; so does one that is
    neither in `rooms` nor deleted: the caller has not heard of it yet.
    """
    claims: dict[str, LaneClaim] = {}
    for lane, deleted, fresh, late in connection.execute(_LANES):
        due = min(time for time in (fresh, late) if time is not None)
        room = room_of_deleted if deleted else rooms.get(lane)
        if room is None:
            claims[lane] = LaneClaim(rows=[], full=False, next_at_ms=now_ms + _UNHEARD_OF_MS)
        elif due > now_ms:
            claims[lane] = LaneClaim(rows=[], full=False, next_at_ms=due)
        elif room.rows <= 0:
            claims[lane] = LaneClaim(rows=[], full=True, next_at_ms=None)
        else:
            have_late = late is not None and late <= now_ms
            claims[lane] = _claim_lane(connection, lane, room, have_late, now_ms, fence, lease_until_ms)
    return claims


def load_claimed(connection: sa.Connection, row_id: int, *, fence: Fence, lease_until_ms: int) -> Claimed:
    """A row that `requeue` gave to its caller."""
    row = connection.execute(_BY_ID, {"row_id": row_id}).one()
    return _with_events(connection, [row], fence, lease_until_ms)[0]


def _claim_lane(
    connection: sa.Connection,
    lane: str,
    room: LaneRoom,
    have_late: bool,
    now_ms: int,
    fence: Fence,
    lease_until_ms: int,
) -> LaneClaim:
    wait_ms = room.order_wait_ms
    young_after = _ALWAYS_YOUNG_MS if wait_ms is None else now_ms - wait_ms if wait_ms > 0 else _NEVER_YOUNG_MS
    when = {"lane": lane, "now": now_ms, "young_after": young_after}
    lease = when | {"fence": fence, "lease_until": lease_until_ms}
    taken: list[_Row] = []
    wanted_late = min(room.late, room.rows)
    if have_late and wanted_late > 0:
        taken += connection.execute(_CLAIM_LATE, lease | {"rows": wanted_late}).all()
    more_late = have_late and len(taken) >= wanted_late
    fresh = room.rows - len(taken)
    if fresh > 0:
        taken += connection.execute(_CLAIM_FRESH, lease | {"rows": fresh}).all()
    full = len(taken) >= room.rows or more_late
    taken.sort(key=lambda row: (row.due_at_ms, row.id))
    return LaneClaim(
        rows=_with_events(connection, taken, fence, lease_until_ms),
        full=full,
        next_at_ms=None if len(taken) >= room.rows else _next_at_ms(connection, when, wait_ms),
    )


def _next_at_ms(connection: sa.Connection, when: Mapping[str, object], wait_ms: int | None) -> int | None:
    times = [connection.execute(query, when).scalar_one_or_none() for query in _NEXT_DUE]
    if wait_ms:
        oldest = connection.execute(_OLDEST_HOLDING_BACK, when).scalar_one_or_none()
        times.append(None if oldest is None else oldest + wait_ms)
    return min((time for time in times if time is not None), default=None)


def _with_events(connection: sa.Connection, rows: list[_Row], fence: Fence, lease_until_ms: int) -> list[Claimed]:
    if not rows:
        return []
    found = {event.seq: event for event in connection.execute(_EVENTS, {"seqs": [row.event_seq for row in rows]})}
    return [
        Claimed(
            id=row.id,
            integration_id=row.integration_id,
            event_seq=row.event_seq,
            customer_id=row.customer_id,
            attempt=row.attempt,
            manual=row.manual,
            late=row.late,
            fence=fence,
            lease_until_ms=lease_until_ms,
            project_id=event.project_id,
            event_id=event.id,
            event_type=event.type,
            app_user_id=event.app_user_id,
            environment=event.environment,
            payload=event.payload,
        )
        for row in rows
        for event in (found[row.event_seq],)
    ]
