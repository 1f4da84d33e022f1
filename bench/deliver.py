"""How fast a full outbox drains: claimed, sent to a C sink, classified, recorded. All of delivery, nothing else."""

import asyncio
import time

import sqlalchemy as sa
import uvloop

from bellwire.app import Hub, configure_logging
from bellwire.db import tables
from bellwire.serve import spare_the_collector
from bench.backlog import fill_backlog
from bench.databases import SQLITE, Database, databases
from bench.installation import Installation, Stores, installation, stores
from bench.processes import nginx
from bench.sample import BODY_BYTES

POLL_S = 0.02
LONGEST_S = 120


def measure(of: Stores, count: int, database: Database = SQLITE) -> float:
    """Deliveries a second over `count` rows of as many customers."""
    with nginx() as sink, installation(of, sink, database) as installed:
        fill_backlog(installed, count, size=BODY_BYTES)
        return uvloop.run(_drain(installed, count))


async def _drain(installed: Installation, count: int) -> float:
    configure_logging(installed.settings)
    hub = Hub(installed.settings)
    spare_the_collector()
    started = time.perf_counter()
    async with hub.running(timers=False):
        while await asyncio.to_thread(waiting, hub.read_engine):
            if time.perf_counter() - started > LONGEST_S:
                raise RuntimeError(f"the outbox was not empty after {LONGEST_S} s")
            await asyncio.sleep(POLL_S)
        took_s = time.perf_counter() - started
        delivered = await asyncio.to_thread(attempts_delivered, hub.read_engine)
    if delivered != count:
        raise RuntimeError(f"{delivered} of {count} were delivered")
    return count / took_s


def waiting(engine: sa.Engine) -> int:
    """Whether the outbox holds anything: 1 or 0."""
    with engine.connect() as connection:
        return connection.execute(
            sa.select(sa.func.count()).select_from(sa.select(tables.outbox.c.id).limit(1).subquery())
        ).scalar_one()


def attempts_delivered(engine: sa.Engine) -> int:
    """How many attempts ended well."""
    with engine.connect() as connection:
        counted = sa.select(sa.func.count()).where(tables.attempts.c.outcome == "delivered")
        return connection.execute(counted).scalar_one()


if __name__ == "__main__":
    with stores(10, 1) as of, databases() as known:
        for database in known:
            print(f"deliver {database.kind} {measure(of, 5_000, database):.0f} deliveries/s", flush=True)
