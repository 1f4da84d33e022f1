"""The gate of a lane: whether it may send now and how much, and what it learned that others must know. No I/O.

Holds the lane's rate limit, its breaker, a hold that the destination asked for, and its pause. What other processes
must see comes and goes as rows of `lane_states`; the rate is divided by the number of workers instead.
"""

import random

import msgspec
from msgspec.structs import replace

from bellwire.db.attempts import AttemptRecord
from bellwire.db.lane_states import MAX_WAIT_MS, SLOT_MS, BreakerState, LaneChange, LaneState
from bellwire.delivery.breaker import Breaker, Health, Rules, health_of
from bellwire.delivery.bucket import Bucket, share
from bellwire.delivery.pause import hold_until_ms, must_pause
from bellwire.destinations.base import Outcome
from bellwire.model.projects import RateLimit

SAVE_EVERY_MS = 2_000
"""What only people look at (last success, counts) is written this seldom; what changes sending is written at once."""


class Admission(msgspec.Struct, frozen=True):
    """Rows that may be claimed, and of those how many late ones (retries, replays). `probe`: the one row decides."""

    rows: int
    late: int
    probe: bool = False


_AS_GOOD_AS_NOW_MS = 100
"""How exactly the last success is known: under load each attempt would change it."""

_CLOSED = Admission(0, 0)


class Gate:
    """One per lane and process. The caller has its lock, if it needs one; here it is one event loop."""

    def __init__(
        self, integration_id: str, project_id: str, *, rules: Rules | None = None, pause_after_days: float = 0
    ) -> None:
        self._ids = {"integration_id": integration_id, "project_id": project_id}
        self._rules = rules or Rules()
        self._pause_after_days = pause_after_days
        self._limit: RateLimit | None = None
        self._bucket = Bucket()
        self._late_next = False
        self._refused = False
        """The lane was shut when it was last asked for its room."""
        self._others_held = False
        self._short = False
        """The limit left less than the lane had room for."""
        self._again = False
        """More may be waiting than the last claim could take: the next token calls for a turn."""
        self._state = LaneState()
        self._breaker = Breaker()
        self._columns: dict[str, object] = {}
        self._counts: dict[int, tuple[int, int]] = {}
        self._urgent = False
        self._saved_at_ms = 0

    @property
    def state(self) -> LaneState:
        """As others wrote it, with what this process has to tell."""
        return self._state

    @property
    def limited(self) -> bool:
        """Whether there is a rate limit; then no more may be claimed than is sent at once."""
        return self._limit is not None

    def configure(self, limit: RateLimit | None, *, workers: int) -> None:
        """The limit over all workers; None = none."""
        self._limit = None if limit is None else share(limit, max(1, workers))

    def shut(self, now_ms: int) -> bool:
        """Whether something is in the way that another process, a person or time may take away."""
        return self._breaker.state is not BreakerState.CLOSED or not self.open(now_ms)

    def open(self, now_ms: int) -> bool:
        """Whether a row that was claimed may go on the wire: no pause, no hold, no open breaker."""
        return (
            self._state.paused_at_ms is None and not self._held(now_ms) and self._breaker.state is not BreakerState.OPEN
        )

    def admit(self, rows: int, late: int, *, held: int, at_once: int, now_ms: int) -> Admission:
        """Of what the lane has room for, what may be claimed now. `held`: rows claimed and not yet ended; `at_once`:
        rows that can be on the wire."""
        self._refused = self.shut(now_ms)
        self._others_held = held > 0
        if not self.open(now_ms) and self._breaker.state is BreakerState.CLOSED:
            return _CLOSED
        if self._breaker.state is not BreakerState.CLOSED:
            probes = held == 0 and rows > 0 and self._ready_to_probe(now_ms)
            return Admission(1, min(1, late), probe=True) if probes else _CLOSED
        if self._limit is None:
            return Admission(rows, late)
        room = max(0, min(rows, at_once - held))
        allowed = min(room, max(0, self._bucket.available(self._limit, now_ms)))
        self._short = allowed < room
        return Admission(allowed, self._late_of(allowed, late))

    def claimed(self, admitted: Admission, count: int, now_ms: int) -> None:
        """`count` rows were claimed of what was admitted."""
        if self._limit is not None:
            self._bucket = self._bucket.take(self._limit, count, now_ms)
            if admitted.rows:
                self._late_next = admitted.rows == 1 and admitted.late == 0
            alternates = self._late_next and admitted.rows == 1 and not count
            self._again = alternates or (self._short and count == admitted.rows)

    def returned(self, count: int, now_ms: int) -> None:
        """Rows that were claimed go back and were not sent; if one was the probe, another may go."""
        if self._limit is not None:
            self._bucket = self._bucket.give_back(self._limit, count)
        if self._breaker.state is BreakerState.HALF_OPEN:
            self._hear(Health.UNKNOWN, now_ms)

    def probing(self, lost_at_ms: int) -> None:
        """The probe is ours (`take_probe` said so)."""
        self._breaker = self._breaker.probing(lost_at_ms=lost_at_ms)
        self._state = replace(self._state, **self._breaker_columns())

    def next_at_ms(self, now_ms: int) -> int | None:
        """When more may go by the passing of time; None = nothing here that time opens (paused, or open already)."""
        if self._state.paused_at_ms is not None:
            return None
        if self._held(now_ms):
            return self._state.blocked_until_ms
        if self._breaker.state is not BreakerState.CLOSED:
            due = self._others_held and self._breaker.may_probe(now_ms)
            return None if due else self._breaker.next_probe_at_ms  # what is still on the wire calls for a turn
        if self._refused:
            return now_ms  # it opened while the turn ran
        if self._limit is None:
            return None
        return self._bucket.next_at_ms(self._limit, now_ms) if self._again else None

    def note(self, record: AttemptRecord, *, settled: bool, retry_after_s: float | None, now_ms: int) -> None:
        """An attempt has ended. Tests and what was skipped tell nothing."""
        if record.trigger == "test" or record.outcome == Outcome.SKIPPED:
            if self._breaker.state is BreakerState.HALF_OPEN:
                self._hear(Health.UNKNOWN, now_ms)
            return
        unsent = record.request_method is None
        self._hear(Health.UNKNOWN if unsent else health_of(record.status_code, record.error), now_ms)
        self._count(now_ms, failed=not settled)
        if settled:
            self._succeeded(now_ms)
        else:
            self._failed(record.reason, now_ms)
            until_ms = hold_until_ms(retry_after_s=retry_after_s, status=record.status_code, now_ms=now_ms)
            if until_ms is not None and until_ms > (self._state.blocked_until_ms or 0):
                self._set(urgent=True, blocked_until_ms=until_ms)

    def adopt(self, state: LaneState) -> None:
        """What the database says; what this process has not written yet stays on top."""
        merged = replace(state, **self._columns) if self._columns else state
        if (merged.breaker, merged.breaker_since_ms, merged.next_probe_at_ms) != (
            self._state.breaker,
            self._state.breaker_since_ms,
            self._state.next_probe_at_ms,
        ):
            self._breaker = Breaker(
                state=merged.breaker,
                since_ms=merged.breaker_since_ms,
                openings=merged.openings,
                next_probe_at_ms=merged.next_probe_at_ms,
            )
        self._state = merged

    def change(self, now_ms: int, *, last: bool = False) -> LaneChange | None:
        """What is to be written now, handed over; `last`: everything, since there is no later."""
        waiting = bool(self._columns or self._counts)
        due = self._urgent or last or not 0 <= now_ms - self._saved_at_ms < SAVE_EVERY_MS
        if not waiting or not due:
            return None
        made = LaneChange(**self._ids, columns=self._columns, counts=self._counts)
        self._columns = dict[str, object]()
        self._counts = dict[int, tuple[int, int]]()
        self._urgent = False
        self._saved_at_ms = now_ms
        return made

    def save_at_ms(self) -> int | None:
        """When `change` has something to write, if nothing more happens."""
        return self._saved_at_ms + SAVE_EVERY_MS if self._columns or self._counts else None

    def unsaved(self, change: LaneChange) -> None:
        """A change could not be written: it is still to be told, below what came since."""
        self._columns = dict(change.columns) | self._columns
        self._urgent = True
        for slot_ms, (attempts, failures) in change.counts.items():
            more = self._counts.get(slot_ms, (0, 0))
            self._counts[slot_ms] = (attempts + more[0], failures + more[1])

    def _ready_to_probe(self, now_ms: int) -> bool:
        return self._state.paused_at_ms is None and not self._held(now_ms) and self._breaker.may_probe(now_ms)

    def _held(self, now_ms: int) -> bool:
        until_ms = self._state.blocked_until_ms
        return until_ms is not None and 0 < until_ms - now_ms <= MAX_WAIT_MS

    def _late_of(self, allowed: int, late: int) -> int:
        """With little room late rows would take all of it: they get half, and of single rows every other."""
        if allowed == 1:
            return min(late, 1 if self._late_next else 0)
        return min(late, allowed // 2)

    def _hear(self, health: Health, now_ms: int) -> None:
        before = self._breaker
        jitter = random.random()  # noqa: S311  # spreads load, guards nothing
        self._breaker = before.heard(health, now_ms, self._rules, jitter=jitter)
        if (before.state, before.next_probe_at_ms) != (self._breaker.state, self._breaker.next_probe_at_ms):
            self._set(urgent=True, **self._breaker_columns())

    def _succeeded(self, now_ms: int) -> None:
        if self._state.failing_since_ms is not None:
            self._set(urgent=True, failing_since_ms=None, failures=0)
        if not 0 <= now_ms - (self._state.last_success_at_ms or 0) < _AS_GOOD_AS_NOW_MS:
            self._set(last_success_at_ms=now_ms)

    def _failed(self, reason: str, now_ms: int) -> None:
        first = self._state.failing_since_ms is None
        since_ms = now_ms if first else self._state.failing_since_ms
        failures = self._state.failures + 1
        self._set(urgent=first, failing_since_ms=since_ms, failures=failures)
        self._set(last_failure_at_ms=now_ms, last_failure=reason)
        if self._state.paused_at_ms is None and must_pause(
            failing_since_ms=since_ms, failures=failures, now_ms=now_ms, after_days=self._pause_after_days
        ):
            reason = f"nothing but failures for {self._pause_after_days:g} days, the last: {reason}"
            self._set(urgent=True, paused_at_ms=now_ms, paused_reason=reason)

    def _count(self, now_ms: int, *, failed: bool) -> None:
        slot_ms = now_ms - now_ms % SLOT_MS
        attempts, failures = self._counts.get(slot_ms, (0, 0))
        self._counts[slot_ms] = (attempts + 1, failures + failed)

    def _set(self, *, urgent: bool = False, **columns: object) -> None:
        self._columns |= columns
        self._urgent = self._urgent or urgent
        self._state = replace(self._state, **columns)

    def _breaker_columns(self) -> dict[str, object]:
        breaker = self._breaker
        return {
            "breaker": breaker.state,
            "breaker_since_ms": breaker.since_ms,
            "openings": breaker.openings,
            "next_probe_at_ms": breaker.next_probe_at_ms,
        }
