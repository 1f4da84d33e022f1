"""Alembic's entry point; `bellwire.db.migrate` hands in the connection, the `alembic` command gets one of its own."""

import sqlalchemy as sa
from alembic import context

from bellwire.db.engine import open_engine
from bellwire.db.partitions import is_partition
from bellwire.db.tables import metadata
from bellwire.settings import load_settings


def _default_differs(*arguments: object) -> bool | None:
    """Alembic takes SQLite's `('')` for a change of an empty default; anything else is left to it (None)."""
    _, _, _, inspected, _, rendered = arguments
    return False if inspected == "('')" and rendered == "" else None


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Partitions are made while the hub runs; `tables.py` knows the table that they are pieces of."""
    return kind != "table" or name is None or not is_partition(name)


def _run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_server_default=_default_differs,
        include_name=_is_ours,
        transactional_ddl=True,  # SQLite too: a migration that fails leaves nothing behind
    )
    with context.begin_transaction():
        context.run_migrations()


_given: sa.Connection | None = context.config.attributes.get("connection")
if _given is not None:
    _run(_given)
else:
    with open_engine(load_settings().resolved_database_url()).begin() as _own:
        _run(_own)
