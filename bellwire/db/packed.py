"""Many rows out of the database in one step, where that spares the event loop.

Python's sqlite3 gives up the interpreter's lock at every row that it reads; from the writer's thread each of them is a
fight with the event loop. So SQLite packs the rows into one JSON text, which is read at once. PostgreSQL's driver reads
them all in one go anyway.
"""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa

R = TypeVar("R", bound=msgspec.Struct)


class Packed(Generic[R]):
    """A query, and the struct (`array_like`) that holds one of its rows, column by column.

    On SQLite booleans are 0 and 1. Bytes, which must be UTF-8, come as text: SQLite's JSON has no others, and PostgreSQL
    would spell them in twice as many hexadecimal digits. Rows come in any order.
    """

    def __init__(self, query: sa.Select[*tuple[Any, ...]], row: type[R]) -> None:
        rows = query.subquery("unpacked")
        columns = [sa.cast(column, sa.Text) if isinstance(column.type, sa.LargeBinary) else column for column in rows.c]
        texts = [
            sa.func.convert_from(column, "UTF8") if isinstance(column.type, sa.LargeBinary) else column
            for column in rows.c
        ]
        self._query = sa.select(*texts)
        self._packed = sa.select(sa.func.json_group_array(sa.func.json_array(*columns), type_=sa.Text()))
        self._decode = msgspec.json.Decoder(list[row]).decode
        self._row = row

    def fetch(self, connection: sa.Connection, parameters: Mapping[str, object]) -> list[R]:
        """All rows."""
        if connection.dialect.name == "sqlite":
            return self._decode(str(connection.execute(self._packed, parameters).scalar_one()))
        return [self._row(*row) for row in connection.execute(self._query, parameters)]
