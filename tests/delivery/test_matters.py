"""What is worth an alert: each rule at its bounds, from figures alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bellwire.db.alert_figures import AppFigures, LaneFigures
from bellwire.db.alerts import Matter, MatterKind
from bellwire.db.lane_states import BreakerState, LaneState
from bellwire.delivery.alerts.matters import (
    BREAKER_OPEN_MS,
    FLOOR,
    LATE_MS,
    MIN_GAPS,
    MIN_SILENCE_MS,
    Open,
    app_matters,
    in_words,
    lane_matters,
    threshold,
)

NOW = 1_700_000_000_000
HOUR_MS = 3_600_000
LANE = LaneFigures(project_id="p", integration_id="i", name="Tool", enabled=True, state=LaneState())
GOING_ON = {Open(MatterKind.FAILURES, "i")}


def found(lane: LaneFigures, going_on: set[Open] | None = None) -> list[Matter]:
    return list(lane_matters([lane], going_on or set(), NOW))


def kinds(lane: LaneFigures, going_on: set[Open] | None = None) -> list[MatterKind]:
    return [matter.kind for matter in found(lane, going_on)]


def test_a_lane_that_is_well_has_no_matter() -> None:
    assert kinds(replace(LANE, attempts=5000, failures=900, oldest_due_ms=NOW - LATE_MS + 1)) == []


def test_a_paused_lane_says_why_and_is_not_late_as_well() -> None:
    state = LaneState(paused_at_ms=NOW - HOUR_MS, paused_reason="by hand")
    (matter,) = found(replace(LANE, state=state, oldest_due_ms=0, waiting=17, attempts=50, failures=50))
    assert (matter.kind, matter.subject, matter.project_id, matter.name) == (MatterKind.PAUSED, "i", "p", "Tool")
    assert matter.message == "paused: by hand; 17 events waiting"


@pytest.mark.parametrize("breaker", [BreakerState.OPEN, BreakerState.HALF_OPEN])
def test_a_breaker_that_is_open_for_long(breaker: BreakerState) -> None:
    state = LaneState(breaker=breaker, breaker_since_ms=NOW - BREAKER_OPEN_MS + 1, last_failure="answered 503")
    late = replace(LANE, state=state, oldest_due_ms=0, waiting=1)
    assert kinds(late) == []
    (matter,) = found(replace(late, state=replace(state, breaker_since_ms=NOW - BREAKER_OPEN_MS)))
    assert matter.kind is MatterKind.BREAKER_OPEN
    assert matter.message == ("nothing gets through since 15 minutes, the last failure: answered 503; 1 event waiting")


def test_a_late_lane() -> None:
    (matter,) = found(replace(LANE, oldest_due_ms=NOW - LATE_MS, waiting=10_000))
    assert matter.kind is MatterKind.LATE
    assert matter.message == "late: the oldest event is due since 10 minutes; 10,000 events or more waiting"


@pytest.mark.parametrize(
    ("attempts", "failures", "week", "unusual"),
    [
        (20, 20, (0, 0), True),
        (19, 19, (0, 0), False),  # too few
        (100, 20, (0, 0), True),
        (100, 19, (0, 0), False),  # below the floor
        (100, 29, (1000, 100), False),
        (100, 30, (1000, 100), True),  # three times its usual 10 %
        (100, 69, (1000, 400), False),
        (100, 70, (1000, 400), True),  # three times 40 % cannot be
        (100, 20, (99, 99), True),  # a week of too few tells nothing
        (100, 99, (1000, 1000), False),  # it always fails: other rules tell that
        (0, 0, (0, 0), False),
    ],
)
def test_an_unusual_share_of_failures(attempts: int, failures: int, week: tuple[int, int], unusual: bool) -> None:
    lane = replace(LANE, attempts=attempts, failures=failures, week_attempts=week[0], week_failures=week[1])
    assert kinds(lane) == ([MatterKind.FAILURES] if unusual else [])


def test_an_unusual_share_says_what_is_usual() -> None:
    state = LaneState(last_failure="timeout: no complete answer within 60 s")
    lane = replace(LANE, state=state, attempts=100, failures=50, week_attempts=1000, week_failures=20)
    assert found(lane)[0].message == (
        "50 of 100 attempts in the last hour failed, the last with: timeout: no complete answer within 60 s; "
        "usually 2% fail"
    )


def test_an_open_matter_does_not_come_and_go_at_its_bound() -> None:
    assert kinds(replace(LANE, attempts=100, failures=17), GOING_ON) == [MatterKind.FAILURES]
    assert kinds(replace(LANE, attempts=100, failures=15), GOING_ON) == []
    assert kinds(replace(LANE, attempts=1, failures=1), GOING_ON) == [MatterKind.FAILURES]
    assert kinds(replace(LANE, attempts=0, failures=0), GOING_ON) == []


def test_an_integration_that_is_off_has_no_matter() -> None:
    assert kinds(replace(LANE, enabled=False, oldest_due_ms=0, attempts=99, failures=99)) == []


@given(st.floats(0, 1))
def test_the_bound_is_never_below_the_floor_and_can_be_reached(usual: float) -> None:
    assert FLOOR <= threshold(usual) <= 1
    assert threshold(usual) >= usual


def app(gaps_ms: list[int], silent_ms: int) -> list[Matter]:
    figures = AppFigures(
        project_id="p", app_id="a", name="Play", last_notification_at_ms=NOW - silent_ms, gaps_ms=gaps_ms
    )
    return list(app_matters([figures], NOW))


def test_a_store_that_was_heard_of_regularly_and_is_silent() -> None:
    gaps = [4 * HOUR_MS] * MIN_GAPS
    assert app(gaps, 12 * HOUR_MS) == []
    (matter,) = app(gaps, 12 * HOUR_MS + 1)
    assert (matter.kind, matter.subject, matter.name) == (MatterKind.STORE_SILENT, "a", "Play")
    assert matter.message == "no notification of its store for 12 hours; usually there is one at least every 4 hours"


def test_outages_of_the_past_do_not_make_silence_usual() -> None:
    assert app([HOUR_MS] * MIN_GAPS + [90 * HOUR_MS, 80 * HOUR_MS], 7 * HOUR_MS) != []
    assert app([HOUR_MS] * MIN_GAPS + [90 * HOUR_MS] * 3, 7 * HOUR_MS) == []


def test_a_busy_store_may_be_silent_for_some_hours() -> None:
    assert app([1000] * 200, MIN_SILENCE_MS) == []
    assert app([1000] * 200, MIN_SILENCE_MS + 1) != []


def test_a_store_that_is_seldom_heard_of_is_never_silent() -> None:
    assert app([HOUR_MS] * (MIN_GAPS - 1), 10**12) == []
    assert app([8 * 24 * HOUR_MS] * MIN_GAPS, 10**12) == []


def test_spans_are_said_in_words() -> None:
    spans = [30_000, 60_000, 119_000, 2 * 60_000, 119 * 60_000, 2 * HOUR_MS, 47 * HOUR_MS, 48 * HOUR_MS]
    said = ["less than a minute", "1 minute", "1 minute", "2 minutes", "119 minutes", "2 hours", "47 hours", "2 days"]
    assert [in_words(span) for span in spans] == said
