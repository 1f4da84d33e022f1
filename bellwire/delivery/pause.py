"""When a lane stops by itself: days of nothing but failure, which no retry will mend. Pure: it is told the time."""

DAY_MS = 86_400_000
MIN_FAILURES = 10
"""Fewer do not tell a destination that is gone from one that is seldom used and had a bad day twice."""


def must_pause(*, failing_since_ms: int | None, failures: int, now_ms: int, after_days: float) -> bool:
    """Whether a lane that has seen `failures` and no success since `failing_since_ms` stops; `after_days` 0 = never."""
    if failing_since_ms is None or after_days <= 0:
        return False
    return failures >= MIN_FAILURES and now_ms - failing_since_ms >= after_days * DAY_MS


def hold_until_ms(*, retry_after_s: float | None, status: int | None, now_ms: int) -> int | None:
    """Until when the whole lane waits because the destination asked for it: `Retry-After` of a 429 or 503."""
    if status not in (429, 503) or not retry_after_s or retry_after_s <= 0:
        return None
    return now_ms + int(min(retry_after_s, MAX_HOLD_S) * 1000)


MAX_HOLD_S = 3600.0
"""An answer that asks for more holds the lane no longer than this; a row's own retry may wait longer."""
