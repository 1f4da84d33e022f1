"""A lane's gate: limit, breaker, hold and pause together, and what it tells other processes."""

from msgspec.structs import replace

from bellwire.db.attempts import AttemptRecord
from bellwire.db.lane_states import BreakerState, LaneState
from bellwire.delivery.breaker import Rules
from bellwire.delivery.gate import SAVE_EVERY_MS, Admission, Gate
from bellwire.delivery.pause import DAY_MS
from bellwire.model.projects import RateLimit

NOW = 1_700_000_000_000
RULES = Rules(failures=3, over_ms=0, first_pause_ms=1000, jitter_share=0)


def gate(**options: float) -> Gate:
    return Gate("intg1", "proj1", rules=RULES, **options)


def attempted(status: int, **changes: object) -> AttemptRecord:
    record = AttemptRecord(
        project_id="proj1",
        integration_id="intg1",
        event_seq=1,
        event_id="E",
        event_type="RENEWAL",
        app_user_id=None,
        environment=None,
        attempt=1,
        trigger="automatic",
        outcome="delivered" if status == 200 else "retry",
        reason=f"answered {status}",
        started_at_ms=NOW,
        status_code=status,
        request_method="POST",
    )
    return replace(record, **changes)


def note(one: Gate, status: int, at_ms: int, retry_after_s: float | None = None, **changes: object) -> None:
    one.note(attempted(status, **changes), settled=status == 200, retry_after_s=retry_after_s, now_ms=at_ms)


def admit(one: Gate, at_ms: int, *, rows: int = 40, late: int = 5, held: int = 0) -> Admission:
    return one.admit(rows, late, held=held, at_once=10, now_ms=at_ms)


def test_without_a_limit_all_that_fits_may_go() -> None:
    one = gate()
    assert admit(one, NOW) == Admission(40, 5)
    assert (one.next_at_ms(NOW), one.save_at_ms(), one.change(NOW)) == (None, None, None)


def test_a_limited_lane_takes_what_it_may_send_at_once() -> None:
    one = gate()
    one.configure(RateLimit(events_per_s=10, burst=6), workers=1)
    admitted = admit(one, NOW)
    assert admitted == Admission(6, 3)
    one.claimed(admitted, 6, NOW)
    assert (admit(one, NOW).rows, one.next_at_ms(NOW)) == (0, NOW + 100)
    one.returned(2, NOW)
    assert admit(one, NOW).rows == 2
    assert admit(one, NOW + 10_000, held=8).rows == 2  # concurrency is 10


def test_workers_divide_a_limit() -> None:
    one = gate()
    one.configure(RateLimit(events_per_s=10, burst=6), workers=2)
    assert admit(one, NOW).rows == 3
    one.configure(None, workers=2)
    assert admit(one, NOW).rows == 40


def test_single_rows_go_to_first_attempts_and_retries_in_turn() -> None:
    one = gate()
    one.configure(RateLimit(events_per_s=1, burst=1), workers=1)
    asked = []
    for second in range(4):
        admitted = admit(one, NOW + second * 1000)
        asked.append(admitted.late)
        one.claimed(admitted, 1, NOW + second * 1000)
    assert asked == [0, 1, 0, 1]


def test_when_there_is_no_first_attempt_a_retry_goes_next() -> None:
    one = gate()
    one.configure(RateLimit(events_per_s=1, burst=1), workers=1)
    one.claimed(admit(one, NOW), 0, NOW)
    assert (one.next_at_ms(NOW), admit(one, NOW)) == (NOW, Admission(1, 1))
    one.claimed(admit(one, NOW), 0, NOW)
    assert one.next_at_ms(NOW) is None  # nothing is due: no turn follows another for ever


def test_a_token_that_came_while_the_turn_ran_is_not_missed() -> None:
    """The lane slept for ever: at its end the turn that had found none saw a token, and planned nothing."""
    one = gate()
    one.configure(RateLimit(events_per_s=50, burst=1), workers=1)
    one.claimed(admit(one, NOW), 1, NOW)
    one.claimed(admit(one, NOW + 19), 0, NOW + 21)
    assert one.next_at_ms(NOW + 21) == NOW + 21


def test_a_lane_that_was_opened_while_the_turn_ran_is_not_missed() -> None:
    """The lane slept for ever: its room had been asked for before the look that found the hold gone."""
    one = gate()
    one.adopt(LaneState(blocked_until_ms=NOW + 60_000))
    one.claimed(admit(one, NOW), 0, NOW)
    one.adopt(LaneState())
    assert one.next_at_ms(NOW) == NOW
    one.claimed(admit(one, NOW), 0, NOW)
    assert one.next_at_ms(NOW) is None


def test_a_probe_waits_for_what_is_on_the_wire_without_turning_round() -> None:
    one = gate()
    for _ in range(3):
        note(one, 500, NOW)
    one.claimed(admit(one, NOW + 5000, held=2), 0, NOW + 5000)
    assert one.next_at_ms(NOW + 5000) is None
    assert admit(one, NOW + 5001).probe


def test_a_paused_lane_with_an_open_breaker_is_not_probed() -> None:
    one = gate()
    one.adopt(LaneState(breaker=BreakerState.OPEN, next_probe_at_ms=NOW, paused_at_ms=NOW))
    assert admit(one, NOW + 5000).rows == 0
    one.adopt(LaneState(breaker=BreakerState.OPEN, next_probe_at_ms=NOW, blocked_until_ms=NOW + 9000))
    assert admit(one, NOW + 5000).rows == 0
    assert admit(one, NOW + 9000).probe


def test_turns_without_a_token_do_not_forget_whose_turn_it_is() -> None:
    one = gate()
    one.configure(RateLimit(events_per_s=1, burst=1), workers=1)
    one.claimed(admit(one, NOW), 1, NOW)
    one.claimed(admit(one, NOW), 0, NOW)
    assert admit(one, NOW + 1000) == Admission(1, 1)


def test_an_open_breaker_lets_one_row_through_when_its_probe_is_due() -> None:
    one = gate()
    for _ in range(3):
        note(one, 500, NOW)
    assert (one.open(NOW), admit(one, NOW).rows, one.next_at_ms(NOW)) == (False, 0, NOW + 1000)
    assert admit(one, NOW + 1000, held=1).rows == 0
    assert admit(one, NOW + 1000) == Admission(1, 1, probe=True)
    one.probing(NOW + 9000)
    assert (one.open(NOW + 1000), one.state.breaker) == (True, BreakerState.HALF_OPEN)
    note(one, 200, NOW + 1100)
    assert (one.state.breaker, one.state.breaker_since_ms) == (BreakerState.CLOSED, NOW + 1100)
    assert admit(one, NOW + 1100).rows == 40


def test_a_hold_stops_the_whole_lane_until_its_time() -> None:
    one = gate()
    note(one, 429, NOW, retry_after_s=30)
    note(one, 429, NOW, retry_after_s=5)
    assert (one.open(NOW), admit(one, NOW).rows, one.next_at_ms(NOW)) == (False, 0, NOW + 30_000)
    assert (one.open(NOW + 30_000), admit(one, NOW + 30_000).rows) == (True, 40)


def test_days_of_nothing_but_failure_pause_the_lane() -> None:
    one = gate(pause_after_days=5)
    for day in range(11):
        assert one.state.paused_at_ms is None
        note(one, 404, NOW + day * DAY_MS // 2)
    assert one.state.paused_at_ms == NOW + 5 * DAY_MS
    assert one.state.paused_reason == "nothing but failures for 5 days, the last: answered 404"
    assert (one.open(NOW + 5 * DAY_MS), one.next_at_ms(NOW + 5 * DAY_MS)) == (False, None)


def test_one_success_begins_the_days_anew() -> None:
    one = gate(pause_after_days=5)
    for day in range(30):
        note(one, 200 if day == 4 else 404, NOW + day * DAY_MS // 4)
    assert one.state.paused_at_ms == NOW + 25 * DAY_MS // 4


def test_tests_and_skipped_events_tell_nothing() -> None:
    one = gate()
    note(one, 500, NOW, trigger="test")
    note(one, 200, NOW, outcome="skipped", request_method=None)
    assert (one.state, one.change(NOW, last=True)) == (LaneState(), None)


def test_what_changes_sending_is_told_at_once_and_the_rest_seldom() -> None:
    one = gate()
    note(one, 200, NOW)
    first = one.change(NOW)
    assert first is not None
    assert (first.columns, first.counts) == ({"last_success_at_ms": NOW}, {NOW - NOW % 600_000: (1, 0)})
    note(one, 200, NOW + 10)
    assert (one.change(NOW + 10), one.save_at_ms()) == (None, NOW + SAVE_EVERY_MS)
    note(one, 500, NOW + 20)
    urgent = one.change(NOW + 20)
    assert urgent is not None
    assert urgent.columns["failing_since_ms"] == NOW + 20
    assert list(urgent.counts.values()) == [(2, 1)]
    assert one.change(NOW + 60_000) is None


def test_a_change_that_was_not_written_is_told_again() -> None:
    one = gate()
    note(one, 500, NOW)
    lost = one.change(NOW)
    assert lost is not None
    one.unsaved(lost)
    note(one, 500, NOW + 1)
    again = one.change(NOW + 1)
    assert again is not None
    assert again.columns["failing_since_ms"] == NOW
    assert again.columns["failures"] == 2
    assert list(again.counts.values()) == [(2, 2)]


def test_what_others_wrote_counts_and_what_is_unwritten_stays() -> None:
    one = gate()
    note(one, 200, NOW)
    one.adopt(LaneState(paused_at_ms=NOW, last_success_at_ms=NOW - 9))
    assert (one.open(NOW), one.state.last_success_at_ms) == (False, NOW)
    one.adopt(LaneState(breaker=BreakerState.OPEN, next_probe_at_ms=NOW + 500, openings=4))
    assert (one.open(NOW), one.next_at_ms(NOW)) == (False, NOW + 500)
    one.adopt(LaneState())
    assert one.open(NOW)
