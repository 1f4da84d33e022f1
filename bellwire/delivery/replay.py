"""Works replays off: puts their deliveries into the outbox, a few at a time, as the lane takes them.

Any number of workers may do this at once, and be killed at any moment: what a portion is is found outside of the
transaction that puts it out, and counts only if the replay is still where it was then (`db.replays.put_out`).
"""

import asyncio
from functools import partial

import sqlalchemy as sa
import structlog

from bellwire.db.config import ConfigCache
from bellwire.db.engine import reader
from bellwire.db.replay_selection import find_portion
from bellwire.db.replays import Replay, end_replay, open_replays, put_out, withdraw
from bellwire.db.writer import Writer, WriterClosed
from bellwire.kit.clock import SystemClock
from bellwire.model.replays import ReplayStatus

log = structlog.get_logger()

WAITING_AT_MOST = 400
"""Rows of a replay in the outbox that are not tried yet: enough for a tenth of a second of a fast lane."""
RETRYING_AT_MOST = 1_000
"""With so many that failed and wait to be tried again a replay goes no further: a dead receiver fills no table."""
PORTION = 200
SCAN_ROWS = 5_000
"""Looked at for one portion: some ten milliseconds."""
BUSY_S, OPEN_S, IDLE_S = 0.05, 0.25, 1.0
"""Pauses: after something was put out, while there are replays, and while there are none."""

now_ms = SystemClock().now_ms


class Replayer:
    """One per process that delivers."""

    def __init__(self, engine: sa.Engine, writer: Writer, config: ConfigCache) -> None:
        self._engine = reader(engine)
        self._writer = writer
        self._config = config

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                pause_s = await self._round()
            except WriterClosed:
                return
            except Exception:
                log.exception("replay.failed")
                pause_s = IDLE_S
            await asyncio.sleep(pause_s)

    async def _round(self) -> float:
        """A portion of each; returns how long to rest."""
        found = await asyncio.to_thread(self._open)
        moved = [await self._go_on(replay) for replay in found]
        return BUSY_S if any(moved) else OPEN_S if found else IDLE_S

    def _open(self) -> list[Replay]:
        with self._engine.begin() as connection:
            return open_replays(connection, now_ms=now_ms())

    async def _go_on(self, replay: Replay) -> bool:
        """Whether it is worth looking again soon."""
        if replay.status is ReplayStatus.CANCELLED:
            await self._writer.change(partial(withdraw, replay_id=replay.id, now_ms=now_ms()))
            return False
        integration = self._config.current().integrations.get(replay.integration_id)
        if integration is None:
            await self._end(replay, ReplayStatus.FAILED, "the integration was deleted")
        elif replay.cursor < replay.last and integration.enabled:
            return await self._put_out(replay)
        elif replay.cursor >= replay.last and not replay.waiting and not replay.retrying:
            await self._end(replay, ReplayStatus.DONE)
        return False

    async def _put_out(self, replay: Replay) -> bool:
        at_ms = now_ms()
        rows = min(PORTION, WAITING_AT_MOST - replay.waiting, allowed(replay, at_ms))
        if rows <= 0 or replay.retrying >= RETRYING_AT_MOST:
            return False
        found, upto = await asyncio.to_thread(self._find, replay, rows)
        put = await self._writer.change(
            partial(
                put_out,
                replay=replay,
                found=found,
                upto=upto,
                paced_at_ms=paced(replay, len(found), at_ms),
                now_ms=at_ms,
            )
        )
        return put is not None

    def _find(self, replay: Replay, rows: int) -> tuple[list[tuple[int, int]], int]:
        integration = self._config.current().integrations[replay.integration_id]
        with self._engine.begin() as connection:
            return find_portion(
                connection,
                integration,
                replay.selection,
                after=replay.cursor,
                last=replay.last,
                rows=rows,
                scan=SCAN_ROWS,
            )

    async def _end(self, replay: Replay, status: ReplayStatus, message: str = "") -> None:
        await self._writer.change(
            partial(end_replay, replay_id=replay.id, status=status, now_ms=now_ms(), message=message)
        )
        log.info("replay.ended", replay_id=replay.id, integration_id=replay.integration_id, status=status.value)


def allowed(replay: Replay, at_ms: int) -> int:
    """How many rows the replay's own rate lets out now: what a second brings, or one."""
    if replay.rate_per_s is None:
        return PORTION
    return int((at_ms - _paced_from(replay, at_ms, replay.rate_per_s)) * replay.rate_per_s / 1000)


def paced(replay: Replay, rows: int, at_ms: int) -> int:
    """Up to when the rate is used up once so many rows are out."""
    if replay.rate_per_s is None:
        return 0
    return int(_paced_from(replay, at_ms, replay.rate_per_s) + rows * 1000 / replay.rate_per_s)


def _paced_from(replay: Replay, at_ms: int, rate_per_s: float) -> float:
    """Never more than a second back, or a row's time; also when the clock was set back."""
    earliest = at_ms - max(1000.0, 1000 / rate_per_s)
    return max(float(replay.paced_at_ms), earliest) if replay.paced_at_ms <= at_ms else earliest
