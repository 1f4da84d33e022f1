"""Bulk insert-or-update, spelled once for both databases."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from bellwire.db.dialect import insert

Row = Mapping[str, object]


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert `rows`; where the primary key exists, every other given column is overwritten."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    statement = insert(connection, table)
    updates = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=updates), list(rows))


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert `rows`; those that break a unique constraint are left as they are."""
    if rows:
        connection.execute(insert(connection, table).on_conflict_do_nothing(), list(rows))
