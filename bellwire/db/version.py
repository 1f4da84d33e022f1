"""The count of configuration changes, by which every process learns when to reload (see `db.config`)."""

import sqlalchemy as sa

from bellwire.db.dialect import insert
from bellwire.db.notify import Topic, notify
from bellwire.db.tables import config_version

_bumps = 0


def bump(connection: sa.Connection) -> None:
    """Count one change; call it in the transaction that makes the change."""
    global _bumps
    statement = insert(connection, config_version).values(id=1, version=1)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["id"], set_={"version": config_version.c.version + 1})
    )
    notify(connection, Topic.CONFIG)
    _bumps += 1


def load(connection: sa.Connection) -> int:
    """The present count; 0 before the first change."""
    return connection.execute(sa.select(config_version.c.version)).scalar_one_or_none() or 0


def bumps_of_this_process() -> int:
    """How often this process called `bump`, committed or not: a cheap hint that a look at the database is due."""
    return _bumps
