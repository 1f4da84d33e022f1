"""R3: how fast the database alone takes the rows that one event needs, in commits of 100, through the same driver.

One event: the state of its purchase (chain and period, updated), the event, its outbox row, then the attempt and the end
of the outbox row. The schema and the connection's settings (SQLite: WAL, synchronous FULL; PostgreSQL: durable commits) are Bellwire's; the statements are
`executemany` on the bare driver (sqlite3, psycopg), with no layer and no logic between.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from bellwire.db import tables
from bellwire.db.engine import open_engine
from bellwire.db.migrate import upgrade
from bellwire.db.partitions import prepare
from bellwire.kit.ids import new_row_id
from bench.databases import SQLITE, Database, databases
from bench.sample import body

BATCH = 100
CHAINS = 5_000
NOW = 1_790_000_000_000

Rows = Sequence[tuple[object, ...]]


def measure(seconds: float, database: Database = SQLITE) -> float:
    """Events a second."""
    with tempfile.TemporaryDirectory() as folder, database.new(Path(folder)) as url:
        engine = open_engine(url)
        upgrade(engine)
        prepare(engine, time.time_ns() // 1_000_000)
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            connection.rollback()
            assert driver is not None
            bare = Bare(driver, sqlite=engine.dialect.name == "sqlite")
            _prepare(bare)
            rate = _insert_until(bare, seconds)
        engine.dispose()
    return rate


class Cursor(Protocol):
    def execute(self, statement: str) -> object: ...
    def executemany(self, statement: str, rows: Any) -> object: ...


class Bare:
    """The driver's own connection; statements are written with `?`."""

    def __init__(self, driver: Any, *, sqlite: bool) -> None:
        self._driver = driver
        self._sqlite = sqlite
        self._cursor: Cursor = driver.cursor()

    def begin(self) -> None:
        if self._sqlite:  # the other driver begins by itself
            self._cursor.execute("BEGIN IMMEDIATE")

    def many(self, statement: str, rows: Rows) -> None:
        self._cursor.executemany(statement if self._sqlite else statement.replace("?", "%s"), rows)

    def commit(self) -> None:
        self._driver.commit()


def _insert_until(bare: Bare, seconds: float) -> float:
    started = time.perf_counter()
    number = 0
    while time.perf_counter() - started < seconds:
        numbers = range(number, number + BATCH)
        bare.begin()
        bare.many(UPDATE_CHAIN, [(NOW + n, NOW + n, NOW + n, NOW + n, f"flags {n}", n % CHAINS + 1) for n in numbers])
        bare.many(INSERT_PERIOD, [(n % CHAINS + 1, f"period-{n}", n + 1, NOW, NOW + n) for n in numbers])
        bare.many(INSERT_EVENT, [(n + 1, f"event-{n}", n % CHAINS + 1, NOW, body_of(n)) for n in numbers])
        bare.many(INSERT_OUTBOX, [(n + 1, n + 1, n % CHAINS + 1, NOW) for n in numbers])
        bare.commit()
        bare.begin()
        bare.many(INSERT_ATTEMPT, [(new_row_id(), n + 1, f"event-{n}", NOW, body_of(n)) for n in numbers])
        bare.many("DELETE FROM outbox WHERE id = ?", [(n + 1,) for n in numbers])
        bare.commit()
        number += BATCH
    return number / (time.perf_counter() - started)


_BODIES = [body(number) for number in range(1000)]


def body_of(number: int) -> bytes:
    """A ready-made body: making it is not the database's work."""
    return _BODIES[number % len(_BODIES)]


def _prepare(bare: Bare) -> None:
    bare.begin()
    bare.many(_insert(tables.projects, id="?"), [("proj",)])
    bare.many(
        _insert(tables.customers, project_id="'proj'", id="?", original_app_user_id="?"),
        [(n + 1, f"customer-{n}") for n in range(CHAINS)],
    )
    chain = _insert(
        tables.chains, project_id="'proj'", store="'APP_STORE'", environment="'PRODUCTION'", state="'ACTIVE'",
        product_type="'SUBSCRIPTION'", id="?", store_key="?", customer_id="?",
    )  # fmt: skip
    bare.many(chain, [(n + 1, f"key-{n}", n + 1) for n in range(CHAINS)])
    bare.commit()


def _insert(table: sa.Table, **values: str) -> str:
    """An INSERT of `values` (SQL texts, in the order of their parameters); other required columns get 0, false or ''."""
    for column in table.columns:
        if column.name not in values and not column.nullable and column.server_default is None:
            if isinstance(column.type, sa.Text | sa.LargeBinary):
                values[column.name] = "''"
            elif not column.primary_key:
                values[column.name] = "FALSE" if isinstance(column.type, sa.Boolean) else "0"
    return f"INSERT INTO {table.name} ({', '.join(values)}) VALUES ({', '.join(values.values())})"  # noqa: S608 - constants


UPDATE_CHAIN = (
    "UPDATE chains SET expires_at_ms = ?, access_until_ms = ?, as_of_ms = ?, next_check_at_ms = ?, flags = ?"
    " WHERE id = ?"
)
INSERT_PERIOD = _insert(
    tables.periods, chain_id="?", period_key="?", ordinal="?", purchased_at_ms="?", expires_at_ms="?",
    product_id="'pro_monthly'", period_type="'NORMAL'", price_micros="9990000", currency="'USD'",
)  # fmt: skip
INSERT_EVENT = _insert(
    tables.events, project_id="'proj'", app_id="'app'", type="'RENEWAL'", environment="'PRODUCTION'",
    store="'APP_STORE'", app_user_id="'customer'", price_usd_micros="9990000",
    seq="?", id="?", customer_id="?", event_timestamp_ms="?", payload="?",
)  # fmt: skip
INSERT_OUTBOX = _insert(tables.outbox, integration_id="'intg'", id="?", event_seq="?", customer_id="?", due_at_ms="?")
INSERT_ATTEMPT = _insert(
    tables.attempts, project_id="'proj'", integration_id="'intg'", event_type="'RENEWAL'", attempt="1",
    trigger="'automatic'", outcome="'delivered'", reason="'HTTP 200'", status_code="200", duration_ms="12",
    timings="'{}'", request_method="'POST'", request_url="'http://127.0.0.1/'", request_headers="'{}'",
    response_headers="'{}'", id="?", event_seq="?", event_id="?", started_at_ms="?", request_body="?",
)  # fmt: skip


if __name__ == "__main__":
    with databases() as known:
        for database in known:
            print(f"r3_insert {database.kind} {measure(5, database):.0f} events/s", flush=True)
