"""One turn of delivery in the database: write down what ended, take what is due. Runs on the committer's thread."""

from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from bellwire.db.attempts import SCHEDULED, AttemptRecord, append_attempts
from bellwire.db.outbox import (
    Fence,
    Held,
    Later,
    finish,
    forget_the_future,
    release,
    release_expired,
    reschedule,
    resume,
)
from bellwire.db.outbox_claim import LaneClaim, LaneRoom, claim_due
from bellwire.db.replays import Replayed, count_replayed
from bellwire.delivery.gates import GateResult, GateTurn, save_and_look, take_probes


class Ended(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A row whose attempt has ended. Not `settled`: `record.next_attempt_at_ms` says when again, None = parked."""

    held: Held
    record: AttemptRecord
    settled: bool
    committed_at_ms: int | None = None
    """When the event was committed; None for a retry or replay."""
    replay_id: str | None = None
    retry_after_s: float | None = None
    """What the destination asked for."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What delivery wants of one transaction."""

    now_ms: int
    ended: Sequence[Ended] = ()
    released: Sequence[Held] = ()
    """Rows that were taken and not attempted."""
    rooms: Mapping[str, LaneRoom] | None = None
    """Room of every lane that is known; None = claim nothing."""
    room_of_deleted: LaneRoom = LaneRoom(rows=0, late=0, order_wait_ms=None)
    """Room of every lane whose integration was deleted."""
    fence: Fence = Fence(0)
    lease_until_ms: int = 0
    expire_leases: bool = False
    gates: GateTurn = GateTurn()


class TurnResult(msgspec.Struct, frozen=True, kw_only=True):
    """`claims`: lanes that have waiting rows."""

    claims: dict[str, LaneClaim]
    last_attempt_id: int | None
    expired: int = 0
    gates: GateResult = GateResult()


def run_turns(connection: sa.Connection, turns: Sequence[Turn]) -> list[TurnResult | Exception]:
    """The committer's handler."""
    return [_run(connection, turn) for turn in turns]


def _run(connection: sa.Connection, turn: Turn) -> TurnResult:
    automatic = [ended for ended in turn.ended if ended.record.trigger in SCHEDULED and not ended.settled]
    replayed = [
        Replayed(one.held, one.replay_id, one.record.outcome) for one in turn.ended if one.settled and one.replay_id
    ]
    count_replayed(connection, replayed)
    finish(connection, [ended.held for ended in turn.ended if ended.settled])
    reschedule(connection, [Later(held=one.held, due_at_ms=one.record.next_attempt_at_ms) for one in automatic])
    records = [_settle_manual(connection, ended, turn.now_ms) for ended in turn.ended]
    release(connection, turn.released)
    last_attempt_id = append_attempts(connection, records)
    expired = 0
    if turn.expire_leases:
        longest_lease_ms = turn.lease_until_ms - turn.now_ms
        forget_the_future(connection, now_ms=turn.now_ms, longest_lease_ms=longest_lease_ms)
        expired = release_expired(connection, now_ms=turn.now_ms)
    expired = release_expired(connection, now_ms=turn.now_ms) if turn.expire_leases else 0
    rooms, seen = save_and_look(connection, turn.rooms or {}, turn.gates, turn.now_ms)
    claims: dict[str, LaneClaim] = {}
    if turn.rooms is not None:
        claims = claim_due(
            connection,
            rooms,
            room_of_deleted=turn.room_of_deleted,
            now_ms=turn.now_ms,
            fence=turn.fence,
            lease_until_ms=turn.lease_until_ms,
        )
    gates = replace(seen, probing=take_probes(connection, turn.gates, claims, turn.now_ms))
    return TurnResult(claims=claims, last_attempt_id=last_attempt_id, expired=expired, gates=gates)


def _settle_manual(connection: sa.Connection, ended: Ended, now_ms: int) -> AttemptRecord:
    """After a failure by hand the record tells what the automatic schedule, which goes on, has planned."""
    record = ended.record
    if ended.settled or record.trigger != "manual":
        return record
    due_at_ms, parked = resume(
        connection,
        ended.held,
        integration_id=record.integration_id,
        event_seq=record.event_seq,
        now_ms=now_ms,
    )
    return replace(record, next_attempt_at_ms=due_at_ms, parked=parked)
