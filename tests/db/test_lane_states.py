"""Shared state of lanes: written by column, one prober of many, pause and resume within a project."""

from collections.abc import Iterator

import msgspec
import pytest
import sqlalchemy as sa

from bellwire.db.integrations import Filters, create_integration, list_integrations, update_integration
from bellwire.db.lane_states import (
    MAX_WAIT_MS,
    SLOT_MS,
    BreakerState,
    LaneChange,
    LaneState,
    forget_old_counts,
    load_lane_states,
    pause_lane,
    resume_lane,
    save_lane_changes,
    shut,
    take_probe,
)
from bellwire.db.notices import list_notices
from bellwire.db.projects import create_project
from bellwire.db.secrets import Sealer
from bellwire.db.tables import lane_counts
from bellwire.model.projects import Integration, RateLimit

NOW = 1_700_000_000_000


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    url: str = "https://tool.example"


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.begin() as opened:
        yield opened


@pytest.fixture
def lane(connection: sa.Connection, sealer: Sealer) -> Integration:
    project_id = create_project(connection, name="Ours", now_ms=NOW).id
    return create_integration(
        connection,
        sealer,
        project_id=project_id,
        destination="webhook",
        name="Mine",
        settings=Settings(),
        filters=Filters(rate_limit=RateLimit(events_per_s=2.5, burst=7)),
        now_ms=NOW,
    )


def save(connection: sa.Connection, lane: Integration, **columns: object) -> None:
    change = LaneChange(integration_id=lane.id, project_id=lane.project_id, columns=columns)
    save_lane_changes(connection, [change], now_ms=NOW)


def test_a_rate_limit_is_kept_and_can_go(connection: sa.Connection, sealer: Sealer, lane: Integration) -> None:
    assert list_integrations(connection, sealer)[0].rate_limit == RateLimit(events_per_s=2.5, burst=7)
    update_integration(connection, sealer, lane.project_id, lane.id, filters=Filters())
    assert list_integrations(connection, sealer)[0].rate_limit is None


def test_columns_of_two_processes_do_not_undo_each_other(connection: sa.Connection, lane: Integration) -> None:
    assert load_lane_states(connection) == {}
    save(connection, lane, breaker=BreakerState.OPEN, breaker_since_ms=NOW, openings=1, next_probe_at_ms=NOW + 5)
    save(connection, lane, last_success_at_ms=NOW - 3)
    expected = LaneState(
        breaker=BreakerState.OPEN,
        breaker_since_ms=NOW,
        openings=1,
        next_probe_at_ms=NOW + 5,
        last_success_at_ms=NOW - 3,
    )
    assert load_lane_states(connection, [lane.id]) == {lane.id: expected}
    assert load_lane_states(connection, ["intg0"]) == {}


def test_of_several_processes_one_probes(connection: sa.Connection, lane: Integration) -> None:
    def take(now_ms: int) -> bool:
        return take_probe(connection, lane.id, now_ms=now_ms, lost_at_ms=now_ms + 1000)

    assert not take(NOW)
    save(connection, lane, breaker=BreakerState.OPEN, next_probe_at_ms=NOW)
    assert not take(NOW - 1)
    assert take(NOW)
    assert not take(NOW)
    assert load_lane_states(connection)[lane.id].breaker is BreakerState.HALF_OPEN
    assert take(NOW + 1000)
    assert take(NOW - 2 * MAX_WAIT_MS)  # the clock was set back
    save(connection, lane, breaker=BreakerState.CLOSED)
    assert not take(NOW + 10_000)


def test_pausing_and_resuming(connection: sa.Connection, lane: Integration) -> None:
    other = create_project(connection, name="Theirs", now_ms=NOW).id
    assert not pause_lane(connection, other, lane.id, reason="x", now_ms=NOW)
    assert not resume_lane(connection, other, lane.id)
    assert pause_lane(connection, lane.project_id, lane.id, reason="by hand", now_ms=NOW)
    assert pause_lane(connection, lane.project_id, lane.id, reason="again", now_ms=NOW + 1)
    state = load_lane_states(connection)[lane.id]
    assert (state.paused_at_ms, state.paused_reason) == (NOW, "by hand")
    assert shut(state, NOW)
    save(connection, lane, breaker=BreakerState.OPEN, failing_since_ms=5, failures=9, last_failure="answered 500")
    assert resume_lane(connection, lane.project_id, lane.id)
    assert load_lane_states(connection)[lane.id] == LaneState(last_failure="answered 500")


def test_a_lane_that_pauses_by_itself_says_so_until_it_is_resumed(connection: sa.Connection, lane: Integration) -> None:
    save(connection, lane, paused_at_ms=NOW, paused_reason="nothing but failures for 5 days")
    (notice,) = list_notices(connection, lane.project_id)
    assert (notice.kind, notice.subject) == ("integration_paused", lane.id)
    assert notice.message.startswith("Mine is paused: nothing but failures for 5 days")
    resume_lane(connection, lane.project_id, lane.id)
    assert list_notices(connection, lane.project_id) == []


def test_counts_add_up_by_slot(connection: sa.Connection, lane: Integration) -> None:
    for counts in ({0: (3, 1)}, {0: (2, 2), SLOT_MS: (1, 0)}):
        change = LaneChange(integration_id=lane.id, project_id=lane.project_id, counts=counts)
        save_lane_changes(connection, [change], now_ms=NOW)
    query = sa.select(lane_counts.c.slot_ms, lane_counts.c.attempts, lane_counts.c.failures).order_by("slot_ms")
    assert [tuple(row) for row in connection.execute(query)] == [(0, 5, 3), (SLOT_MS, 1, 0)]
    forget_old_counts(connection, before_ms=SLOT_MS)
    assert [tuple(row) for row in connection.execute(query)] == [(SLOT_MS, 1, 0)]


def test_what_shuts_a_lane() -> None:
    assert not shut(LaneState(), NOW)
    assert not shut(LaneState(blocked_until_ms=NOW), NOW)
    assert shut(LaneState(blocked_until_ms=NOW + 1), NOW)
    assert not shut(LaneState(blocked_until_ms=NOW + MAX_WAIT_MS + 1), NOW)  # the clock was set back
    assert shut(LaneState(breaker=BreakerState.HALF_OPEN), NOW)
    assert shut(LaneState(paused_at_ms=0), NOW)
