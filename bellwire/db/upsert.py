"""Bulk insert-or-update, spelled once for both databases."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from bellwire.db.bulk import BulkInsert

Row = Mapping[str, object]

_statements: dict[tuple[str, tuple[str, ...], bool], BulkInsert] = {}


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert `rows`, which all have the same columns; where the primary key exists, every other given column is
    overwritten. Values go to the driver as they are. Of rows with the same key the last one counts."""
    _run(connection, table, rows, overwrite=True)


def insert_new(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """The same for rows that must not be there yet: the database refuses where one is."""
    _run(connection, table, rows, overwrite=False)


def _run(connection: sa.Connection, table: sa.Table, rows: Sequence[Row], *, overwrite: bool) -> None:
    if not rows:
        return
    given = rows[0].keys()
    names = tuple(column.name for column in table.columns if column.name in given)
    if len(names) != len(given):
        raise ValueError(f"{table.name} has no column {sorted(given - set(names))[0]}")
    keys = [column.name for column in table.primary_key]
    last = {tuple([row[key] for key in keys]): row for row in rows} if len(rows) > 1 else {(): rows[0]}
    statement = _statement(table, names, overwrite=overwrite)
    statement.run(connection, [tuple([row[name] for name in names]) for row in last.values()])


def _statement(table: sa.Table, names: tuple[str, ...], *, overwrite: bool) -> BulkInsert:
    known = _statements.get((table.name, names, overwrite))
    if known is None:
        conflict = ""
        if overwrite:
            keys = [column.name for column in table.primary_key]
            updates = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
            conflict = f"({', '.join(keys)}) " + (f"DO UPDATE SET {updates}" if updates else "DO NOTHING")
        known = _statements[table.name, names, overwrite] = BulkInsert(table, names, conflict=conflict)
    return known
