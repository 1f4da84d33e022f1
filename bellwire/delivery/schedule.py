"""When a failed delivery is tried again (architecture D5; spec: events 10.2). Pure."""

_MINUTE_S = 60
_HOUR_S = 3600

COMPATIBLE_S = tuple(minutes * _MINUTE_S for minutes in (5, 10, 20, 40, 80))
"""Exactly the waits of the RevenueCat contract: attempts at 0, 5, 15, 35, 75 and 155 minutes."""

EXTENDED_S = (5, 30, *COMPATIBLE_S, *(hours * _HOUR_S for hours in (3, 6, 12, 24, 24)))

SCHEDULES_S = {"extended": EXTENDED_S, "compatible": COMPATIBLE_S}

JITTER_SHARE = 0.1
"""An extended wait grows by up to this share, so that what failed together does not come back together."""

MAX_RETRY_AFTER_S = 24 * _HOUR_S


def retry_delay_ms(schedule: str, failures: int, *, retry_after_s: float | None, jitter: float) -> int | None:
    """Wait after the `failures`-th failed automatic attempt (from 1), counted from its end; None = give up.

    `retry_after_s` (what the receiver asked for, at most a day) lengthens an extended wait and never shortens one;
    the compatible schedule keeps to its minutes. `jitter` is a random number in [0, 1). An unknown schedule is
    `extended`.
    """
    waits = SCHEDULES_S.get(schedule, EXTENDED_S)
    if failures > len(waits):
        return None
    wait_s = waits[failures - 1]
    if waits is COMPATIBLE_S:
        return wait_s * 1000
    asked_s = min(retry_after_s or 0.0, MAX_RETRY_AFTER_S)
    return int(max(wait_s * (1 + JITTER_SHARE * jitter), asked_s) * 1000)
