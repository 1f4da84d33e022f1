"""How fast facts become state, events and outbox rows: loaded, detected, committed in groups. No wire, no signatures.

Renewals of purchases that are known: what R3 inserts, less the attempt, plus the engine and every lookup.
"""

import asyncio
import time

import uvloop

from bellwire.app import Hub, configure_logging
from bellwire.ingest.units import Applied, ApplyFacts, UnitRunner
from bellwire.serve import spare_the_collector
from bench.databases import SQLITE, Database, databases
from bench.installation import Installation, Stores, installation, stores

AT_ONCE = 100


def measure(of: Stores, count: int, database: Database = SQLITE) -> float:
    """Events a second."""
    with installation(of, "http://127.0.0.1:9/", database) as installed:
        return uvloop.run(_apply(of, installed, count))


async def _apply(of: Stores, installed: Installation, count: int) -> float:
    configure_logging(installed.settings)
    hub = Hub(installed.settings)
    spare_the_collector()
    runner = UnitRunner(hub.config, hub.clock, hub.wall)
    purchases = units(hub, installed, of.bodies("apple_purchases")[:count])
    renewals = units(hub, installed, of.bodies("apple_renewals")[:count])
    await run(hub, runner, purchases)
    started = time.perf_counter()
    events = await run(hub, runner, renewals)
    took_s = time.perf_counter() - started
    await hub.stop()
    if events != len(renewals):
        raise RuntimeError(f"{len(renewals)} renewals gave {events} events")
    return events / took_s


def units(hub: Hub, installed: Installation, bodies: list[bytes]) -> list[ApplyFacts]:
    """What the notifications say, as the doors hand it on."""
    app = hub.config.current().apps[installed.apple.id]
    adapter = hub.adapters[app.store]
    now_ms = hub.clock.now_ms()
    return [
        ApplyFacts(
            app=app,
            snapshots=adapter.decode(app, body).snapshots,
            create=True,
            received_ms=now_ms,
            received_wall_ms=now_ms,
        )
        for body in bodies
    ]


async def run(hub: Hub, runner: UnitRunner, units: list[ApplyFacts]) -> int:
    """Hand units in, `AT_ONCE` at a time, as doors do; how many events they gave."""
    waiting = iter(units)
    events = 0

    async def work() -> None:
        nonlocal events
        for unit in waiting:
            applied = await hub.writer.write(runner.handle, unit)
            if isinstance(applied, Applied):
                events += applied.event_count

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return events


if __name__ == "__main__":
    with stores(3_000, 1) as of, databases() as known:
        for database in known:
            print(f"store {database.kind} {measure(of, 3_000, database):.0f} events/s", flush=True)
