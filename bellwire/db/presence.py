"""This process among the others on its database: it registers, says that it lives, and knows which jobs are its own."""

import asyncio
import os
import socket
from importlib.metadata import version

import sqlalchemy as sa
import structlog
from msgspec.structs import replace

from bellwire.db.notify import Audience
from bellwire.db.workers import HEARTBEAT_MS, Role, Worker, beat, chosen, heartbeat_ms, leave, live_workers, register
from bellwire.db.writer import Writer
from bellwire.kit.clock import Clock
from bellwire.kit.ids import node_of_this_process, use_node

log = structlog.get_logger()


class Presence:
    """One per process. `live` are the processes of which is known that they live, this one among them."""

    def __init__(self, writer: Writer, role: Role, wall: Clock, audience: Audience, *, alone: bool) -> None:
        self._writer = writer
        self._wall = wall
        self._alone = alone
        now_ms = wall.now_ms()
        self.me = Worker(
            id=audience.me,
            node=node_of_this_process(),
            role=role,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=version("bellwire"),
            started_at_ms=now_ms,
            seen_at_ms=now_ms,
        )
        self._audience = audience
        self.live: tuple[Worker, ...] = (self.me,)

    @property
    def working(self) -> int:
        """How many processes share what one may do in all; at least one."""
        return max(1, sum(one.role.works for one in self.live))

    @property
    def works(self) -> bool:
        """Whether this process is one of them."""
        return self.me.role.works

    def mine(self, key: str) -> bool:
        """Whether a job that only one process shall do is this one's (`workers.chosen`)."""
        return chosen(key, self.live) == self.me.id

    async def start(self) -> None:
        """Register, and learn who else is there."""

        def work(connection: sa.Connection) -> tuple[Worker, list[Worker]]:
            now_ms = heartbeat_ms(connection, self._wall.now_ms())
            me = register(connection, replace(self.me, started_at_ms=now_ms, seen_at_ms=now_ms), alone=self._alone)
            return me, live_workers(connection, now_ms)

        self.me, live = await self._writer.change(work)
        use_node(self.me.node)
        self._see(live)

    async def run(self) -> None:
        """Say that this process lives until cancelled; it goes on while the database is away."""
        while True:
            await asyncio.sleep(HEARTBEAT_MS / 1000)
            try:
                await self.beat()
            except sa.exc.SQLAlchemyError as error:
                log.warning("heartbeat.failed", reason=type(error).__name__)

    async def beat(self) -> None:
        """Say it once, and learn who else is there."""

        def work(connection: sa.Connection) -> list[Worker]:
            return beat(connection, self.me, heartbeat_ms(connection, self._wall.now_ms()))

        live = await self._writer.change(work)
        me = next(one for one in live if one.id == self.me.id)
        if me.node != self.me.node:  # taken for dead while it slept, and another has its number now
            use_node(me.node)
        self.me = me
        self._see(live)

    async def stop(self) -> None:
        """Go off the record; a database that is away will age us out."""
        try:
            await self._writer.change(lambda connection: leave(connection, self.me.id))
        except sa.exc.SQLAlchemyError as error:
            log.warning("leaving.failed", reason=type(error).__name__)

    def _see(self, live: list[Worker]) -> None:
        known = {one.id for one in self.live}
        self.live = tuple(live)
        self._audience.others = any(one.id != self.me.id for one in live)
        if known != {one.id for one in live}:
            log.info("workers.changed", live=len(live), working=sum(one.role.works for one in live))
        if not any(one.role.works for one in live):
            log.warning("workers.none", why="nothing is delivered until a process with the role worker or all runs")
