"""When a failed delivery is tried again (spec: events 10.2, 14.44; architecture D5)."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellwire.delivery.schedule import COMPATIBLE_S, EXTENDED_S, MAX_RETRY_AFTER_S, retry_delay_ms

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def waits(schedule: str, *, jitter: float = 0.0, retry_after_s: float | None = None) -> list[int]:
    found: list[int] = []
    for failures in itertools.count(1):
        delay_ms = retry_delay_ms(schedule, failures, retry_after_s=retry_after_s, jitter=jitter)
        if delay_ms is None:
            return found
        found.append(delay_ms)
    raise AssertionError


@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("retry_after_s", [None, 1.0, 999_999.0])
def test_compatible_is_exact(jitter: float, retry_after_s: float | None) -> None:
    found = waits("compatible", jitter=jitter, retry_after_s=retry_after_s)
    assert [0, *itertools.accumulate(found)] == [minutes * MINUTE_MS for minutes in (0, 5, 15, 35, 75, 155)]


def test_extended() -> None:
    assert waits("extended") == [
        5_000,
        30_000,
        5 * MINUTE_MS,
        10 * MINUTE_MS,
        20 * MINUTE_MS,
        40 * MINUTE_MS,
        80 * MINUTE_MS,
        3 * HOUR_MS,
        6 * HOUR_MS,
        12 * HOUR_MS,
        24 * HOUR_MS,
        24 * HOUR_MS,
    ]


def test_an_unknown_schedule_is_the_default() -> None:
    assert waits("") == waits("extended")


@given(st.integers(1, len(EXTENDED_S)), st.floats(0, 1, exclude_max=True))
def test_jitter_only_adds_and_at_most_a_tenth(failures: int, jitter: float) -> None:
    delay_ms = retry_delay_ms("extended", failures, retry_after_s=None, jitter=jitter)
    assert delay_ms is not None
    assert EXTENDED_S[failures - 1] * 1000 <= delay_ms <= EXTENDED_S[failures - 1] * 1100


@given(st.integers(1, len(EXTENDED_S)), st.floats(0, 1e12))
def test_retry_after_lengthens_and_never_shortens(failures: int, asked_s: float) -> None:
    plain = retry_delay_ms("extended", failures, retry_after_s=None, jitter=0.0)
    asked = retry_delay_ms("extended", failures, retry_after_s=asked_s, jitter=0.0)
    assert plain is not None
    assert asked is not None
    assert asked == max(plain, int(min(asked_s, MAX_RETRY_AFTER_S) * 1000))


def test_the_compatible_part_is_inside_the_extended_one() -> None:
    assert EXTENDED_S[2:7] == COMPATIBLE_S
