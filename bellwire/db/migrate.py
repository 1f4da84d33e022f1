"""Bringing a database's schema up to date, from the program itself: users need no alembic.ini.

A revision is `pre` (safe while the version before it runs) or `post` (once this version is everywhere); its file's name
says which: `NNNN_pre_what.py`. A process that starts beside others applies `pre` revisions only; `post` ones wait for
`bellwire migrate --post`, or for a process that starts alone. A `post` revision before a `pre` one belongs to an earlier
version: it must have been applied before the later version starts beside others.

For developers: `alembic revision --autogenerate -m "pre add x"` writes the next file in `migrations/versions/`
(settings are in `pyproject.toml`).
"""

import functools
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import sqlalchemy as sa
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from bellwire.db.dialect import insert
from bellwire.db.postgres import check_rights, is_lock_timeout
from bellwire.db.tables import schema_revisions, workers
from bellwire.db.workers import heartbeat_ms, live_workers

log = structlog.get_logger()

MOVING = "moving"
"""In place of a revision while `bellwire move-database` fills a database: no hub may start on it."""
_FOLDER = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x62656C6C  # any number that nobody else locks
_LOCK_TIMEOUT = "4s"
"""Whoever waits for a table makes all others wait behind it: rather later again."""
_RETRY_S = (1.0, 2.0, 4.0, 8.0, 15.0)

_Plan = Callable[[sa.Connection], list[str]]


class MigrationRefused(Exception):
    """The database cannot be brought up to date by this version; the message says what to do."""


def upgrade(engine: sa.Engine, *, post: bool = True) -> list[str]:
    """Apply what is missing, in one transaction, and return the revisions applied (none = it was up to date).

    Without `post` the `post` revisions at the end are left. Several processes may call this at once: one works, the
    others wait and find nothing to do. Raises MigrationRefused for a database of a newer Bellwire, and when a table
    stays locked.
    """
    return _patiently(engine, lambda connection: _missing(connection) if post else needed_in(connection))


def upgrade_at_start(engine: sa.Engine) -> list[str]:
    """What a process that starts applies: everything where it is alone, else what is safe for those that run.

    Raises MigrationRefused when those that run stand in the way.
    """

    def plan(connection: sa.Connection) -> list[str]:
        missing = _missing(connection)
        if not missing or not _others(connection):
            return missing
        safe = needed_in(connection)
        old = [revision for revision in safe if _kinds()[revision] == "post"]
        if old:
            raise MigrationRefused(
                f"the database waits for {', '.join(old)} of an earlier version, which are not safe while processes of it "
                "run: run `bellwire migrate --post` of the version that runs, or stop all processes and start again"
            )
        if len(safe) < len(missing):
            log.warning("migrations.wait", revisions=missing[len(safe) :], why="run `bellwire migrate --post` later")
        return safe

    return _patiently(engine, plan)


def finish_upgrade(engine: sa.Engine) -> list[str]:
    """Apply everything, `post` revisions too. Raises MigrationRefused while a process of another version runs."""

    def plan(connection: sa.Connection) -> list[str]:
        missing = _missing(connection)
        strangers = [name for name, its in _others(connection).items() if its != version("bellwire")]
        if missing and strangers:
            raise MigrationRefused(
                f"processes of another version than {version('bellwire')} run ({', '.join(strangers)}): `post` revisions "
                "are safe only when all run this one"
            )
        return missing

    return _patiently(engine, plan)


def current(engine: sa.Engine) -> str | None:
    """The revision that the database is at; None = it has no schema yet."""
    with engine.execution_options(bellwire_read_only=True).connect() as connection:
        return _current(connection)


def pending(engine: sa.Engine) -> list[str]:
    """Revisions that `upgrade` would apply, oldest first. Raises MigrationRefused for a database of a newer Bellwire."""
    with engine.execution_options(bellwire_read_only=True).connect() as connection:
        return _missing(connection)


def needed(engine: sa.Engine) -> list[str]:
    """Those of `pending` without which this version cannot work: not the `post` ones at the end."""
    with engine.execution_options(bellwire_read_only=True).connect() as connection:
        return needed_in(connection)


def needed_in(connection: sa.Connection) -> list[str]:
    """`needed`, in a transaction."""
    missing = _missing(connection)
    while missing and _kinds()[missing[-1]] == "post":
        missing.pop()
    return missing


def runs_on(connection: sa.Connection) -> list[str]:
    """The processes that run on the database."""
    return list(_others(connection))


def is_usable(connection: sa.Connection) -> bool:
    """Whether the schema is one that this version works on, or a newer one: during a rolling upgrade the old version
    works on beside the new. One tiny query."""
    present = _current(connection)
    return present not in (None, MOVING) and present not in _too_old(_FOLDER)


@functools.cache
def _too_old(folder: Path) -> frozenset[str]:
    """Revisions after which this version needs another one."""
    known = list(_history(folder))
    while len(known) > 1 and _history(folder)[known[-1]] == "post":
        known.pop()
    return frozenset(known[:-1])


def alembic_config(connection: sa.Connection | None = None) -> Config:
    """What Alembic's own commands need to work on `connection`."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _patiently(engine: sa.Engine, plan: _Plan) -> list[str]:
    for wait_s in _RETRY_S:
        try:
            return _apply(engine, plan)
        except sa.exc.OperationalError as error:
            if not is_lock_timeout(error):
                raise
            log.warning("migration.waits", why="a table is in use", again_in_s=wait_s)
        time.sleep(wait_s)
    try:
        return _apply(engine, plan)
    except sa.exc.OperationalError as error:
        if not is_lock_timeout(error):
            raise
        raise MigrationRefused(
            "a table that a migration changes stays in use: end long transactions (pg_stat_activity shows them), then "
            "try again; nothing was changed"
        ) from error


def _apply(engine: sa.Engine, plan: _Plan) -> list[str]:
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        wanted = plan(connection)
        if wanted:
            if connection.dialect.name == "postgresql":
                check_rights(connection)
            command.upgrade(alembic_config(connection), wanted[-1])
            _record(connection, wanted)
    return wanted


def _record(connection: sa.Connection, applied: list[str]) -> None:
    """In the log by which an older version knows whether it may still start."""
    if not sa.inspect(connection).has_table(schema_revisions.name):
        return  # a history that does not go so far
    rows = [
        {
            "revision": revision,
            "kind": _kinds()[revision],
            "version": version("bellwire"),
            "applied_at_ms": time.time_ns() // 1_000_000,
        }
        for revision in applied
    ]
    connection.execute(insert(connection, schema_revisions).on_conflict_do_nothing(), rows)


def _others(connection: sa.Connection) -> dict[str, str]:
    """Processes that run on the database, with their versions. SQLite has at most one, which is not running now."""
    if connection.dialect.name == "sqlite" or not sa.inspect(connection).has_table(workers.name):
        return {}
    live = live_workers(connection, heartbeat_ms(connection, time.time_ns() // 1_000_000))
    return {f"{one.role} {one.host}/{one.pid}": one.version for one in live}


def _current(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _kinds() -> dict[str, str]:
    """`pre` or `post` of every revision of this version, oldest first."""
    return _history(_FOLDER)


@functools.cache
def _history(folder: Path) -> dict[str, str]:
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())[::-1]
    return {script.revision: Path(script.path).name.split("_")[1] for script in scripts}


def _missing(connection: sa.Connection) -> list[str]:
    known = list(_kinds())
    present = _current(connection)
    if present is None:
        return known
    if present in known:
        return known[known.index(present) + 1 :]
    if present == MOVING:
        raise MigrationRefused(
            "the database is being filled by `bellwire move-database`, or a move did not end well: run that again"
        )
    if not _still_safe(connection, known):
        raise MigrationRefused(
            f"the database is at revision {present}, which this version of Bellwire does not know: install a newer one"
        )
    return []


def _still_safe(connection: sa.Connection, known: list[str]) -> bool:
    """Whether a newer version has applied nothing but what is safe for this one (a rolling upgrade is under way)."""
    if not sa.inspect(connection).has_table(schema_revisions.name):
        return False
    applied = connection.execute(sa.select(schema_revisions.c.revision, schema_revisions.c.kind)).all()
    strange = {row.kind for row in applied if row.revision not in known}
    return strange == {"pre"}
