"""Bringing a database's schema up to date, from the program itself: users need no alembic.ini.

For developers: `alembic revision --autogenerate -m "pre add x"` writes the next file in `migrations/versions/`
(settings are in `pyproject.toml`).
"""

import functools
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

_FOLDER = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x62656C6C  # any number that nobody else locks


class MigrationRefused(Exception):
    """The database cannot be brought up to date by this version; the message says what to do."""


def upgrade(engine: sa.Engine) -> list[str]:
    """Apply what is missing, in one transaction, and return the revisions applied (none = it was up to date).

    Several processes may call this at once: one works, the others wait and find nothing to do. Raises
    MigrationRefused for a database of a newer Bellwire.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
            connection.execute(sa.text("SET LOCAL lock_timeout = '4s'"))
        missing = _missing(connection)
        if missing:
            command.upgrade(alembic_config(connection), "head")
    return missing


def current(engine: sa.Engine) -> str | None:
    """The revision that the database is at; None = it has no schema yet."""
    with engine.execution_options(bellwire_read_only=True).connect() as connection:
        return _current(connection)


def pending(engine: sa.Engine) -> list[str]:
    """Revisions that `upgrade` would apply, oldest first. Raises MigrationRefused for a database of a newer Bellwire."""
    with engine.execution_options(bellwire_read_only=True).connect() as connection:
        return _missing(connection)


def is_usable(connection: sa.Connection) -> bool:
    """Whether the schema is the one that this version needs, or a newer one: during a rolling upgrade the old version
    works on beside the new. One tiny query."""
    present = _current(connection)
    return present is not None and present not in _older()


@functools.cache
def _older() -> frozenset[str]:
    """Revisions before the last one that this version knows."""
    return frozenset(_known()[:-1])


def alembic_config(connection: sa.Connection | None = None) -> Config:
    """What Alembic's own commands need to work on `connection`."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _current(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _known() -> list[str]:
    """All revisions of this version, oldest first."""
    return [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()][::-1]


def _missing(connection: sa.Connection) -> list[str]:
    known = _known()
    present = _current(connection)
    if present is None:
        return known
    if present not in known:
        raise MigrationRefused(
            f"the database is at revision {present}, which this version of Bellwire does not know: install a newer one"
        )
    return known[known.index(present) + 1 :]
