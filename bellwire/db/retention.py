"""What is old goes, a little at a time and beside the work: nobody who writes ever waits for it for long.

On PostgreSQL whole partitions are dropped; the rest, and everything on SQLite, is deleted in batches of a few
milliseconds, each a unit of the committer's beside those of others, with pauses in between. VACUUM is never asked for:
PostgreSQL's runs by itself and locks no writer out, and SQLite uses freed pages again.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
import sqlalchemy as sa
import structlog

from bellwire.db import aging
from bellwire.db.aging import Old, Policy
from bellwire.db.partitions import prepare
from bellwire.db.writer import Writer
from bellwire.kit.clock import Clock

T = TypeVar("T")

log = structlog.get_logger()

_INTERVAL_S = 900.0
_FIRST_AFTER_S = 60.0
_BATCH_S = 0.005
"""How long a batch should take the database."""
_SMALLEST, _LARGEST = 20, 2_000
_SHARE = 4
"""Pauses are so many times as long as the batch before them."""
_SHORTEST_PAUSE_S = 0.02
_DETACH_TRIES = 20
_DETACH_PAUSE_S = 1.0
_ADVISORY_LOCK = 0x62656C72


class Round(msgspec.Struct):
    """What one round did."""

    rows: dict[str, int]
    dropped: list[str]
    put_off: list[str]
    """Partitions that were in use all the time; the next round tries again."""
    longest_batch_s: float = 0.0


class Retention:
    """One per process; on PostgreSQL one at a time works."""

    def __init__(self, engine: sa.Engine, writer: Writer, wall: Clock, policy: Policy) -> None:
        self._engine = engine
        self._writer = writer
        self._wall = wall
        self._policy = policy
        self._sqlite = engine.dialect.name == "sqlite"

    async def run(self) -> None:
        """Rounds until cancelled; goes on while the database is away."""
        await asyncio.sleep(_FIRST_AFTER_S)
        while True:
            try:
                await self.round()
            except sa.exc.SQLAlchemyError as error:
                log.warning("retention.failed", reason=type(error).__name__)
            await asyncio.sleep(_INTERVAL_S)

    async def round(self, tell: Callable[[str, int], None] | None = None) -> Round | None:
        """Prepare the partitions to come, and let go what is old; None when another process is at it. `tell` hears of
        rows that went, by table."""
        if self._sqlite:
            return await self._work(tell or _nobody)
        turn = await asyncio.to_thread(self._take_turn)
        if turn is None:
            return None
        try:
            return await self._work(tell or _nobody)
        finally:
            turn.close()

    def _take_turn(self) -> sa.Connection | None:
        """A connection whose end ends the turn, however it ends; None when it is somebody else's."""
        connection = self._engine.connect()
        connection.detach()  # closed for good afterwards, and the lock with it
        if connection.execute(sa.select(sa.func.pg_try_advisory_lock(_ADVISORY_LOCK))).scalar_one():
            connection.commit()
            return connection
        connection.close()
        return None

    async def _work(self, tell: Callable[[str, int], None]) -> Round:
        done = Round(rows={}, dropped=[], put_off=[])
        now_ms = self._wall.now_ms()
        if not self._sqlite:
            await asyncio.to_thread(prepare, self._engine, now_ms)
            await self._drop_partitions(done, now_ms)
        for old in await asyncio.to_thread(self._old_rows, now_ms):
            await self._delete(done, old, tell)
        if done.rows or done.dropped or done.put_off:
            log.info("retention.done", rows=done.rows, dropped=done.dropped, put_off=done.put_off)
        return done

    def _old_rows(self, now_ms: int) -> list[Old]:
        with self._engine.connect() as connection:
            return list(aging.old_rows(connection, self._policy, now_ms))

    async def _delete(self, done: Round, old: Old, tell: Callable[[str, int], None]) -> None:
        limit = _SMALLEST
        while True:
            gone, took_s = await self._batch(old, limit)
            if gone:
                done.rows[old.table] = done.rows.get(old.table, 0) + gone
                done.longest_batch_s = max(done.longest_batch_s, took_s)
                tell(old.table, gone)
            if gone < limit:
                return
            limit = max(_SMALLEST, min(_LARGEST, int(limit * min(2.0, _BATCH_S / max(took_s, 1e-6)))))
            await asyncio.sleep(max(_SHORTEST_PAUSE_S, _SHARE * took_s))

    async def _batch(self, old: Old, limit: int) -> tuple[int, float]:
        """How many rows went, and how long that took the database."""

        def work(connection: sa.Connection) -> tuple[int, float]:
            begun_s = time.perf_counter()
            gone = aging.delete_some(connection, old, limit)
            return gone, time.perf_counter() - begun_s

        if self._sqlite:
            return await self._writer.change(work)
        return await asyncio.to_thread(self._alone, work)

    def _alone(self, work: Callable[[sa.Connection], T]) -> T:
        """A transaction of its own: on PostgreSQL there is no need to share that of others."""
        with self._engine.begin() as connection:
            return work(connection)

    async def _drop_partitions(self, done: Round, now_ms: int) -> None:
        for name in await asyncio.to_thread(self._alone, aging.detached_partitions):
            await self._drop(done, name)
        for ranges, name in await asyncio.to_thread(
            self._alone, lambda connection: aging.old_partitions(connection, self._policy, now_ms)
        ):
            for _ in range(_DETACH_TRIES):
                try:
                    await asyncio.to_thread(
                        self._alone,
                        lambda connection: aging.detach(connection, ranges, name),  # noqa: B023 - awaited here
                    )
                except sa.exc.OperationalError:
                    await asyncio.sleep(_DETACH_PAUSE_S)
                else:
                    await self._drop(done, name)
                    break
            else:
                done.put_off.append(name)

    async def _drop(self, done: Round, name: str) -> None:
        await asyncio.to_thread(self._alone, lambda connection: aging.drop(connection, name))
        done.dropped.append(name)


def _nobody(_table: str, _rows: int) -> None:
    """Nobody wants to hear of it."""
