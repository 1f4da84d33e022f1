"""Processes on hosts whose clocks differ, on one PostgreSQL."""

import asyncio

import sqlalchemy as sa

from bellwire.db.engine import open_engine
from bellwire.db.notify import Audience
from bellwire.db.presence import Presence
from bellwire.db.workers import Role
from bellwire.db.writer import Writer
from bellwire.kit.clock import ManualClock, SystemClock
from bellwire.kit.ids import node_of_this_process
from tests.support.postgres import PostgresServer

HOUR_MS = 3_600_000


def test_a_host_whose_clock_is_ahead_does_not_bury_the_others(postgres: PostgresServer, postgres_template: str) -> None:
    """It took them for dead every few seconds, and sent again what they were sending."""
    engine = open_engine(postgres.create_database(postgres_template))
    writer = Writer(engine)
    try:
        asyncio.run(_beat_in_turn(writer))
    finally:
        writer.close()
        engine.dispose()


def test_who_was_taken_for_dead_while_it_slept_makes_no_ids_of_another(engine: sa.Engine) -> None:
    """It went on under its old number, which somebody else had got."""
    writer = Writer(engine)

    async def scene() -> None:
        sleeper, other = (Presence(writer, Role.WORKER, SystemClock(), Audience(), alone=False) for _ in range(2))
        await sleeper.start()
        await sleeper.stop()  # what others do to the dead
        await other.start()
        assert other.me.node == sleeper.me.node
        await sleeper.beat()
        assert sleeper.me.node == node_of_this_process() != other.me.node

    try:
        asyncio.run(scene())
    finally:
        writer.close()


async def _beat_in_turn(writer: Writer) -> None:
    present_ms = SystemClock().now_ms()
    right, ahead, behind = (
        Presence(writer, Role.WORKER, ManualClock(present_ms + off_ms), Audience(), alone=False)
        for off_ms in (0, HOUR_MS, -HOUR_MS)
    )
    for one in (right, ahead, behind):
        await one.start()
    for one in (ahead, behind, right):
        await one.beat()
        assert {other.id for other in one.live} == {right.me.id, ahead.me.id, behind.me.id}
