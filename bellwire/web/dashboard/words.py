"""How times, spans and amounts are written on pages. Integers in, text out; all times UTC."""

from datetime import UTC, datetime

_SECOND, _MINUTE, _HOUR, _DAY = 1000, 60_000, 3_600_000, 86_400_000


def iso(ms: int) -> str:
    """For `datetime` attributes."""
    return _utc(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc(ms: int) -> str:
    """`2026-11-23 20:47:01.120 UTC`."""
    return _utc(ms).strftime("%Y-%m-%d %H:%M:%S") + f".{ms % 1000:03d} UTC"


def minute(ms: int) -> str:
    """`2026-11-23 20:47`."""
    return _utc(ms).strftime("%Y-%m-%d %H:%M")


def clock(ms: int, now_ms: int) -> str:
    """`20:47:01` today, `Nov 21 20:47` this year, else the date."""
    at, now = _utc(ms), _utc(now_ms)
    if at.date() == now.date():
        return at.strftime("%H:%M:%S")
    return at.strftime("%b %d %H:%M" if at.year == now.year else "%Y-%m-%d")


def ago(ms: int, now_ms: int) -> str:
    """`12s ago`, `in 4m`; one unit, rounded towards zero. The page's script goes on counting by the same rule."""
    away = abs(now_ms - ms)
    if away < _SECOND:
        return "now"
    text = _one_unit(away)
    return f"{text} ago" if ms <= now_ms else f"in {text}"


def span(ms: int) -> str:
    """A duration, exact enough to compare: `87 ms`, `1.24 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if ms < _SECOND:
        return f"{ms} ms"
    if ms < _MINUTE:
        return f"{ms // _SECOND}.{ms % _SECOND // 10:02d} s"
    for unit, name, smaller, smaller_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", _SECOND, "s"),
    ):
        if ms >= unit:
            rest = ms % unit // smaller
            return f"{ms // unit} {name}" + (f" {rest} {smaller_name}" if rest else "")
    raise AssertionError("unreachable")


def permille(value: int) -> str:
    """996 as `99.6 %`."""
    whole, tenth = divmod(value, 10)
    return f"{whole} %" if tenth == 0 else f"{whole}.{tenth} %"


def usd(micros: int) -> str:
    """`$9.99`, `-$9.99`."""
    cents = (abs(micros) + 5_000) // 10_000
    return f"{'-' if micros < 0 else ''}${cents // 100}.{cents % 100:02d}"


def short_id(text: str) -> str:
    """An id for a narrow column: of a long one (`$RCAnonymousID:…`) the beginning and the telling end."""
    return text if len(text) <= 20 else f"{text[:5]}…{text[-6:]}"


def thousands(number: int) -> str:
    """`12,345`."""
    return f"{number:,}"


def _one_unit(ms: int) -> str:
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m")):
        if ms >= unit:
            return f"{ms // unit}{name}"
    return f"{ms // _SECOND}s"


def _utc(ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC)
