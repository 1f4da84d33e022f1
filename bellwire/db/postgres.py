"""What is special about PostgreSQL: how it is connected to, what it must be, and its errors in words."""

import time
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import event

log = structlog.get_logger()

OLDEST = 15
"""The major version from which on the hub runs and is tested."""
_TRUSTED_S = 1.0
"""A connection that lay idle for longer is asked whether it is still there before it is used."""
_CONNECT = {
    "connect_timeout": "5",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
    # A process that hangs in the middle of a transaction must not hold its locks for ever.
    "options": "-c statement_timeout=60s -c lock_timeout=20s -c idle_in_transaction_session_timeout=60s",
}
_NO_RIGHTS = "42501"
_CONFLICTS = frozenset({"23505", "40001", "40P01", "55P03"})
"""Unique violation, serialization failure, deadlock, lock not available."""


class DatabaseUnusable(Exception):
    """The database cannot be worked with. The message says what to check, and never a password."""


def open_postgres(url: sa.URL, *, connections: int, application: str) -> sa.Engine:
    """Connect lazily, with at most so many connections; what the URL itself says goes before our defaults.

    Raises DatabaseUnusable when the driver is missing.
    """
    defaults = _CONNECT | {"application_name": application}
    try:
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args={name: value for name, value in defaults.items() if name not in url.query},
            hide_parameters=True,
            max_overflow=0,
            pool_size=connections,
            pool_timeout=10,
        )
    except ImportError as error:
        raise DatabaseUnusable(
            "PostgreSQL needs the driver psycopg, which is not installed: install bellwire[postgres]"
        ) from error
    event.listen(engine, "checkout", _check_idle)
    event.listen(engine, "checkin", _note_use)
    return engine


def check_server(engine: sa.Engine) -> None:
    """Connect once, and see that it is a server that we can work with. Raises DatabaseUnusable. SQLite is no server."""
    if engine.dialect.name == "sqlite":
        return
    try:
        with engine.connect() as connection:
            version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
            encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
            synchronous = connection.exec_driver_sql("SHOW synchronous_commit").scalar_one()
    except sa.exc.DBAPIError as error:
        raise DatabaseUnusable(in_words(error, engine.url)) from error
    if version // 10_000 < OLDEST:
        raise DatabaseUnusable(
            f"{place(engine.url)} is PostgreSQL {version // 10_000}; Bellwire needs {OLDEST} or newer: upgrade the server"
        )
    if encoding != "UTF8":
        raise DatabaseUnusable(
            f"{place(engine.url)} has the encoding {encoding}: make the database with ENCODING 'UTF8'"
        )
    if synchronous == "off":
        log.warning(
            "database.not_durable",
            why="synchronous_commit is off: a crash of the server loses what was answered as accepted",
        )


def check_rights(connection: sa.Connection) -> None:
    """Before tables are made. Raises DatabaseUnusable when the user may not make them."""
    user, schema, allowed = connection.exec_driver_sql(
        "SELECT current_user, current_schema(), has_schema_privilege(current_schema(), 'CREATE')"
    ).one()
    if not allowed:
        named = "the schema in its search path" if schema is None else f"schema {schema}"
        raise DatabaseUnusable(
            f"the user {user} of {place(connection.engine.url)} may not make tables in {named}: make it the owner of "
            f"the database, or GRANT CREATE, USAGE ON SCHEMA {schema or 'public'} TO {user}"
        )


def place(url: sa.URL) -> str:
    """Which database it is, without the password."""
    host = url.host or next(iter(url.normalized_query.get("host", ())), "the local socket")
    return f"the database {url.database or ''} at {host}{f':{url.port}' if url.port else ''}"


def in_words(error: sa.exc.DBAPIError, url: sa.URL) -> str:
    """What went wrong and what to check; the server's own first line is in it (it never has the password)."""
    lines = str(error.orig).strip().splitlines()
    reason = lines[0] if lines else type(error.orig).__name__
    if lacks_rights(error):
        user = f"the user {url.username}" if url.username else "the user"
        return f"{place(url)}: {reason}. Give {user} rights on the database's tables, or make it their owner"
    return (
        f"{place(url)} cannot be used: {reason}. Is the server running and reachable from here, does the database "
        "exist, and are user and password in BELLWIRE_DATABASE_URL right?"
    )


def lacks_rights(error: sa.exc.DBAPIError) -> bool:
    """The user may not do this."""
    return sqlstate(error) == _NO_RIGHTS


def is_lock_timeout(error: sa.exc.DBAPIError) -> bool:
    """A lock could not be had within `lock_timeout`."""
    return sqlstate(error) == "55P03"


def is_away(error: BaseException | None) -> bool:
    """The database cannot be asked at the moment: it restarts, is out of reach, or has no room. SQLite too."""
    return isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError) or (
        isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
    )


def sqlstate(error: sa.exc.DBAPIError) -> str | None:
    """The server's code for what went wrong; None where it said nothing (connection lost, or SQLite)."""
    found = getattr(error.orig, "sqlstate", None)
    return found if isinstance(found, str) else None


def is_conflict(error: BaseException | None) -> bool:
    """Another process was at the same rows at the same moment: the same work, done again, sees what it did."""
    return isinstance(error, sa.exc.DBAPIError) and sqlstate(error) in _CONFLICTS


def _note_use(_connection: object, record: Any) -> None:  # pyrefly: ignore[explicit-any]
    record.info["used_s"] = time.monotonic()


def _check_idle(connection: Any, record: Any, _proxy: object) -> None:  # pyrefly: ignore[explicit-any]
    """Cheaper than asking before each use: under load nothing is asked."""
    used_s = record.info.get("used_s")
    if used_s is None or time.monotonic() - used_s < _TRUSTED_S:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except Exception as error:
        raise sa.exc.InvalidatePoolError from error  # this and all of the same age are made anew


def prefer_indexes(connection: sa.Connection) -> None:
    """Have this connection walk a table only where no index serves.

    Queues are empty most of the time. When the server has looked at one that was, it takes it for empty afterwards and
    would go through all of a backlog at every commit. What the committer asks for is always a few rows by their keys;
    where a small table is walked all the same, the cost it is then given must not have the statement compiled.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET enable_seqscan = off")
        connection.exec_driver_sql("SET jit = off")
        connection.commit()
