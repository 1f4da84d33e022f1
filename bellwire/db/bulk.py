"""One statement for many rows: few shapes of text, one step of the driver, no work of SQLAlchemy's for each row.

Python's sqlite3 gives up the interpreter's lock at every step of a statement, and `executemany` is a step for each row:
from the writer's thread each of them is a fight with the event loop. PostgreSQL is spared a round trip for each row. The
statement is still written once for both databases, around a place that stands for the rows.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

Rows = Sequence[tuple[object, ...]]
"""Values that go to the driver as they are: numbers, text, bytes, booleans and None."""

SQLType = sa.Text | sa.BigInteger | sa.Integer | sa.Boolean | sa.LargeBinary
"""What the schema's columns are made of."""

_SQLITE_PARAMETERS = 32_766
_PLACE = "{rows}"


class Bulk:
    """`template` is SQL in which `{rows}` stands where a table would: the rows, named `given`, with columns `column1`,
    `column2`, ... of `types`. Works on both databases; on SQLite a long list becomes a few statements.
    """

    def __init__(self, template: str, types: Sequence[SQLType]) -> None:
        if _PLACE not in template:
            raise ValueError(f"no {_PLACE} in {template!r}")
        self._template = template
        self._types = tuple(types)
        self._texts: dict[int, str] = {}
        longest = _SQLITE_PARAMETERS // max(1, len(self._types))
        self._longest = 1 << (longest.bit_length() - 1)
        names = [_POSTGRESQL_TYPES[type(kind)] for kind in self._types]
        arrays = ", ".join(f"%s::{name}[]" for name in names)
        columns = ", ".join(f"column{number}" for number in range(1, len(names) + 1))
        self._postgresql = template.replace(_PLACE, f"unnest({arrays}) AS given({columns})")

    def run(self, connection: sa.Connection, rows: Rows) -> int:
        """Execute; returns how many rows of the table were written, changed or deleted."""
        return sum(result.rowcount for result in self._results(connection, rows))

    def fetch(self, connection: sa.Connection, rows: Rows) -> list[sa.Row[*tuple[object, ...]]]:
        """Execute a SELECT, or a statement with RETURNING, and give all that comes back."""
        return [row for result in self._results(connection, rows) for row in result.all()]

    def tuples(self, connection: sa.Connection, rows: Rows) -> list[tuple[Any, ...]]:
        """Like `fetch`, in the driver's own tuples: a fifth of the cost, for what is read at every commit."""
        return [row for result in self._results(connection, rows) for row in _fetch_all(result)]

    def _results(self, connection: sa.Connection, rows: Rows) -> Iterator[sa.CursorResult[*tuple[object, ...]]]:
        if not rows:
            return
        if connection.dialect.name != "sqlite":
            yield connection.exec_driver_sql(self._postgresql, tuple(self._arrays(rows)))
            return
        for part in _parts(rows, self._longest):
            flat = tuple([value for row in part for value in row])
            yield connection.exec_driver_sql(self._text(len(part)), flat)

    def _arrays(self, rows: Rows) -> Iterator[str]:
        """A column each, as PostgreSQL writes arrays. psycopg would do it too, in Python and value by value: that was
        a third of what a commit cost."""
        for kind, column in zip(self._types, zip(*rows, strict=True), strict=True):
            write = _LITERALS.get(type(kind), str)
            yield "{" + ",".join(["NULL" if value is None else write(value) for value in column]) + "}"

    def _text(self, count: int) -> str:
        text = self._texts.get(count)
        if text is None:
            one = "(" + ", ".join("?" * len(self._types)) + ")"
            text = self._template.replace(_PLACE, "(VALUES " + ", ".join([one] * count) + ") AS given")
            self._texts[count] = text
        return text


def _text_literal(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _bytes_literal(value: bytes) -> str:
    return '"\\\\x' + value.hex() + '"'


_LITERALS: dict[type[SQLType], Callable[[Any], str]] = {sa.Text: _text_literal, sa.LargeBinary: _bytes_literal}
_POSTGRESQL_TYPES: dict[type[SQLType], str] = {
    sa.Text: "text",
    sa.BigInteger: "bigint",
    sa.Integer: "integer",
    sa.Boolean: "boolean",
    sa.LargeBinary: "bytea",
}


class BulkInsert(Bulk):
    """Rows into a table. `names` are the columns, in the order of the tuples; `conflict` is what stands after
    `ON CONFLICT` (`DO NOTHING`, `(id) DO UPDATE SET ...`), empty = an error; `returning` names columns for `fetch`."""

    def __init__(self, table: sa.Table, names: Sequence[str], *, conflict: str = "", returning: str = "") -> None:
        columns = ", ".join(f"column{number}" for number in range(1, len(names) + 1))
        # WHERE true: without it SQLite takes ON CONFLICT for the condition of a join.
        text = f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {columns} FROM {_PLACE} WHERE true"  # noqa: S608 - names from the schema
        if conflict:
            text += f" ON CONFLICT {conflict}"
        if returning:
            text += f" RETURNING {returning}"
        types = [table.c[name].type for name in names]
        known = [kind for kind in types if isinstance(kind, SQLType)]
        if len(known) != len(types):
            raise TypeError(f"{table.name} has columns of other types than {SQLType}")
        super().__init__(text, known)


def _fetch_all(result: sa.CursorResult[*tuple[object, ...]]) -> list[tuple[Any, ...]]:
    rows = [*result.cursor.fetchall()]
    result.close()
    return rows


def _parts(rows: Rows, longest: int) -> Iterator[Rows]:
    """`rows` in pieces whose lengths are powers of two, so that few shapes of text are ever prepared."""
    start = 0
    while start < len(rows):
        length = min(longest, 1 << ((len(rows) - start).bit_length() - 1))
        yield rows[start : start + length]
        start += length
