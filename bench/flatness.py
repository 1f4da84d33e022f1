"""Whether an event costs the same however many there were before: store and deliver at 10^3 to 10^7 stored events.

`python -m bench.flatness [sqlite|postgresql]... [--to N]`. For each size the database is filled up by itself (customers,
purchases, periods, events, attempts and inbox entries, all old), then some events are stored and delivered as always. What counts
is the processor's time: the hub's own, and on PostgreSQL also that of the server's processes. Writes flatness.csv and
flatness.svg here. The largest size takes some 25 GB of disk for each database.
"""

import asyncio
import csv
import sys
import time
from pathlib import Path
from typing import NamedTuple

import uvloop

from bellwire.app import Hub, configure_logging
from bellwire.ingest.units import UnitRunner
from bench import store
from bench.backlog import fill_history
from bench.cost import cpu_s
from bench.databases import KINDS, Database, databases
from bench.deliver import waiting
from bench.installation import Installation, Stores, installation, stores
from bench.processes import nginx

SIZES = [10**power for power in range(3, 8)]
EVENTS = 1_500
"""Stored and delivered at each size."""
FOLDER = Path(__file__).parent
UNIT_US = 1e6


class Point(NamedTuple):
    """What one event cost, in microseconds."""

    database: str
    stored: int
    store_cpu_us: float
    store_wall_us: float
    deliver_cpu_us: float
    deliver_wall_us: float


def measure(of: Stores, database: Database, sizes: list[int]) -> list[Point]:
    """One point a size, in one installation that grows."""
    points = []
    bodies = of.bodies("apple_purchases")
    with nginx() as sink, installation(of, sink, database) as installed:
        before = 0
        for number, size in enumerate(sizes):
            fill_history(installed, before + 1, size)
            before = size
            some = bodies[number * EVENTS : (number + 1) * EVENTS]
            points.append(uvloop.run(_measured(installed, database, size, some)))
            print(points[-1], flush=True)
    return points


async def _measured(installed: Installation, database: Database, size: int, bodies: list[bytes]) -> Point:
    configure_logging(installed.settings)
    hub = Hub(installed.settings)
    units = store.units(hub, installed, bodies)
    runner = UnitRunner(hub.config, hub.clock, hub.wall)
    await store.run(hub, runner, units[:100])  # what happens once is not measured
    begun = _clocks(database)
    await store.run(hub, runner, units[100:])
    stored = _clocks(database)
    begun_delivery = _clocks(database)
    async with hub.running(timers=False):
        while await asyncio.to_thread(waiting, hub.read_engine):
            await asyncio.sleep(0.02)
        delivered = _clocks(database)
    count = len(units) - 100
    return Point(
        database.kind,
        size,
        (stored[0] - begun[0]) / count * UNIT_US,
        (stored[1] - begun[1]) / count * UNIT_US,
        (delivered[0] - begun_delivery[0]) / len(units) * UNIT_US,
        (delivered[1] - begun_delivery[1]) / len(units) * UNIT_US,
    )


def _clocks(database: Database) -> tuple[float, float]:
    """(processor time of this process and of the database server, wall time)"""
    return time.process_time() + sum(map(cpu_s, database.processes)), time.perf_counter()


def plot(points: list[Point], file: Path) -> None:
    """Cost by size, both axes logarithmic: flat is flat."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for axis, what in zip(axes, ("store", "deliver"), strict=True):
        for kind in dict.fromkeys(point.database for point in points):
            mine = [point for point in points if point.database == kind]
            cost = [getattr(point, f"{what}_cpu_us") for point in mine]
            axis.plot([point.stored for point in mine], cost, marker="o", label=kind)
        axis.set(xscale="log", yscale="log", title=f"{what}: processor time an event", xlabel="events stored before")
        axis.grid(visible=True, which="both", alpha=0.25)
        axis.set_ylim(bottom=50, top=5_000)
    axes[0].set_ylabel("microseconds")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Measure, write the table, draw the picture."""
    kinds = [kind for kind in KINDS if kind in sys.argv] or list(KINDS)
    most = int(sys.argv[sys.argv.index("--to") + 1]) if "--to" in sys.argv else SIZES[-1]
    sizes = [size for size in SIZES if size <= most]
    file = FOLDER / "flatness.csv"
    points = _read(file, without=kinds)
    with stores(EVENTS * len(sizes), 1) as of, databases(kinds) as known:
        for database in known:
            points += measure(of, database, sizes)
    with file.open("w") as out:
        csv.writer(out).writerows([Point._fields, *(_rounded(point) for point in points)])
    plot(points, FOLDER / "flatness.svg")
    for kind in kinds:
        mine = [point for point in points if point.database == kind]
        for what in ("store", "deliver"):
            cost = [getattr(point, f"{what}_cpu_us") for point in mine]
            print(f"ratio flat_{what}.{kind} {cost[-1] / cost[0]:.2f}")


def _read(file: Path, *, without: list[str]) -> list[Point]:
    if not file.exists():
        return []
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    found = [
        Point(row["database"], int(row["stored"]), *(float(row[name]) for name in Point._fields[2:])) for row in rows
    ]
    return [point for point in found if point.database not in without]


def _rounded(point: Point) -> list[object]:
    return [point.database, point.stored, *(f"{value:.0f}" for value in point[2:])]


if __name__ == "__main__":
    main()
