"""Google's ways of writing time, as integer milliseconds and back."""

import re
import time
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_RFC3339 = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$")
_HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
_DURATION = re.compile(r"^P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?$")


def parse_ms(text: str) -> int:
    """An RFC 3339 timestamp with up to nine decimals, cut to milliseconds. Raises ValueError."""
    match = _RFC3339.match(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 timestamp: {text!r}")
    whole, fraction, zone = match.groups()
    moment = datetime.fromisoformat(whole + ("+00:00" if zone == "Z" else zone))
    return int(moment.timestamp()) * 1000 + int((fraction or "").ljust(3, "0")[:3])


def parse_optional_ms(text: str | None) -> int | None:
    """`parse_ms`, where the store may leave the field out."""
    return None if text is None else parse_ms(text)


def subtract_duration(end_ms: int, duration: str) -> int | None:
    """`end_ms` minus an ISO 8601 billing period in calendar months (31 March minus a month is the last of February).

    None for a duration that is no number of years, months, weeks and days.
    """
    match = _DURATION.match(duration)
    if match is None or not any(match.groups()):
        return None
    years, months, weeks, days = (int(part or 0) for part in match.groups())
    end = datetime.fromtimestamp(end_ms // 1000, UTC)
    index = end.year * 12 + end.month - 1 - (years * 12 + months)
    year, month = divmod(index, 12)
    day = min(end.day, monthrange(year, month + 1)[1])
    start = end.replace(year=year, month=month + 1, day=day) - timedelta(days=weeks * 7 + days)
    return int(start.timestamp()) * 1000 + end_ms % 1000


class StatementTimes:
    """When Google said what it said: the Date of its answers.

    It has only seconds, and flags of a purchase are taken from the newest statement. Answers of one second are
    therefore told apart by the order in which they came, a millisecond each.
    """

    def __init__(self) -> None:
        self._second_ms = 0
        self._count = 0

    def of(self, date_header: str) -> int:
        """Milliseconds of a Date header; of several (a server may add its own in front), the last. Else real time."""
        dates = _HTTP_DATE.findall(date_header)
        second_ms = int(parsedate_to_datetime(dates[-1]).timestamp() if dates else time.time()) * 1000
        self._count = self._count + 1 if second_ms == self._second_ms else 0
        self._second_ms = second_ms
        return second_ms + min(self._count, 999)
