"""Apple's periods on the calendar: a month after January 31st is the last of February."""

import calendar
import re
from datetime import UTC, datetime, timedelta

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_PERIOD = re.compile(r"^P(\d+)([DWMY])$")


def add_period(start_ms: int, period: str, *, anchor_day: int | None = None) -> int:
    """End of an ISO 8601 period (`P1W`, `P3M`, `P1Y`) that starts at `start_ms`.

    `anchor_day` is the day of the month on which the subscription renews, so that it finds back to the 31st.
    """
    match = _PERIOD.match(period)
    if match is None:
        raise ValueError(f"not a period: {period}")
    count, unit = int(match[1]), match[2]
    start = datetime.fromtimestamp(start_ms // 1000, UTC)
    if unit in "DW":
        end = start + timedelta(days=count * (7 if unit == "W" else 1))
    else:
        months = start.year * 12 + start.month - 1 + count * (12 if unit == "Y" else 1)
        year, month = divmod(months, 12)
        day = min(anchor_day or start.day, calendar.monthrange(year, month + 1)[1])
        end = start.replace(year=year, month=month + 1, day=day)
    return int(end.timestamp()) * 1000 + start_ms % 1000


def day_of_month(at_ms: int) -> int:
    return datetime.fromtimestamp(at_ms // 1000, UTC).day
