"""From the store's notification to the tool's answer: the whole hub in its own process, on one core and the rest.

App Store renewals of purchases that are known: verified, kept, worked through, committed, delivered to a C sink.
Measured from the first request in to the last delivery recorded.
"""

import asyncio
import time

import aiohttp
import sqlalchemy as sa
import uvloop

from bellwire.db.engine import open_engine, reader
from bench.databases import SQLITE, Database, databases
from bench.deliver import attempts_delivered
from bench.installation import CONCURRENCY, Stores, hub_process, installation, stores
from bench.processes import nginx

POLL_S = 0.05
LONGEST_S = 180


def measure(of: Stores, count: int, database: Database = SQLITE) -> float:
    """Events a second."""
    with nginx() as sink, installation(of, sink, database) as installed, hub_process(installed) as hub:
        engine = reader(open_engine(installed.settings.resolved_database_url()))
        address = hub.url + installed.notification_path(installed.apple)
        deliver_all(address, of.bodies("apple_purchases")[:count], engine, expected=count)
        rate = deliver_all(address, of.bodies("apple_renewals")[:count], engine, expected=2 * count)
        engine.dispose()
    return rate


def deliver_all(address: str, bodies: list[bytes], engine: sa.Engine, *, expected: int) -> float:
    """Post notifications and wait until `expected` deliveries are recorded: events a second."""
    started = time.perf_counter()
    uvloop.run(_post(address, bodies))
    while attempts_delivered(engine) < expected:
        if time.perf_counter() - started > LONGEST_S:
            raise RuntimeError(f"{attempts_delivered(engine)} of {expected} were delivered in {LONGEST_S} s")
        time.sleep(POLL_S)
    return len(bodies) / (time.perf_counter() - started)


async def _post(address: str, bodies: list[bytes]) -> None:
    waiting = iter(bodies)

    async def work(session: aiohttp.ClientSession) -> None:
        for body in waiting:
            async with session.post(address, data=body, headers={"Content-Type": "application/json"}) as answer:
                await answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"the hub answered {answer.status}")

    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(work(session) for _ in range(CONCURRENCY)))


if __name__ == "__main__":
    with stores(1_000, 1) as of, databases() as known:
        for database in known:
            print(f"e2e {database.kind} {measure(of, 1_000, database):.0f} events/s", flush=True)
