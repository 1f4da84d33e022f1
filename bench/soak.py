"""Whether storage levels off, and what letting old rows go costs: months of a hub's life, with time made up.

`python -m bench.soak [sqlite|postgresql]... [--days N]`. Each day has the same load of attempts, inbox entries and their bytes; attempts
are kept 30 days and bodies 60. A unit of work is committed all the while, as a door would: the longest it had to wait
while a day's rows went is printed beside the size of the database. At the end, on PostgreSQL: a day dropped against a day deleted.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from bellwire.db.aging import DAY_MS, Policy
from bellwire.db.engine import open_engine
from bellwire.db.partitions import ATTEMPTS, moment, prepare
from bellwire.db.retention import Retention
from bellwire.db.writer import Writer
from bellwire.kit.clock import ManualClock
from bellwire.kit.ids import row_id_at
from bench.backlog import fill_days
from bench.databases import KINDS, Database, databases
from bench.installation import Installation, Stores, installation, stores

DAYS = 120
A_DAY = 20_000
"""Attempts, and as many messages."""
POLICY = Policy(attempts_ms=30 * DAY_MS, bodies_ms=60 * DAY_MS)


def measure(of: Stores, database: Database, days: int) -> None:
    """Print a line for every tenth day, and what came of it."""
    with installation(of, "http://127.0.0.1:9/", database) as installed:
        engine = open_engine(installed.settings.resolved_database_url())
        writer = Writer(engine)
        clock = ManualClock(1_790_000_000_000)
        retention = Retention(engine, writer, clock, POLICY)
        sizes: list[float] = []
        longest_s = 0.0
        for day in range(1, days + 1):
            clock.advance_ms(DAY_MS)
            longest_s = max(longest_s, asyncio.run(_round(retention, writer)))
            fill_days(installed, A_DAY, clock.now_ms(), day)
            sizes.append(_megabytes(engine, installed))
            if day % 10 == 0:
                print(
                    f"soak {database.kind} day {day:3}: {sizes[-1]:7.1f} MB; longest wait of a commit {longest_s * 1000:.0f} ms",
                    flush=True,
                )
        writer.close()
        print(f"ratio soak_growth.{database.kind} {max(sizes[-20:]) / max(sizes[-50:-30]):.3f}")
        if database.server is not None:
            _drop_against_delete(engine, clock.now_ms())
        engine.dispose()


async def _round(retention: Retention, writer: Writer) -> float:
    """One round; the longest that a unit of work had to wait for its commit meanwhile, in seconds."""
    done = asyncio.create_task(retention.round())
    longest_s = 0.0
    while not done.done():
        begun_s = time.perf_counter()
        await writer.change(
            lambda connection: connection.execute(sa.text("UPDATE projects SET created_at_ms = 1")).rowcount
        )
        longest_s = max(longest_s, time.perf_counter() - begun_s)
        await asyncio.sleep(0.002)
    await done
    return longest_s


def _megabytes(engine: sa.Engine, installed: Installation) -> float:
    if engine.dialect.name == "sqlite":
        return sum(file.stat().st_size for file in Path(installed.settings.data_dir).glob("bellwire.db*")) / 1e6
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()) / 1e6


def _drop_against_delete(engine: sa.Engine, now_ms: int) -> None:
    """The same number of rows, one day by either way."""
    prepare(engine, now_ms)
    first, second = (moment(now_ms - days * DAY_MS) for days in (3, 5))

    def drop(connection: sa.Connection) -> None:
        name = ATTEMPTS.name(ATTEMPTS.begin(first))
        connection.exec_driver_sql(f"ALTER TABLE attempts DETACH PARTITION {name}")
        connection.exec_driver_sql(f"DROP TABLE {name}")

    def delete(connection: sa.Connection) -> None:
        begin = ATTEMPTS.begin(second)
        low, high = (row_id_at(int(at.timestamp() * 1000)) for at in (begin, ATTEMPTS.after(begin)))
        connection.exec_driver_sql(f"DELETE FROM attempts WHERE id >= {low} AND id < {high}")  # noqa: S608 - numbers

    for name, work in (("drop", drop), ("delete", delete)):
        took_s, written = _cost(engine, work)
        print(f"a day of {A_DAY:,} attempts, {name}: {took_s * 1000:.0f} ms, {written / 1e6:.2f} MB of WAL")


def _cost(engine: sa.Engine, work: Callable[[sa.Connection], None]) -> tuple[float, int]:
    with engine.connect() as connection:
        before = connection.exec_driver_sql("SELECT pg_current_wal_lsn()").scalar_one()
    begun_s = time.perf_counter()
    with engine.begin() as connection:
        work(connection)
    took_s = time.perf_counter() - begun_s
    with engine.connect() as connection:
        query = sa.text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), CAST(:before AS pg_lsn))")
        return took_s, int(connection.execute(query, {"before": before}).scalar_one())


def main() -> None:
    """See the module."""
    kinds = [kind for kind in KINDS if kind in sys.argv] or list(KINDS)
    days = int(sys.argv[sys.argv.index("--days") + 1]) if "--days" in sys.argv else DAYS
    with stores(1, 1) as of, databases(kinds) as known:
        for database in known:
            measure(of, database, days)


if __name__ == "__main__":
    main()
