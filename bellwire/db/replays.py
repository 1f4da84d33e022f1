"""Replays: what was asked for, how far it is, and the rows it puts into the outbox.

The cursor moves in the transaction that puts rows out, and only from where it was when they were looked up: two workers,
or one that was killed, neither lose nor double a row. Rows are of the late class, and few at a time.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from bellwire.db.bulk import Bulk, BulkInsert
from bellwire.db.outbox import Held, State, note_enqueued
from bellwire.db.replay_selection import Preview
from bellwire.db.tables import outbox, replays
from bellwire.kit.ids import new_public_id
from bellwire.model.replays import ReplayStatus, Selection, What

TAKEN_OVER_ATTEMPT = 1
"""A parked delivery begins its schedule anew, at the second try: it has failed before."""
FINISHED = (ReplayStatus.DONE, ReplayStatus.CANCELLED, ReplayStatus.FAILED)


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """One replay, to one integration. All times are real time."""

    id: str
    project_id: str
    integration_id: str
    selection: Selection
    status: ReplayStatus
    message: str
    rate_per_s: float | None
    total: int
    """What was selected when it was made."""
    cursor: int
    last: int
    enqueued: int
    passed_over: int
    """Were waiting anyhow when it came to them."""
    delivered: int
    skipped: int
    waiting: int
    """In the outbox now: not tried yet, or on their way."""
    retrying: int
    """In the outbox now: failed, and to be tried again by themselves."""
    paced_at_ms: int
    created_by: str
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None

    @property
    def failed(self) -> int:
        """Given up: parked, if nobody has taken them up since."""
        return max(0, self.enqueued - self.delivered - self.skipped - self.waiting - self.retrying)

    @property
    def finished(self) -> bool:
        return self.status in FINISHED


class Replayed(msgspec.Struct, frozen=True, gc=False):
    """A row of a replay that is delivered or skipped."""

    held: Held
    replay_id: str
    outcome: str


class IdempotencyConflict(Exception):
    """The same key was used for another replay before."""


_PUT = BulkInsert(
    outbox,
    (
        "integration_id",
        "event_seq",
        "customer_id",
        "state",
        "attempt",
        "manual",
        "due_at_ms",
        "created_at_ms",
        "late",
        "replay_id",
    ),
    conflict=(
        f"(integration_id, event_seq) DO UPDATE SET state = {State.DUE.value}, attempt = {TAKEN_OVER_ATTEMPT}, "
        "manual = excluded.manual, due_at_ms = excluded.due_at_ms, late = excluded.late, "
        f"replay_id = excluded.replay_id WHERE outbox.state = {State.PARKED.value}"
    ),
    returning="id",
)
"""What waits or is on its way already is left as it is; what is parked is taken up."""

_TAKE = Bulk(
    f"UPDATE outbox SET state = {State.DUE.value}, attempt = {TAKEN_OVER_ATTEMPT}, due_at_ms = given.column2, "  # noqa: S608 - numbers of ours
    "manual = given.column3, late = given.column4, replay_id = given.column5 FROM {rows} "
    f"WHERE outbox.id = given.column1 AND (outbox.state = {State.PARKED.value} OR "
    f"(outbox.state = {State.DUE.value} AND outbox.attempt > 0 AND outbox.replay_id IS NULL)) RETURNING outbox.id",
    (sa.BigInteger(), sa.BigInteger(), sa.Boolean(), sa.Boolean(), sa.Text()),
)

_STILL_HELD = Bulk(
    "SELECT outbox.id FROM {rows} JOIN outbox ON outbox.id = given.column1 AND outbox.lease = given.column2",
    (sa.BigInteger(), sa.BigInteger()),
)


def create_replay(
    connection: sa.Connection,
    *,
    project_id: str,
    integration_id: str,
    selection: Selection,
    preview: Preview,
    created_by: str,
    now_ms: int,
    rate_per_s: float | None = None,
    idempotency_key: str | None = None,
) -> str:
    """Ask for a replay of what `preview` found; returns its id. With a key that was used before: the id of then.

    Raises IdempotencyConflict when it was used for something else.
    """
    text = msgspec.json.encode(selection).decode()
    if idempotency_key is not None:
        known = connection.execute(
            sa.select(replays.c.id, replays.c.integration_id, replays.c.selection, replays.c.rate_per_s).where(
                replays.c.project_id == project_id, replays.c.idempotency_key == idempotency_key
            )
        ).one_or_none()
        if known is not None:
            if (known.integration_id, known.selection, known.rate_per_s) != (integration_id, text, rate_per_s):
                raise IdempotencyConflict("this Idempotency-Key was used for another replay before")
            return str(known.id)
    replay_id = new_public_id("rply", hex_digits=16)
    connection.execute(
        sa.insert(replays).values(
            id=replay_id,
            project_id=project_id,
            integration_id=integration_id,
            selection=text,
            status=ReplayStatus.WAITING.value,
            rate_per_s=rate_per_s,
            total=preview.total,
            cursor=preview.begin - 1,
            last=preview.end,
            created_by=created_by,
            idempotency_key=idempotency_key,
            created_at_ms=now_ms,
        )
    )
    return replay_id


def list_replays(
    connection: sa.Connection,
    project_id: str,
    *,
    now_ms: int,
    integration_id: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[Replay]:
    """Replays of a project, newest first; those behind the one with id `after`."""
    query = sa.select(replays).where(replays.c.project_id == project_id)
    if integration_id is not None:
        query = query.where(replays.c.integration_id == integration_id)
    if after is not None:
        mark = sa.select(replays.c.created_at_ms).where(replays.c.project_id == project_id, replays.c.id == after)
        at = mark.scalar_subquery()
        query = query.where(
            sa.or_(replays.c.created_at_ms < at, sa.and_(replays.c.created_at_ms == at, replays.c.id < after))
        )
    query = query.order_by(replays.c.created_at_ms.desc(), replays.c.id.desc()).limit(limit)
    return _with_counts(connection, list(connection.execute(query)), now_ms)


def load_replay(connection: sa.Connection, project_id: str, replay_id: str, *, now_ms: int) -> Replay | None:
    """One replay; None when this project has no such one."""
    query = sa.select(replays).where(replays.c.project_id == project_id, replays.c.id == replay_id)
    found = _with_counts(connection, list(connection.execute(query)), now_ms)
    return found[0] if found else None


def open_replays(connection: sa.Connection, *, now_ms: int) -> list[Replay]:
    """Those of all projects that a worker has something to do for, oldest first."""
    query = sa.select(replays).where(replays.c.ended_at_ms.is_(None)).order_by(replays.c.created_at_ms, replays.c.id)
    return _with_counts(connection, list(connection.execute(query)), now_ms)


def put_out(
    connection: sa.Connection,
    replay: Replay,
    found: Sequence[tuple[int, int]],
    *,
    upto: int,
    paced_at_ms: int,
    now_ms: int,
) -> int | None:
    """Put what `find_portion` found into the outbox and move the cursor to `upto`; returns how many rows that were.

    None = the replay is no longer where it was when that was looked up; nothing is done then.
    """
    moved = connection.execute(
        sa.update(replays)
        .where(replays.c.id == replay.id, replays.c.cursor == replay.cursor, replays.c.ended_at_ms.is_(None))
        .where(replays.c.status.in_([ReplayStatus.WAITING.value, ReplayStatus.RUNNING.value]))
        .values(
            cursor=upto,
            status=ReplayStatus.RUNNING.value,
            started_at_ms=sa.func.coalesce(replays.c.started_at_ms, now_ms),
        )
    )
    if moved.rowcount != 1:
        return None
    if not found:
        return 0
    if replay.selection.what is What.HISTORY:
        rows = [
            (replay.integration_id, seq, customer_id, State.DUE.value, 0, False, now_ms, now_ms, True, replay.id)
            for seq, customer_id in found
        ]
        put = len(_PUT.fetch(connection, rows))
    else:
        put = len(_TAKE.fetch(connection, [(row_id, now_ms, False, True, replay.id) for row_id, _ in found]))
    connection.execute(
        sa.update(replays)
        .where(replays.c.id == replay.id)
        .values(
            enqueued=replays.c.enqueued + put,
            passed_over=replays.c.passed_over + (len(found) - put),
            paced_at_ms=paced_at_ms,
        )
    )
    note_enqueued(connection)
    return put


def end_replay(
    connection: sa.Connection, replay_id: str, status: ReplayStatus, *, now_ms: int, message: str = ""
) -> None:
    """Nothing is left to do for it."""
    connection.execute(
        sa.update(replays)
        .where(replays.c.id == replay_id, replays.c.ended_at_ms.is_(None))
        .values(status=status.value, message=message, ended_at_ms=now_ms)
    )


def cancel_replay(connection: sa.Connection, project_id: str, replay_id: str, *, now_ms: int) -> bool:
    """Stop it: what waits is taken out, or parked again if it was; what is on the wire ends. False = it had finished
    (or is none of this project's)."""
    done = connection.execute(
        sa.update(replays)
        .where(replays.c.project_id == project_id, replays.c.id == replay_id)
        .where(replays.c.status.in_([ReplayStatus.WAITING.value, ReplayStatus.RUNNING.value]))
        .values(status=ReplayStatus.CANCELLED.value)
    )
    if done.rowcount != 1:
        return False
    withdraw(connection, replay_id, now_ms=now_ms)
    return True


def withdraw(connection: sa.Connection, replay_id: str, *, now_ms: int) -> None:
    """Take the rows of a cancelled replay out of the queue; it has ended when none of them is on its way any more."""
    waits = (outbox.c.replay_id == replay_id, outbox.c.state == State.DUE.value)
    untried = connection.execute(sa.delete(outbox).where(*waits, outbox.c.attempt == 0)).rowcount
    again = connection.execute(
        sa.update(outbox)
        .where(*waits, outbox.c.attempt == TAKEN_OVER_ATTEMPT, outbox.c.due_at_ms <= now_ms)
        .values(state=State.PARKED.value, manual=False, replay_id=None)
    ).rowcount
    connection.execute(sa.update(outbox).where(*waits).values(state=State.PARKED.value, manual=False))
    on_their_way = connection.execute(
        sa.select(sa.func.count()).where(outbox.c.replay_id == replay_id, outbox.c.state == State.LEASED.value)
    ).scalar_one()
    values: dict[str, object] = {"enqueued": replays.c.enqueued - (untried + again)}
    if not on_their_way:
        values["ended_at_ms"] = now_ms
    connection.execute(sa.update(replays).where(replays.c.id == replay_id).values(values))


def count_replayed(connection: sa.Connection, ended: Sequence[Replayed]) -> None:
    """Count what a turn settled, before it settles it: only rows that are still held count."""
    if not ended:
        return
    rows = [(one.held.id, one.held.fence) for one in ended]
    ours = {row.id for row in _STILL_HELD.fetch(connection, rows)}
    counts = Counter((one.replay_id, one.outcome) for one in ended if one.held.id in ours)
    for (replay_id, outcome), count in sorted(counts.items()):
        column = replays.c.delivered if outcome == "delivered" else replays.c.skipped
        connection.execute(sa.update(replays).where(replays.c.id == replay_id).values({column.name: column + count}))


def _with_counts(connection: sa.Connection, rows: list[sa.Row[*tuple[object, ...]]], now_ms: int) -> list[Replay]:
    """The rows with what the outbox holds of them now."""
    unended = [row.id for row in rows if row.ended_at_ms is None]
    held: Counter[tuple[str, bool]] = Counter()
    if unended:
        retrying = sa.and_(outbox.c.state == State.DUE.value, outbox.c.due_at_ms > now_ms).label("retrying")
        query = (
            sa.select(outbox.c.replay_id, retrying, sa.func.count().label("held"))
            .where(outbox.c.replay_id.in_(unended), outbox.c.state.in_([State.DUE.value, State.LEASED.value]))
            .group_by(outbox.c.replay_id, "retrying")
        )
        for replay_id, later, count in connection.execute(query):
            held[replay_id, bool(later)] = count
    return [
        Replay(
            id=row.id,
            project_id=row.project_id,
            integration_id=row.integration_id,
            selection=msgspec.json.decode(row.selection, type=Selection),
            status=ReplayStatus(row.status),
            message=row.message,
            rate_per_s=row.rate_per_s,
            total=row.total,
            cursor=row.cursor,
            last=row.last,
            enqueued=row.enqueued,
            passed_over=row.passed_over,
            delivered=row.delivered,
            skipped=row.skipped,
            waiting=held[row.id, False],
            retrying=held[row.id, True],
            paced_at_ms=row.paced_at_ms,
            created_by=row.created_by,
            created_at_ms=row.created_at_ms,
            started_at_ms=row.started_at_ms,
            ended_at_ms=row.ended_at_ms,
        )
        for row in rows
    ]
