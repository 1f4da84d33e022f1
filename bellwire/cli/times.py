"""Points in time on the command line."""

import re
import time
from datetime import UTC, datetime

import click

_AGO = re.compile(r"(\d{1,6})(m|h|d|w)")
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}


class Moment(click.ParamType[int]):
    """A date or time in UTC unless it says otherwise, or how long ago; gives milliseconds."""

    name = "time"

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        ago = _AGO.fullmatch(value.strip().lower())
        if ago is not None:
            return time.time_ns() // 1_000_000 - int(ago[1]) * _UNIT_MS[ago[2]]
        try:
            at = datetime.fromisoformat(value.strip())
        except ValueError:
            self.fail(f"{value} is no time; write 2026-11-24, 2026-11-24T18:30:00Z, or 36h, 7d for ago", param, ctx)
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def minute(ms: int) -> str:
    """`2026-11-24 18:30`, UTC."""
    try:
        return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return "-"
