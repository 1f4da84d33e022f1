"""The circuit breaker: opens on failures without a success between them, probes with growing pauses, never locks up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellwire.db.lane_states import BreakerState
from bellwire.delivery.breaker import Breaker, Health, Rules, health_of, pause_of
from bellwire.delivery.pause import DAY_MS, MAX_HOLD_S, MIN_FAILURES, hold_until_ms, must_pause

NOW = 1_700_000_000_000
RULES = Rules(failures=3, over_ms=1000, first_pause_ms=1000, longest_pause_ms=8000)


def hear(breaker: Breaker, health: Health, at_ms: int) -> Breaker:
    return breaker.heard(health, at_ms, RULES, jitter=0.0)


def fail(breaker: Breaker, *times: int) -> Breaker:
    for at_ms in times:
        breaker = hear(breaker, Health.ILL, at_ms)
    return breaker


def test_it_opens_after_failures_in_a_row_over_some_time() -> None:
    assert fail(Breaker(), NOW, NOW + 500, NOW + 999).state is BreakerState.CLOSED
    opened = fail(Breaker(), NOW, NOW + 500, NOW + 1000)
    assert (opened.state, opened.since_ms, opened.next_probe_at_ms) == (BreakerState.OPEN, NOW + 1000, NOW + 2000)
    assert not opened.may_probe(NOW + 1999)
    assert opened.may_probe(NOW + 2000)


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = Breaker()
    for step in range(20):
        breaker = fail(breaker, NOW + step * 1000, NOW + step * 1000 + 400)
        breaker = hear(breaker, Health.WELL, NOW + step * 1000 + 500)
    assert breaker.state is BreakerState.CLOSED


def test_pauses_grow_while_probes_fail_and_a_probe_that_works_closes() -> None:
    breaker = fail(Breaker(), NOW, NOW, NOW + 1000)
    pauses: list[int] = []
    now_ms = NOW + 1000
    for _ in range(6):
        assert breaker.next_probe_at_ms is not None
        pauses.append(breaker.next_probe_at_ms - now_ms)
        now_ms = breaker.next_probe_at_ms
        breaker = fail(breaker.probing(lost_at_ms=now_ms + 60_000), now_ms)
    assert pauses == [1000, 2000, 4000, 8000, 8000, 8000]
    assert breaker.since_ms == NOW + 1000
    assert hear(breaker.probing(lost_at_ms=now_ms + 60_000), Health.WELL, now_ms) == Breaker(since_ms=now_ms)


def test_a_probe_that_was_not_sent_leaves_room_for_another() -> None:
    breaker = fail(Breaker(), NOW, NOW, NOW + 1000).probing(lost_at_ms=NOW + 90_000)
    assert not breaker.may_probe(NOW + 2000)
    assert hear(breaker, Health.UNKNOWN, NOW + 2000).may_probe(NOW + 2000)


def test_a_probe_that_was_lost_is_followed_by_another() -> None:
    breaker = fail(Breaker(), NOW, NOW, NOW + 1000).probing(lost_at_ms=NOW + 90_000)
    assert breaker.may_probe(NOW + 90_000)


def test_late_failures_do_not_lengthen_the_pause() -> None:
    opened = fail(Breaker(), NOW, NOW, NOW + 1000)
    assert fail(opened, NOW + 1100, NOW + 1200) == opened


@given(
    st.lists(st.tuples(st.integers(0, 20_000), st.sampled_from(Health)), max_size=60),
    st.floats(0, 1, exclude_max=True),
)
def test_a_well_destination_is_always_found_again(steps: list[tuple[int, Health]], jitter: float) -> None:
    """Whatever happened, a probe is due within the longest pause, and its success closes the breaker."""
    breaker, now_ms = Breaker(), NOW
    for pause_ms, health in steps:
        now_ms += pause_ms
        if breaker.may_probe(now_ms):
            breaker = breaker.probing(lost_at_ms=now_ms + 60_000)
        breaker = breaker.heard(health, now_ms, RULES, jitter=jitter)
        assert breaker.state is not BreakerState.HALF_OPEN or breaker.may_probe(now_ms)
    if breaker.state is not BreakerState.CLOSED:
        now_ms += int(RULES.longest_pause_ms * (1 + RULES.jitter_share)) + 1
        assert breaker.may_probe(now_ms)
        breaker = breaker.probing(lost_at_ms=now_ms + 60_000)
    assert breaker.heard(Health.WELL, now_ms, RULES, jitter=jitter).state is BreakerState.CLOSED


@given(st.integers(3 * 3_600_000, 10**12))
def test_a_clock_that_is_set_back_does_not_lock_it(back_ms: int) -> None:
    assert fail(Breaker(), NOW, NOW, NOW + 1000).may_probe(NOW - back_ms)


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_are_bounded(openings: int, jitter: float) -> None:
    rules = Rules()
    bound_ms = rules.longest_pause_ms * (1 + rules.jitter_share)
    assert rules.first_pause_ms <= pause_of(openings, rules, jitter=jitter) <= bound_ms


@pytest.mark.parametrize(
    ("status", "error", "health"),
    [
        (200, None, Health.WELL),
        (400, None, Health.WELL),
        (401, None, Health.WELL),
        (501, None, Health.WELL),
        (429, None, Health.ILL),
        (500, None, Health.ILL),
        (503, None, Health.ILL),
        (None, "connect", Health.ILL),
        (200, "reset", Health.ILL),
        (None, "blocked", Health.UNKNOWN),
        (None, "invalid_url", Health.UNKNOWN),
    ],
)
def test_what_an_answer_says_about_its_destination(status: int | None, error: str | None, health: Health) -> None:
    assert health_of(status, error) is health


def test_a_lane_pauses_after_days_of_nothing_but_failure() -> None:
    def paused(days: float, failures: int, after_days: float = 5.0) -> bool:
        since_ms = NOW - int(days * DAY_MS)
        return must_pause(failing_since_ms=since_ms, failures=failures, now_ms=NOW, after_days=after_days)

    assert paused(5, MIN_FAILURES)
    assert not paused(4.9, 10_000)
    assert not paused(30, MIN_FAILURES - 1)
    assert not paused(30, 10_000, after_days=0)
    assert not must_pause(failing_since_ms=None, failures=0, now_ms=NOW, after_days=5)


def test_a_lane_holds_as_long_as_it_is_asked_to_and_no_longer_than_an_hour() -> None:
    assert hold_until_ms(retry_after_s=7, status=429, now_ms=NOW) == NOW + 7000
    assert hold_until_ms(retry_after_s=7, status=503, now_ms=NOW) == NOW + 7000
    assert hold_until_ms(retry_after_s=1e12, status=503, now_ms=NOW) == NOW + int(MAX_HOLD_S * 1000)
    assert hold_until_ms(retry_after_s=7, status=500, now_ms=NOW) is None
    assert hold_until_ms(retry_after_s=None, status=429, now_ms=NOW) is None
    assert hold_until_ms(retry_after_s=-3, status=429, now_ms=NOW) is None
