"""Bringing everything that is sealed to the current key, a few rows at a time, beside hubs that are at work."""

from collections import Counter
from collections.abc import Iterator

import msgspec
import sqlalchemy as sa

from bellwire.db.secrets import SealBroken, Sealer, key_id_of
from bellwire.db.tables import metadata

BATCH_ROWS = 100


class Resealed(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch did. `broken` says in words which values do not open, and stay as they are."""

    looked_at: int
    resealed: int
    broken: tuple[str, ...] = ()


def sealed_columns() -> list[sa.Column[bytes]]:
    """Every column that holds sealed values: their names begin alike, and their bindings say `table/column/row id`."""
    return [column for table in metadata.sorted_tables for column in table.c if column.name.startswith("sealed_")]


def count_by_key(connection: sa.Connection) -> Counter[str]:
    """How many values are sealed with which key (its id in hex); `""` counts what is no sealed value."""
    counts: Counter[str] = Counter()
    for column in sealed_columns():
        for value in connection.execute(sa.select(column).where(column.is_not(None), sa.func.length(column) > 0)):
            counts[key_id_of(value[0]) or ""] += 1
    return counts


def reseal(engine: sa.Engine, sealer: Sealer) -> Iterator[Resealed]:
    """Seal again whatever is not sealed with the current key. Each batch is one short transaction: to stop at any
    moment loses nothing, and to begin again goes on where it ended.

    A value that somebody else changed meanwhile is left to them: it was sealed with the current key.
    """
    for column in sealed_columns():
        after = ""
        while True:
            with engine.begin() as connection:
                rows = _next_rows(connection, column, after)
                done = [_reseal_row(connection, sealer, column, row_id, value) for row_id, value in rows]
            if not rows:
                break
            after = rows[-1][0]
            yield Resealed(
                looked_at=len(rows),
                resealed=sum(one is True for one in done),
                broken=tuple(one for one in done if isinstance(one, str)),
            )


def _next_rows(connection: sa.Connection, column: sa.Column[bytes], after: str) -> list[tuple[str, bytes]]:
    key = column.table.c.id
    query = (
        sa.select(key, column)
        .where(key > after, column.is_not(None), sa.func.length(column) > 0)
        .order_by(key)
        .limit(BATCH_ROWS)
    )
    return [(row[0], row[1]) for row in connection.execute(query)]


def _reseal_row(
    connection: sa.Connection, sealer: Sealer, column: sa.Column[bytes], row_id: str, value: bytes
) -> bool | str:
    """Whether the row was sealed again, or why it cannot be."""
    if key_id_of(value) == sealer.current_key_id:
        return False
    binding = f"{column.table.name}/{column.name}/{row_id}"
    try:
        plain = sealer.open(value, binding=binding)
    except SealBroken as error:
        return str(error)
    changed = connection.execute(
        sa.update(column.table)
        .where(column.table.c.id == row_id, column == value)
        .values({column.name: sealer.seal(plain, binding=binding)})
    )
    return changed.rowcount == 1
