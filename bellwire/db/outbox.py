"""What waits to be delivered: narrow rows that live until their event is delivered or given up (architecture D3, D4).

All times are real time in milliseconds. A claimed row carries a lease; whatever is done with it afterwards names the
lease's fencing token and changes nothing when somebody else has taken the row over. Claiming is in `outbox_claim`.
"""

from collections.abc import Collection, Sequence
from enum import IntEnum
from itertools import count
from typing import NewType

import msgspec
import sqlalchemy as sa

from bellwire.db.attempts import load_last_automatic, load_last_number
from bellwire.db.bulk import Bulk, BulkInsert
from bellwire.db.dialect import insert
from bellwire.db.notify import Topic, notify
from bellwire.db.tables import events, integrations, outbox
from bellwire.kit.ids import NODE_SHIFT, NODES

Fence = NewType("Fence", int)
"""The token of one claim; no two claims have the same."""


class State(IntEnum):
    """`state` of a row."""

    DUE = 0
    """Waits until `due_at_ms`, and for the order of its customer's events."""
    LEASED = 1
    """On its way."""
    PARKED = 2
    """Given up: waits for somebody to ask for it."""


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one integration, due at once."""

    integration_id: str
    event_seq: int
    customer_id: int
    created_at_ms: int
    late: bool = False
    """A replay: fresh events go before it."""


class Held(msgspec.Struct, frozen=True, gc=False):
    """A row that a claim of ours holds."""

    id: int
    fence: Fence


class Later(msgspec.Struct, frozen=True, kw_only=True):
    """A held row whose automatic attempt failed: the next one is due at `due_at_ms`; None = there is none."""

    held: Held
    due_at_ms: int | None


_ENQUEUE = BulkInsert(
    outbox,
    ("integration_id", "event_seq", "customer_id", "state", "attempt", "manual", "due_at_ms", "created_at_ms", "late"),
    conflict="(integration_id, event_seq) DO NOTHING",
)

_enqueued = count()
_last_enqueued = 0


def enqueues_of_this_process() -> int:
    """Grows with every `note_enqueued`: tells a commit that brought work from one that did not."""
    return _last_enqueued


def enqueue_rows(connection: sa.Connection, rows: Sequence[OutboxRow]) -> None:
    """Queue, in the transaction that appends the events; a row that is there already is left as it is."""
    if not rows:
        return
    _ENQUEUE.run(
        connection,
        [
            (
                row.integration_id,
                row.event_seq,
                row.customer_id,
                State.DUE.value,
                0,
                False,
                row.created_at_ms,
                row.created_at_ms,
                row.late,
            )
            for row in rows
        ],
    )
    note_enqueued(connection)


def note_enqueued(connection: sa.Connection) -> None:
    """Rows became due: delivery, here and in other processes, is to look once they are committed."""
    global _last_enqueued
    notify(connection, Topic.OUTBOX)
    _last_enqueued = next(_enqueued) + 1


_OURS = (outbox.c.id == sa.bindparam("row_id"), outbox.c.lease == sa.bindparam("fence"))
SKEW_MS = 5_000
"""By how much the clocks of hosts that share a database may differ without being set right."""
_FREE: dict[str, object] = {"lease": None, "lease_until_ms": None}

_FINISH = Bulk(
    "DELETE FROM outbox WHERE (id, lease) IN (SELECT column1, column2 FROM {rows})", (sa.BigInteger(), sa.BigInteger())
)
"""Delivered or skipped: the row leaves."""

_RESCHEDULE = Bulk(
    "UPDATE outbox SET state = given.column3, due_at_ms = coalesce(given.column4, due_at_ms), attempt = attempt + 1,"
    " manual = false, late = true, lease = NULL, lease_until_ms = NULL"
    " FROM {rows} WHERE outbox.id = given.column1 AND outbox.lease = given.column2",
    (sa.BigInteger(), sa.BigInteger(), sa.Integer(), sa.BigInteger()),
)
"""An automatic attempt failed: due again, or parked."""

_RESUME = (
    sa.update(outbox)
    .where(*_OURS)
    .values(
        state=sa.bindparam("new_state"),
        due_at_ms=sa.func.coalesce(sa.bindparam("new_due", type_=sa.BigInteger), outbox.c.due_at_ms),
        manual=False,
        **_FREE,
    )
)
"""An attempt asked for by hand failed: back to what was planned before."""

_RELEASE = Bulk(
    f"UPDATE outbox SET state = {State.DUE.value}, lease = NULL, lease_until_ms = NULL"  # noqa: S608  # our own number
    " FROM {rows} WHERE outbox.id = given.column1 AND outbox.lease = given.column2",
    (sa.BigInteger(), sa.BigInteger()),
)
"""Not attempted after all: due again as it was."""


def finish(connection: sa.Connection, rows: Sequence[Held]) -> None:
    """Take rows out for good."""
    _FINISH.run(connection, [_key(row) for row in rows])


def reschedule(connection: sa.Connection, rows: Sequence[Later]) -> None:
    """Count an automatic attempt that failed, and wait for the next or park."""
    _RESCHEDULE.run(connection, [(*_key(row.held), _state_at(row.due_at_ms), row.due_at_ms) for row in rows])


def resume(
    connection: sa.Connection, held: Held, *, integration_id: str, event_seq: int, now_ms: int
) -> tuple[int | None, bool]:
    """After a failed attempt by hand the automatic schedule goes on as if it had not been (spec: events 10.2).

    Returns when the next automatic attempt is due (None = none will come) and whether the row is parked.
    """
    last = load_last_automatic(connection, integration_id, event_seq)
    if last is not None and last.settled:
        finish(connection, [held])
        return None, False
    parked = last is not None and last.next_attempt_at_ms is None
    due_at_ms = now_ms if last is None else last.next_attempt_at_ms
    new = {"new_state": _state_at(due_at_ms), "new_due": due_at_ms}
    connection.execute(_RESUME, {"row_id": held.id, "fence": held.fence} | new)
    return due_at_ms, parked


def release(connection: sa.Connection, rows: Sequence[Held]) -> None:
    """Give rows back that were not attempted (the hub stops, or their turn came too late)."""
    _RELEASE.run(connection, [_key(row) for row in rows])


def release_expired(connection: sa.Connection, *, now_ms: int | None) -> int:
    """Make rows due again whose lease has run out, or all leased ones with `now_ms` None; returns how many.

    All is right at the start of a process that knows to be the only one: nobody else can hold a lease.
    """
    statement = (
        sa.update(outbox)
        .where(outbox.c.state == State.LEASED.value, outbox.c.integration_id.in_(sa.select(integrations.c.id)))
        .values(state=State.DUE.value, **_FREE)
    )
    if now_ms is not None:
        statement = statement.where(outbox.c.lease_until_ms < now_ms)
    return connection.execute(statement).rowcount


def forget_the_future(connection: sa.Connection, *, now_ms: int, longest_lease_ms: int) -> None:
    """After the wall clock was set back: what an earlier, later time has written must not wait for that time to come.

    First attempts are due now, and leases last no longer than one that is taken now. What a failed attempt has planned
    stays as it is.
    """
    fresh = sa.and_(outbox.c.state == State.DUE.value, ~outbox.c.late, outbox.c.due_at_ms > now_ms + SKEW_MS)
    connection.execute(
        sa.update(outbox)
        .where(fresh, outbox.c.integration_id.in_(sa.select(integrations.c.id)))
        .values(due_at_ms=now_ms, created_at_ms=now_ms)
    )
    longest_ms = now_ms + longest_lease_ms
    held = sa.and_(outbox.c.state == State.LEASED.value, outbox.c.lease_until_ms > longest_ms + SKEW_MS)
    connection.execute(
        sa.update(outbox)
        .where(held, outbox.c.integration_id.in_(sa.select(integrations.c.id)))
        .values(lease_until_ms=longest_ms)
    )


def release_leases_of(connection: sa.Connection, nodes: Collection[int]) -> int:
    """Make due again what processes held that have died, named by the process part of their fences; returns how many."""
    node = outbox.c.lease.bitwise_rshift(sa.literal_column(str(NODE_SHIFT))).bitwise_and(NODES - 1)
    statement = (
        sa.update(outbox)
        .where(
            outbox.c.state == State.LEASED.value,
            outbox.c.integration_id.in_(sa.select(integrations.c.id)),
            node.in_(nodes),
        )
        .values(state=State.DUE.value, **_FREE)
    )
    return connection.execute(statement).rowcount


def requeue(
    connection: sa.Connection,
    *,
    project_id: str,
    integration_id: str,
    event_seq: int,
    now_ms: int,
    fence: Fence | None = None,
    lease_until_ms: int | None = None,
) -> int | None:
    """Ask for an attempt by hand, whatever became of the earlier ones; with a fence the caller holds it at once.

    Returns the row's id; None when the row is on its way right now, which is as good. Raises LookupError when the
    project has no such event.
    """
    customer_id = connection.execute(
        sa.select(events.c.customer_id).where(events.c.seq == event_seq, events.c.project_id == project_id)
    ).scalar_one_or_none()
    if customer_id is None:
        raise LookupError(f"project {project_id} has no event {event_seq}")
    asked = {
        "state": State.DUE.value if fence is None else State.LEASED.value,
        "manual": True,
        "due_at_ms": now_ms,
        "lease": fence,
        "lease_until_ms": lease_until_ms,
    }
    attempts_so_far = load_last_number(connection, integration_id, event_seq)
    fresh = {
        "integration_id": integration_id,
        "event_seq": event_seq,
        "customer_id": customer_id,
        "attempt": attempts_so_far,
        "late": attempts_so_far > 0,
        "created_at_ms": now_ms,
    }
    statement = (
        insert(connection, outbox)
        .values(fresh | asked)
        .on_conflict_do_update(
            index_elements=["integration_id", "event_seq"], set_=asked, where=outbox.c.state != State.LEASED.value
        )
        .returning(outbox.c.id)
    )
    row_id = connection.execute(statement).scalar_one_or_none()
    if fence is None:
        notify(connection, Topic.OUTBOX)
    return row_id


def _key(held: Held) -> tuple[int, int]:
    return held.id, held.fence


def _state_at(due_at_ms: int | None) -> int:
    return (State.PARKED if due_at_ms is None else State.DUE).value
