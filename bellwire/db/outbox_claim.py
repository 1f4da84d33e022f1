"""Taking due rows of the outbox, lane by lane (architecture D3, D4): who goes first, and who must wait for whom.

A turn of the hub reads what it may take, with the events, and then leases all of it with one statement. Nobody else can
come between: SQLite has one writer, PostgreSQL locks the rows that are read and passes over those of others.
"""

from collections.abc import Mapping

import msgspec
import sqlalchemy as sa

from bellwire.db.bulk import Bulk
from bellwire.db.outbox import Fence, State
from bellwire.db.packed import Packed
from bellwire.db.tables import events, integrations, outbox


class LaneRoom(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows a lane takes now: in all, and of those how many late ones (retries and replays)."""

    rows: int
    late: int
    order_wait_ms: int | None
    """As `Integration.order_wait_ms`."""
    of_a_customer: int = 1
    """How many events of a customer may be taken at once: a lane that takes several sends them in their order, in one
    request or one after another."""


class Claimed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A row that is ours until `lease_until_ms`, with the event it is about. `attempt` counts automatic ones so far."""

    id: int
    integration_id: str
    event_seq: int
    customer_id: int
    attempt: int
    manual: bool
    late: bool
    due_at_ms: int
    """Of a first attempt that is not late: when its event was committed."""
    fence: Fence
    lease_until_ms: int
    project_id: str
    event_id: str
    event_type: str
    app_user_id: str | None
    environment: str | None
    payload: bytes
    replay_id: str | None = None


class LaneClaim(msgspec.Struct, frozen=True, kw_only=True):
    """What one lane got. `full`: it got all it asked for, there may be more.

    `next_at_ms`: the earliest time at which another row can become free by itself; None = no row can.
    """

    rows: list[Claimed]
    full: bool
    next_at_ms: int | None


class _Found(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row that may be taken, in the order of the columns below. `before`: earlier due rows of the customer."""

    id: int
    integration_id: str
    event_seq: int
    customer_id: int
    attempt: int
    manual: int
    late: int
    due_at_ms: int
    replay_id: str | None
    before: int
    project_id: str
    event_id: str
    event_type: str
    app_user_id: str | None
    environment: str | None
    payload: str


YOUNG_MS = 10_000
"""A lane whose oldest fresh row is due for longer has a backlog: then younger ones get half of its room, and go first."""
_UNHEARD_OF_MS = 250
_LOOK_AGAIN_MS = 1_000
"""With more late rows due than there is room for, when the next row becomes free is not looked for: it would walk them
all, in every turn."""
_NEVER_YOUNG_MS = 2**62
_ALWAYS_YOUNG_MS = -1

_DUE = sa.literal_column(str(State.DUE.value))
_LEASED = sa.literal_column(str(State.LEASED.value))
_lane = sa.bindparam("lane", type_=sa.Text)
_now = sa.bindparam("now", type_=sa.BigInteger)
_young_after = sa.bindparam("young_after", type_=sa.BigInteger)

_waiting = outbox.alias("waiting")
_earlier = outbox.alias("earlier")
_same_customer = sa.and_(
    _earlier.c.integration_id.concat("") == _waiting.c.integration_id,
    _earlier.c.customer_id == _waiting.c.customer_id,
    _earlier.c.id + 0 < _waiting.c.id,
)
"""Written so that only the index by customers can serve it. A database that last looked while the queue was empty believes
that it still is, and takes any index: it then went through the whole queue for each row of it.
"""
_due_as_well = sa.and_(_earlier.c.state == _DUE, _earlier.c.due_at_ms <= _now)
_holds_back = sa.and_(_earlier.c.state.in_((_DUE, _LEASED)), _earlier.c.created_at_ms > _young_after)
_counts = sa.or_(_waiting.c.late, _earlier.c.replay_id.is_(None), _young_after < 0)
"""Unless the lane is strict, a replayed event never keeps a fresh one waiting."""
_must_wait = sa.exists().where(_same_customer, _counts, sa.or_(_holds_back, _due_as_well))
"""An earlier event of the customer is unfinished and young, or could itself be taken now."""
_must_wait_all_the_same = sa.exists().where(_same_customer, _counts, _holds_back, ~_due_as_well)
"""An earlier event is unfinished and young, and can not be taken now."""
_before = (
    sa.select(sa.func.count()).select_from(_earlier).where(_same_customer, _counts, _due_as_well).scalar_subquery()
)

_due_rows = (_waiting.c.integration_id == _lane, _waiting.c.state == _DUE, _waiting.c.due_at_ms <= _now)


def _found(*conditions: sa.ColumnElement[bool], before: sa.ColumnElement[int]) -> Packed[_Found]:
    names = "id integration_id event_seq customer_id attempt manual late due_at_ms replay_id".split()
    chosen = (
        sa.select(*(_waiting.c[name] for name in names), before.label("before"))
        .where(*conditions)
        .order_by(_waiting.c.due_at_ms, _waiting.c.id)
        .limit(sa.bindparam("rows"))
        .with_for_update(skip_locked=True)
        .subquery("chosen")
    )
    of_event = ("project_id", "id", "type", "app_user_id", "environment", "payload")
    return Packed(
        sa.select(*chosen.c, *(events.c[name] for name in of_event)).select_from(
            chosen.join(events, events.c.seq == chosen.c.event_seq)
        ),
        _Found,
    )


def _takeable(kind: sa.ColumnElement[bool], *, together: bool) -> Packed[_Found]:
    if together:
        may_go = sa.and_(~_must_wait_all_the_same, _before < sa.bindparam("of_a_customer"))
        return _found(*_due_rows, kind, sa.or_(_waiting.c.manual, may_go), before=_before)
    return _found(*_due_rows, kind, sa.or_(_waiting.c.manual, ~_must_wait), before=sa.literal_column("0"))


_FRESH = {together: _takeable(~_waiting.c.late, together=together) for together in (False, True)}
"""First attempts, oldest first."""

_young_since = sa.bindparam("young_since", type_=sa.BigInteger)
_YOUNG = _takeable(sa.and_(~_waiting.c.late, _waiting.c.due_at_ms > _young_since), together=False)
"""The same, but none of a lane's backlog."""

_LATE = {together: _takeable(_waiting.c.late, together=together) for together in (False, True)}
"""Retries and replays, longest due first."""

_BY_ID = _found(_waiting.c.id == sa.bindparam("row_id"), before=sa.literal_column("0"))
"""One row, whatever its state."""

_LEASE = Bulk(
    f"UPDATE outbox SET state = {State.LEASED.value}, lease = given.column2, lease_until_ms = given.column3"  # noqa: S608  # our own number
    " FROM {rows} WHERE outbox.id = given.column1",
    (sa.BigInteger(), sa.BigInteger(), sa.BigInteger()),
)


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

_OLDEST_HOLDING_BACK = sa.select(
    sa.func.min(
        sa.select(sa.func.min(_earlier.c.created_at_ms)).where(_same_customer, _counts, _holds_back).scalar_subquery()
    )
).where(*_due_rows)
"""The row that will first be too old to hold others back."""


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
            behind = fresh is not None and fresh < now_ms - YOUNG_MS
            claims[lane] = _choose(connection, lane, room, have_late, behind, now_ms, fence, lease_until_ms)
    taken = [(row.id, fence, lease_until_ms) for claim in claims.values() for row in claim.rows]
    _LEASE.run(connection, taken)
    return claims


def load_claimed(connection: sa.Connection, row_id: int, *, fence: Fence, lease_until_ms: int) -> Claimed:
    """A row that `requeue` gave to its caller."""
    (found,) = _BY_ID.fetch(connection, {"row_id": row_id, "rows": 1})
    return _claimed(found, fence, lease_until_ms)


def _choose(
    connection: sa.Connection,
    lane: str,
    room: LaneRoom,
    have_late: bool,
    behind: bool,
    now_ms: int,
    fence: Fence,
    lease_until_ms: int,
) -> LaneClaim:
    """What the lane takes, before it is leased."""
    wait_ms = room.order_wait_ms
    young_after = _ALWAYS_YOUNG_MS if wait_ms is None else now_ms - wait_ms if wait_ms > 0 else _NEVER_YOUNG_MS
    when = {"lane": lane, "now": now_ms, "young_after": young_after}
    together = room.of_a_customer > 1
    if together:
        when |= {"of_a_customer": room.of_a_customer}
    found: list[_Found] = []
    if behind and not together:
        young = when | {"young_since": now_ms - YOUNG_MS, "rows": (room.rows + 1) // 2}
        found += _YOUNG.fetch(connection, young)
    wanted_late = min(room.late, room.rows - len(found))
    late = _LATE[together].fetch(connection, when | {"rows": wanted_late}) if have_late and wanted_late > 0 else []
    more_late = have_late and len(late) >= wanted_late
    found += late
    full = len(found) >= room.rows
    if not full:
        wanted = room.rows - len(found)
        fresh = _FRESH[together].fetch(connection, when | {"rows": wanted})
        full = len(fresh) >= wanted
        known = {row.id for row in found} if behind else ()
        found += [row for row in fresh if row.id not in known]
    return LaneClaim(
        rows=[_claimed(row, fence, lease_until_ms) for row in _in_order(found)],
        full=full or more_late,
        next_at_ms=None if full else now_ms + _LOOK_AGAIN_MS if more_late else _next_at_ms(connection, when, wait_ms),
    )


def _in_order(found: list[_Found]) -> list[_Found]:
    """Longest due first, and of one customer's events none before an earlier one or without it."""
    found.sort(key=lambda row: (row.due_at_ms, row.id))
    if not any(row.before for row in found):
        return found
    rows_of: dict[int, list[_Found]] = {}
    for row in sorted(found, key=lambda row: row.id):
        rows = rows_of.setdefault(row.customer_id, [])
        counted = len(rows) if row.late else sum(one.replay_id is None for one in rows)
        if row.before == counted or row.manual:
            rows.append(row)
    return [rows.pop(0) for row in found if (rows := rows_of[row.customer_id])]


def _claimed(row: _Found, fence: Fence, lease_until_ms: int) -> Claimed:
    return Claimed(
        id=row.id,
        integration_id=row.integration_id,
        event_seq=row.event_seq,
        customer_id=row.customer_id,
        attempt=row.attempt,
        manual=bool(row.manual),
        late=bool(row.late),
        due_at_ms=row.due_at_ms,
        fence=fence,
        lease_until_ms=lease_until_ms,
        project_id=row.project_id,
        event_id=row.event_id,
        event_type=row.event_type,
        app_user_id=row.app_user_id,
        environment=row.environment,
        payload=row.payload.encode(),
        replay_id=row.replay_id,
    )


def _next_at_ms(connection: sa.Connection, when: Mapping[str, object], wait_ms: int | None) -> int | None:
    times = [connection.execute(query, when).scalar_one_or_none() for query in _NEXT_DUE]
    if wait_ms:
        oldest = connection.execute(_OLDEST_HOLDING_BACK, when).scalar_one_or_none()
        times.append(None if oldest is None else oldest + wait_ms)
    return min((time for time in times if time is not None), default=None)
