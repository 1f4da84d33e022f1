"""SQLite is opened as durable and as concurrent as the architecture promises (D1)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bellwire.db.engine import open_engine, reader


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'bellwire.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("CREATE TABLE child (parent_id INTEGER REFERENCES parent (id))")
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),  # FULL
        ("foreign_keys", 1),
        ("busy_timeout", 30_000),
        ("cache_size", -65_536),
        ("temp_store", 2),  # MEMORY
        ("wal_autocheckpoint", 4000),
    ],
)
def test_pragmas_hold_on_every_connection(sqlite: sa.Engine, pragma: str, value: str | int) -> None:
    with sqlite.connect() as first, reader(sqlite).connect() as second:
        for connection in (first, second):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() == value
            connection.rollback()


def test_foreign_keys_are_enforced(sqlite: sa.Engine) -> None:
    with pytest.raises(sa.exc.IntegrityError), sqlite.begin() as connection:
        connection.exec_driver_sql("INSERT INTO child VALUES (1)")


def test_write_transaction_takes_the_lock_when_it_begins(sqlite: sa.Engine) -> None:
    with sqlite.begin(), sqlite.pool.connect() as other:
        other.execute("PRAGMA busy_timeout=0")
        with pytest.raises(Exception, match="locked"):
            other.execute("BEGIN IMMEDIATE")


def test_readers_neither_lock_nor_wait(sqlite: sa.Engine) -> None:
    with reader(sqlite).connect() as reading:
        assert reading.exec_driver_sql("SELECT count(*) FROM parent").scalar_one() == 0
        with sqlite.begin() as writing:  # not kept out by the open read
            writing.exec_driver_sql("INSERT INTO parent VALUES (1)")
            with reader(sqlite).connect() as second:  # not kept out by the open write, and not told of it
                assert second.exec_driver_sql("SELECT count(*) FROM parent").scalar_one() == 0
        assert reading.exec_driver_sql("SELECT count(*) FROM parent").scalar_one() == 0  # still its own moment
    with reader(sqlite).connect() as later:
        assert later.exec_driver_sql("SELECT count(*) FROM parent").scalar_one() == 1


def test_rolled_back_writes_and_savepoints_leave_nothing(sqlite: sa.Engine) -> None:
    with sqlite.connect() as connection:
        transaction = connection.begin()
        connection.exec_driver_sql("INSERT INTO parent VALUES (1)")
        savepoint = connection.begin_nested()
        connection.exec_driver_sql("INSERT INTO parent VALUES (2)")
        savepoint.rollback()
        assert list(connection.exec_driver_sql("SELECT id FROM parent").scalars()) == [1]
        transaction.rollback()
    with reader(sqlite).connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM parent").scalar_one() == 0


def test_table_changes_roll_back_too(sqlite: sa.Engine) -> None:
    with sqlite.connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql("CREATE TABLE later (id INTEGER)")
        transaction.rollback()
    assert "later" not in sa.inspect(sqlite).get_table_names()
