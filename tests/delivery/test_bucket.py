"""The token bucket: never more than its limit in any stretch of time, and never stuck."""

from hypothesis import given
from hypothesis import strategies as st

from bellwire.delivery.bucket import Bucket, share, smaller
from bellwire.model.projects import RateLimit

limits = st.builds(
    RateLimit,
    events_per_s=st.floats(0.01, 5_000, allow_nan=False),
    burst=st.integers(1, 500),
)
asks = st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 700)), max_size=40)
START_MS = 1_700_000_000_000


def drive(limit: RateLimit, steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(when, how many went), for a sender that wants `wanted` after each pause and takes what it may."""
    went: list[tuple[int, int]] = []
    bucket, now_ms = Bucket(), START_MS
    for pause_ms, wanted in steps:
        now_ms += pause_ms
        count = min(wanted, bucket.available(limit, now_ms))
        bucket = bucket.take(limit, count, now_ms)
        went.append((now_ms, count))
    return went


@given(limits, asks)
def test_no_stretch_of_time_has_more_than_burst_and_rate(limit: RateLimit, steps: list[tuple[int, int]]) -> None:
    went = drive(limit, steps)
    for first in range(len(went)):
        total = 0
        for at_ms, count in went[first:]:
            total += count
            assert total <= limit.burst + limit.events_per_s * (at_ms - went[first][0]) / 1000 + 1e-6


@given(limits, asks)
def test_there_is_always_room_when_it_says(limit: RateLimit, steps: list[tuple[int, int]]) -> None:
    bucket, now_ms = Bucket(), START_MS
    for pause_ms, wanted in steps:
        now_ms += pause_ms
        bucket = bucket.take(limit, min(wanted, bucket.available(limit, now_ms)), now_ms)
        at_ms = bucket.next_at_ms(limit, now_ms)
        assert bucket.available(limit, at_ms) >= 1
        assert at_ms == now_ms or bucket.available(limit, at_ms - 1) == 0


@given(limits, asks, st.integers(0, 10**11))
def test_a_clock_that_is_set_back_costs_one_interval(
    limit: RateLimit, steps: list[tuple[int, int]], back_ms: int
) -> None:
    bucket, now_ms = Bucket(), START_MS
    for pause_ms, wanted in steps:
        now_ms += pause_ms
        bucket = bucket.take(limit, min(wanted, bucket.available(limit, now_ms)), now_ms)
    then_ms = now_ms - back_ms
    assert bucket.next_at_ms(limit, then_ms) - then_ms <= 1000 / limit.events_per_s + 1


@given(limits, st.integers(0, 500), st.integers(0, 500))
def test_what_did_not_go_can_go_later(limit: RateLimit, taken: int, returned: int) -> None:
    taken = min(taken, limit.burst)
    returned = min(returned, taken)
    bucket = Bucket().take(limit, taken, START_MS).give_back(limit, returned)
    assert bucket.available(limit, START_MS) == limit.burst - taken + returned


@given(limits, st.integers(1, 64))
def test_workers_together_keep_to_the_rate(limit: RateLimit, workers: int) -> None:
    one = share(limit, workers)
    assert one.events_per_s * workers <= limit.events_per_s * (1 + 1e-9)
    assert one.burst >= 1
    assert one.burst * workers <= max(limit.burst, workers)


@given(limits, limits)
def test_of_two_limits_the_smaller_counts(first: RateLimit, second: RateLimit) -> None:
    both = smaller(first, second)
    assert both == RateLimit(
        events_per_s=min(first.events_per_s, second.events_per_s), burst=min(first.burst, second.burst)
    )
    assert smaller(first, None) == smaller(None, first) == first
    assert smaller(None, None) is None
