"""What all processes must know of an integration's lane: breaker, holds, pause, how the last attempts went.

A process writes only the columns that it changed, so that two of them do not undo each other. All times are real time.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec
import sqlalchemy as sa

from bellwire.db.dialect import insert
from bellwire.db.notices import dismiss_notice, upsert_notice
from bellwire.db.outbox import State
from bellwire.db.tables import integrations, lane_counts, lane_states, outbox

SLOT_MS = 600_000
"""Attempts are counted by slots of ten minutes."""
PAUSED_NOTICE = "integration_paused"
MAX_WAIT_MS = 2 * 3_600_000
"""No probe and no hold is planned further ahead: a longer one means that the clock was set back."""


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    """Nothing goes until the next probe."""
    HALF_OPEN = "half_open"
    """One request is on its way, and decides."""


class LaneStatus(StrEnum):
    """A lane's state in one word."""

    SENDING = "sending"
    """Nothing is in its way."""
    HELD = "held"
    """The destination asked to wait."""
    OPEN = "open"
    HALF_OPEN = "half open"
    PAUSED = "paused"
    OFF = "off"


class LaneState(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `lane_states`; the defaults are a lane of which nothing is known."""

    breaker: BreakerState = BreakerState.CLOSED
    breaker_since_ms: int | None = None
    openings: int = 0
    next_probe_at_ms: int | None = None
    blocked_until_ms: int | None = None
    failing_since_ms: int | None = None
    failures: int = 0
    last_success_at_ms: int | None = None
    last_failure_at_ms: int | None = None
    last_failure: str = ""
    paused_at_ms: int | None = None
    paused_reason: str = ""


class LaneChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a process has to tell of a lane. `columns` are fields of LaneState; `counts` by slot: (attempts, failures)."""

    integration_id: str
    project_id: str
    columns: Mapping[str, object] = {}
    counts: Mapping[int, tuple[int, int]] = {}


_NAMES = LaneState.__struct_fields__


def load_lane_states(connection: sa.Connection, integration_ids: Sequence[str] | None = None) -> dict[str, LaneState]:
    """States by integration, of these or of all; there is none of a lane that nothing is known of."""
    query = sa.select(lane_states)
    if integration_ids is not None:
        query = query.where(lane_states.c.integration_id.in_(integration_ids))
    return {
        row.integration_id: LaneState(
            **{name: getattr(row, name) for name in _NAMES if name != "breaker"}, breaker=BreakerState(row.breaker)
        )
        for row in connection.execute(query)
    }


def save_lane_changes(connection: sa.Connection, changes: Sequence[LaneChange], *, now_ms: int) -> None:
    """Write what changed, and say it in a notice when a lane has paused by itself."""
    for change in changes:
        if change.columns:
            _upsert(connection, change.integration_id, change.columns)
        if change.columns.get("paused_at_ms") is not None:
            upsert_notice(
                connection,
                project_id=change.project_id,
                kind=PAUSED_NOTICE,
                subject=change.integration_id,
                message=_paused_in_words(connection, change),
                now_ms=now_ms,
            )
        for slot_ms, (attempts, failures) in change.counts.items():
            _count(connection, change.integration_id, slot_ms, attempts, failures)


def take_probe(connection: sa.Connection, integration_id: str, *, now_ms: int, lost_at_ms: int) -> bool:
    """Ask to be the one whose request probes a lane with an open breaker; of several processes one gets it."""
    due = lane_states.c.next_probe_at_ms
    done = connection.execute(
        sa.update(lane_states)
        .where(
            lane_states.c.integration_id == integration_id,
            lane_states.c.breaker != BreakerState.CLOSED.value,
            sa.or_(due.is_(None), due <= now_ms, due > now_ms + MAX_WAIT_MS),
        )
        .values(breaker=BreakerState.HALF_OPEN.value, next_probe_at_ms=lost_at_ms)
    )
    return done.rowcount == 1


def forget_probes(connection: sa.Connection) -> None:
    """No probe can be on its way: the only process that could have sent one has just started."""
    connection.execute(
        sa.update(lane_states)
        .where(lane_states.c.breaker == BreakerState.HALF_OPEN.value)
        .values(next_probe_at_ms=None)
    )


def pause_lane(connection: sa.Connection, project_id: str, integration_id: str, *, reason: str, now_ms: int) -> bool:
    """Send nothing until `resume_lane`; events are kept. False = no such integration. Already paused stays as it is."""
    if not _known(connection, project_id, integration_id):
        return False
    state = load_lane_states(connection, [integration_id]).get(integration_id)
    if state is None or state.paused_at_ms is None:
        _upsert(connection, integration_id, {"paused_at_ms": now_ms, "paused_reason": reason})
    return True


def resume_lane(connection: sa.Connection, project_id: str, integration_id: str) -> bool:
    """Send again, as if nothing had failed before: breaker closed, no hold. False = no such integration."""
    if not _known(connection, project_id, integration_id):
        return False
    fresh = LaneState()
    names = [name for name in _NAMES if not name.startswith("last_")]
    _upsert(connection, integration_id, {name: getattr(fresh, name) for name in names})
    dismiss_notice(connection, project_id, kind=PAUSED_NOTICE, subject=integration_id)
    return True


def shut(state: LaneState, now_ms: int) -> bool:
    """Whether nothing may go through this lane: paused, held, or its breaker is not closed."""
    held = state.blocked_until_ms is not None and 0 < state.blocked_until_ms - now_ms <= MAX_WAIT_MS
    return state.paused_at_ms is not None or held or state.breaker is not BreakerState.CLOSED


def lane_status(state: LaneState, *, enabled: bool, now_ms: int) -> LaneStatus:
    """The state that explains best why events wait."""
    if not enabled:
        return LaneStatus.OFF
    if state.paused_at_ms is not None:
        return LaneStatus.PAUSED
    if not shut(state, now_ms):
        return LaneStatus.SENDING
    if state.breaker is BreakerState.CLOSED:
        return LaneStatus.HELD
    return LaneStatus.OPEN if state.breaker is BreakerState.OPEN else LaneStatus.HALF_OPEN


def forget_failures(connection: sa.Connection, integration_id: str) -> None:
    """The integration was changed, so that what its breaker and hold were for may be mended: try at once."""
    fresh = LaneState()
    names = ("breaker", "breaker_since_ms", "openings", "next_probe_at_ms", "blocked_until_ms")
    if load_lane_states(connection, [integration_id]):
        _upsert(connection, integration_id, {name: getattr(fresh, name) for name in names})


def load_oldest_due(connection: sa.Connection, integration_id: str, now_ms: int) -> int | None:
    """When the longest waiting row that is due fell due; None = nothing is due. One index seek for each class of rows."""
    times = [
        connection.execute(
            sa.select(sa.func.min(outbox.c.due_at_ms)).where(
                outbox.c.integration_id == integration_id, outbox.c.state == State.DUE.value, of_class
            )
        ).scalar_one_or_none()
        for of_class in (~outbox.c.late, outbox.c.late)
    ]
    return min((time for time in times if time is not None and time <= now_ms), default=None)


def forget_old_counts(connection: sa.Connection, *, before_ms: int) -> None:
    """Drop counts of slots that began earlier."""
    connection.execute(sa.delete(lane_counts).where(lane_counts.c.slot_ms < before_ms))


def _known(connection: sa.Connection, project_id: str, integration_id: str) -> bool:
    query = sa.select(integrations.c.id).where(
        integrations.c.project_id == project_id,
        integrations.c.id == integration_id,
        integrations.c.deleted_at_ms.is_(None),
    )
    return connection.execute(query).one_or_none() is not None


def _upsert(connection: sa.Connection, integration_id: str, columns: Mapping[str, object]) -> None:
    values = {name: value.value if isinstance(value, BreakerState) else value for name, value in columns.items()}
    statement = insert(connection, lane_states).values(integration_id=integration_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["integration_id"], set_=values))


def _count(connection: sa.Connection, integration_id: str, slot_ms: int, attempts: int, failures: int) -> None:
    statement = insert(connection, lane_counts).values(
        integration_id=integration_id, slot_ms=slot_ms, attempts=attempts, failures=failures
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["integration_id", "slot_ms"],
            set_={
                "attempts": lane_counts.c.attempts + statement.excluded.attempts,
                "failures": lane_counts.c.failures + statement.excluded.failures,
            },
        )
    )


def _paused_in_words(connection: sa.Connection, change: LaneChange) -> str:
    query = sa.select(integrations.c.name).where(integrations.c.id == change.integration_id)
    name = connection.execute(query).scalar_one()
    return f"{name} is paused: {change.columns['paused_reason']}. Its events are kept until it is resumed."
