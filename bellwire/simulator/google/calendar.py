"""Billing periods in calendar months, and the ways Google writes time."""

import calendar
import re
from datetime import UTC, datetime, timedelta

DAY_MS = 86_400_000
_PERIOD = re.compile(r"^P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?$")
_SECONDS = re.compile(r"^(\d+)(?:\.(\d{1,9}))?s$")


def add_period(start_ms: int, period: str, times: int = 1) -> int:
    """`start_ms` plus `times` ISO 8601 periods; a month after 31 January is the last of February.

    Counted from the same start, 31 January plus two months is 31 March again.
    """
    match = _PERIOD.match(period)
    if match is None or not any(match.groups()):
        raise ValueError(f"not a billing period: {period!r}")
    years, months, weeks, days = (int(part or 0) for part in match.groups())
    start = datetime.fromtimestamp(start_ms // 1000, UTC)
    year, month = divmod(start.year * 12 + start.month - 1 + times * (12 * years + months), 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    moment = start.replace(year=year, month=month + 1, day=day) + timedelta(days=times * (7 * weeks + days))
    return int(moment.timestamp()) * 1000 + start_ms % 1000


def rfc3339(ms: int) -> str:
    """As Google prints timestamps: UTC, milliseconds where there are some."""
    moment = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{ms % 1000:03d}Z" if ms % 1000 else f"{moment}Z"


def duration_ms(text: str) -> int:
    """A proto JSON duration such as `86400s`. Raises ValueError."""
    match = _SECONDS.match(text)
    if match is None:
        raise ValueError(f"not a duration: {text!r}")
    return int(match.group(1)) * 1000 + int((match.group(2) or "").ljust(3, "0")[:3])
