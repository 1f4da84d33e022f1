"""Opening a database: SQLite in WAL mode with full sync, or PostgreSQL, behind one SQLAlchemy engine."""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from bellwire.db.postgres import DatabaseUnusable, open_postgres
from bellwire.kit.lockfile import Held, LockFile

_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")


def open_engine(url: str, *, connections: int = 10, application: str = "bellwire") -> sa.Engine:
    """Connect lazily to `url`. SQLite: WAL, `synchronous=FULL` (accepted means durable), writes begin IMMEDIATE.
    PostgreSQL: `connections` at most, which the server's lists show as `application`.

    Errors tell statements without their values, which may be customers' data: errors end up in logs.
    Raises DatabaseUnusable for another kind of database, or when a driver is missing.
    """
    parsed = sa.make_url(url)
    if parsed.drivername in _POSTGRES:
        return open_postgres(parsed, connections=connections, application=application)
    if parsed.get_backend_name() != "sqlite":
        raise DatabaseUnusable(
            f"BELLWIRE_DATABASE_URL begins with {parsed.drivername}:// and must begin with postgresql:// or sqlite:///"
        )
    if parsed.database and parsed.database != ":memory:":
        _create_private(Path(parsed.database))
    engine = sa.create_engine(parsed, connect_args={"timeout": 30, "check_same_thread": False}, hide_parameters=True)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_immediate)
    return engine


class DatabaseBusy(Exception):
    """Another process works on this SQLite file; the message says what to do."""


def claim_file(engine: sa.Engine) -> LockFile | None:
    """Take a SQLite file for one hub, until it is released or the process ends. None for PostgreSQL, which is shared.

    Raises DatabaseBusy. Commands do not claim: SQLite itself keeps their short transactions apart.
    """
    name = engine.url.database
    if engine.dialect.name != "sqlite" or not name or name == ":memory:":
        return None
    try:
        return LockFile(Path(f"{name}.lock"))
    except Held as error:
        raise DatabaseBusy(
            f"a hub is running on {name} already ({error}): stop it first. "
            "Several processes can share a PostgreSQL database: see BELLWIRE_DATABASE_URL and `bellwire move-database`"
        ) from error


def reader(engine: sa.Engine) -> sa.Engine:
    """The same pool for reading: on SQLite its transactions take no write lock."""
    return engine.execution_options(bellwire_read_only=True)


def _create_private(file: Path) -> None:
    """Make a missing database file readable by its owner alone; what SQLite puts beside it follows suit."""
    with contextlib.suppress(FileExistsError, FileNotFoundError):  # without its folder SQLite says what is wrong
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:  # pyrefly: ignore[explicit-any]
    connection.isolation_level = None  # SQLAlchemy's begin event below says BEGIN, not the driver
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=30000",
        "cache_size=-65536",
        "temp_store=MEMORY",
        "wal_autocheckpoint=4000",
        "journal_size_limit=67108864",  # what a long reader made the WAL grow by is given back
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: sa.Connection) -> None:
    read_only = connection.get_execution_options().get("bellwire_read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
