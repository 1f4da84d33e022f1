"""One statement for very many rows: compiled once, handed to the driver with plain tuples.

SQLAlchemy prepares parameters row by row, which costs more than the insert itself (measured for the attempt log: 20 of
60 µs a row). The statement is still described once, for both databases.
"""

from collections.abc import Sequence

import sqlalchemy as sa


class Bulk:
    """`names` are the statement's parameters, in the order of the tuples that `run` is given.

    The values go to the driver as they are: numbers, text, bytes, booleans and None.
    """

    def __init__(self, statement: sa.ClauseElement, names: Sequence[str]) -> None:
        self._statement = statement
        self._names = tuple(names)
        self._compiled: dict[str, str] = {}

    def run(self, connection: sa.Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """Execute once for each row."""
        if not rows:
            return
        if connection.dialect.positional:
            connection.exec_driver_sql(self._sql(connection), list(rows))
        else:
            connection.exec_driver_sql(
                self._sql(connection), [dict(zip(self._names, row, strict=True)) for row in rows]
            )

    def _sql(self, connection: sa.Connection) -> str:
        dialect = connection.dialect
        known = self._compiled.get(dialect.name)
        if known is None:
            compiled = self._statement.compile(dialect=dialect, column_keys=list(self._names))
            order = tuple(getattr(compiled, "positiontup", None) or self._names)
            if order != self._names:
                raise ValueError(f"parameters are in the order {order}, not {self._names}")
            known = self._compiled[dialect.name] = str(compiled)
        return known
