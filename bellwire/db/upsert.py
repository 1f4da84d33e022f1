"""Bulk insert-or-update, spelled once for both databases."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from bellwire.db.bulk import Bulk
from bellwire.db.dialect import insert

Row = Mapping[str, object]

_statements: dict[tuple[str, str, tuple[str, ...]], Bulk] = {}


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert `rows`, which all have the same columns; where the primary key exists, every other given column is
    overwritten. Values go to the driver as they are."""
    if not rows:
        return
    given = rows[0].keys()
    names = tuple(column.name for column in table.columns if column.name in given)
    if len(names) != len(given):
        raise ValueError(f"{table.name} has no column {sorted(given - set(names))[0]}")
    statement = _statement(connection, table, names)
    statement.run(connection, [tuple([row[name] for name in names]) for row in rows])


def _statement(connection: sa.Connection, table: sa.Table, names: tuple[str, ...]) -> Bulk:
    key = (connection.dialect.name, table.name, names)
    known = _statements.get(key)
    if known is None:
        keys = [column.name for column in table.primary_key]
        statement = insert(connection, table)
        updates = {name: statement.excluded[name] for name in names if name not in keys}
        known = _statements[key] = Bulk(statement.on_conflict_do_update(index_elements=keys, set_=updates), names)
    return known


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert `rows`; those that break a unique constraint are left as they are."""
    if rows:
        connection.execute(insert(connection, table).on_conflict_do_nothing(), list(rows))
