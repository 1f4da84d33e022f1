"""From commit to the first send while the hub is half as busy as it can be: 99 of 100 events wait no longer than this."""

import asyncio
import time

import aiohttp
import sqlalchemy as sa
import uvloop

from bellwire.db import tables
from bellwire.db.engine import open_engine, reader
from bench import e2e
from bench.databases import Database, databases
from bench.deliver import attempts_delivered
from bench.installation import CONCURRENCY, Stores, hub_process, installation, stores
from bench.processes import nginx

WARM = 300
"""Events that go before, so that nothing is measured that happens once."""
LONGEST_S = 60


def measure(of: Stores, database: Database, rate: float, count: int) -> float:
    """The 99th percentile in ms, with `count` events at `rate` a second."""
    with nginx() as sink, installation(of, sink, database) as installed, hub_process(installed) as hub:
        engine = reader(open_engine(installed.settings.resolved_database_url()))
        address = hub.url + installed.notification_path(installed.apple)
        bodies = of.bodies("apple_purchases")
        if WARM + count > len(bodies):
            raise RuntimeError(f"{WARM + count} notifications are wanted and {len(bodies)} there")
        e2e.deliver_all(address, bodies[:WARM], engine, expected=WARM)
        uvloop.run(_post(address, bodies[WARM : WARM + count], rate))
        deadline = time.monotonic() + LONGEST_S
        while attempts_delivered(engine) < WARM + count:
            if time.monotonic() > deadline:
                raise RuntimeError("not everything was delivered")
            time.sleep(0.05)
        waits = _waits_ms(engine)[-count:]
        engine.dispose()
    return sorted(waits)[int(len(waits) * 0.99)]


def _waits_ms(engine: sa.Engine) -> list[int]:
    """Of all events, in order of their commits."""
    query = (
        sa.select(tables.attempts.c.started_at_ms - tables.events.c.committed_at_ms)
        .join(tables.events, tables.events.c.seq == tables.attempts.c.event_seq)
        .where(tables.attempts.c.attempt == 1)
        .order_by(tables.events.c.seq)
    )
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())


async def _post(address: str, bodies: list[bytes], rate: float) -> None:
    """One after the other at its time, whether or not the one before was answered."""
    started = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as session:

        async def post(number: int, body: bytes) -> None:
            await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            async with session.post(address, data=body, headers={"Content-Type": "application/json"}) as answer:
                await answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"the hub answered {answer.status}")

        await asyncio.gather(*(post(number, body) for number, body in enumerate(bodies)))


if __name__ == "__main__":
    with stores(2_500) as of, databases() as known:
        for database in known:
            half = e2e.measure(of, 1_000, database) / 2
            print(f"p99 {database.kind}: {measure(of, database, half, 1_500)} ms at {half:.0f} events/s", flush=True)
