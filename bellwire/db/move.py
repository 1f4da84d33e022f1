"""Moving an installation from SQLite to PostgreSQL: every row is copied, then both are counted and summed, and compared.

The target cannot be used by a hub before the comparison has found no difference (`migrate.MOVING`). The source is only
read. What processes write about themselves (`workers`) and about the target's own schema is not moved.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from bellwire.db import migrate
from bellwire.db.engine import reader
from bellwire.db.partitions import is_partition, prepare
from bellwire.db.postgres import check_rights, check_server, place
from bellwire.db.tables import metadata, schema_revisions, workers
from bellwire.kit.ids import row_id_ms

_BATCH = 2_000
_PARTITIONS_SINCE_MS = 400 * 86_400_000
"""What is older, most likely by a clock that was wrong, goes into the default partition."""
_COMPARED_WHOLE = 20_000
"""Rows up to which a table is compared value by value, not only by its sums."""
_NOT_MOVED = (workers, schema_revisions)
_BY_TIME = (("attempts", "id"), ("inbox_bodies", "inbox_id"))
_OUR_TABLES = {table.name for table in metadata.sorted_tables} | {"alembic_version"}


class MoveRefused(Exception):
    """The move cannot begin, or could not go on; the message says what to do."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One table in both databases. `differences` are in words; empty = alike."""

    table: str
    rows: int
    moved: int
    whole: bool
    """Every value was compared, else counts and sums of each column."""
    differences: list[str]


Tell = Callable[[str, int, int], None]
"""Table, rows copied so far, rows in all."""


def move(source: sa.Engine, target: sa.Engine, *, overwrite: bool, now_ms: int, tell: Tell) -> list[Compared]:
    """Copy everything and compare; the caller has made sure that nobody writes to the source.

    Raises MoveRefused, DatabaseUnusable, MigrationRefused.
    """
    if migrate.pending(source):
        raise MoveRefused(f"the schema of {source.url.database} is not up to date: run `bellwire migrate` first")
    check_server(target)
    _make_room(target, overwrite=overwrite)
    migrate.upgrade(target)
    revision = _set_revision(target, migrate.MOVING)
    with reader(source).connect() as reading:
        prepare(target, now_ms, since_ms=max(_oldest_ms(reading) or now_ms, now_ms - _PARTITIONS_SINCE_MS))
        for table in _moved():
            _copy(reading, target, table, tell)
        _set_sequences(reading, target)
        compared = list(_compare_all(reading, target))
    if not any(one.differences for one in compared):
        _set_revision(target, revision)
    return compared


def _moved() -> list[sa.Table]:
    """In the order that foreign keys want."""
    return [table for table in metadata.sorted_tables if table not in _NOT_MOVED]


def _make_room(target: sa.Engine, *, overwrite: bool) -> None:
    """See that there is nothing in the target; with `overwrite` take away what an earlier move or hub has left."""
    with target.begin() as connection:
        check_rights(connection)
        present = sa.inspect(connection).get_table_names()
        if not present:
            return
        if not overwrite:
            raise MoveRefused(
                f"{place(target.url)} is not empty (it has the table {sorted(present)[0]}): make a new database, or say "
                "--overwrite to throw away what Bellwire has in it"
            )
        strangers = sorted(name for name in present if name not in _OUR_TABLES and not is_partition(name))
        if strangers:
            raise MoveRefused(
                f"{place(target.url)} has the table {strangers[0]}, which is not Bellwire's: choose another"
            )
        ours = [name for name in present if not is_partition(name)]
        if "workers" in ours and migrate.runs_on(connection):
            raise MoveRefused(f"processes run on {place(target.url)}: stop them first")
        connection.exec_driver_sql(f"DROP TABLE {', '.join(sorted(ours))} CASCADE")


def _set_revision(target: sa.Engine, revision: str) -> str:
    """Name the schema's revision; returns what it was."""
    with target.begin() as connection:
        before = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = %s", (revision,))
    return str(before)


def _oldest_ms(reading: sa.Connection) -> int | None:
    """When the oldest row was made that belongs into a partition by time."""
    tables = metadata.tables
    oldest = [
        reading.execute(sa.select(sa.func.min(tables[table].c[column]))).scalar_one() for table, column in _BY_TIME
    ]
    return min((row_id_ms(one) for one in oldest if one is not None), default=None)


def _copy(reading: sa.Connection, target: sa.Engine, table: sa.Table, tell: Tell) -> None:
    names = [column.name for column in table.columns]
    total = reading.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
    name = str(table.name)
    tell(name, 0, total)
    if not total:
        return
    done = 0
    with target.begin() as connection:
        _be_patient(connection)
        raw: Any = connection.connection.dbapi_connection  # pyrefly: ignore[explicit-any]
        rows = reading.execute(sa.select(table).execution_options(yield_per=_BATCH))
        try:
            with raw.cursor().copy(f"COPY {table.name} ({', '.join(names)}) FROM STDIN") as copy:
                for batch in rows.partitions():
                    for row in batch:
                        copy.write_row(row)
                    done += len(batch)
                    tell(name, done, total)
        except Exception as error:
            reason = str(error).strip().splitlines()
            raise MoveRefused(
                f"the table {table.name} could not be copied: {reason[0] if reason else type(error).__name__}"
            ) from error


def _be_patient(connection: sa.Connection) -> None:
    """A whole table takes longer than any statement of a hub."""
    for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
        connection.exec_driver_sql(f"SET LOCAL {name} = 0")


def _set_sequences(reading: sa.Connection, target: sa.Engine) -> None:
    """Go on counting where SQLite was, whose counter remembers rows that are gone."""
    given: dict[str, int] = {}
    if reading.exec_driver_sql("SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'").scalar_one():
        given = {row.name: row.seq for row in reading.exec_driver_sql("SELECT name, seq FROM sqlite_sequence")}
    with target.begin() as connection:
        for table in _moved():
            [key, *more] = table.primary_key.columns
            if more or not isinstance(key.type, sa.BigInteger | sa.Integer):
                continue
            sequence = connection.execute(sa.select(sa.func.pg_get_serial_sequence(table.name, key.name))).scalar_one()
            if sequence is not None:
                highest = connection.execute(sa.select(sa.func.max(key))).scalar_one() or 0
                last = max(highest, given.get(table.name, 0))
                connection.execute(sa.select(sa.func.setval(sequence, max(1, last), last > 0)))


# ---- comparing


def _compare_all(reading: sa.Connection, target: sa.Engine) -> Iterator[Compared]:
    with target.begin() as connection:
        _be_patient(connection)
        for table in _moved():
            yield _compare(reading, connection, table)


def _compare(source: sa.Connection, target: sa.Connection, table: sa.Table) -> Compared:
    ours, theirs = (_sums(connection, table) for connection in (source, target))
    differences = [f"{name}: {ours[name]} here, {theirs[name]} there" for name in ours if ours[name] != theirs[name]]
    rows, moved = ours["rows"], theirs["rows"]
    whole = rows == moved <= _COMPARED_WHOLE
    if whole and not differences and _digest(source, table) != _digest(target, table):
        differences.append("the same sums, but other values")
    return Compared(table=str(table.name), rows=rows, moved=moved, whole=whole, differences=differences)


def _sums(connection: sa.Connection, table: sa.Table) -> dict[str, int]:
    """Rows, and of each column how many values it has and what they sum up to: numbers in two halves, which no sum
    overflows; texts and bytes by their length."""
    wanted: list[sa.ColumnElement[Any]] = [sa.func.count().label("rows")]  # pyrefly: ignore[explicit-any]
    for column in table.columns:
        wanted.append(sa.func.count(column).label(f"{column.name} (values)"))
        for name, value in _measures(connection, column):
            wanted.append(sa.func.coalesce(sa.func.sum(value), 0).label(f"{column.name} ({name})"))
    row = connection.execute(sa.select(*wanted).select_from(table)).mappings().one()
    return {str(name): int(value) for name, value in row.items()}


def _measures(
    connection: sa.Connection,
    column: sa.Column[Any],  # pyrefly: ignore[explicit-any]
) -> Sequence[tuple[str, sa.ColumnElement[int]]]:
    match column.type:
        case sa.Boolean():
            return [("true", sa.case((column, 1), else_=0))]
        case sa.Integer():  # BigInteger too
            wide = sa.cast(column, sa.BigInteger)
            half = sa.literal_column("32"), sa.literal_column("4294967295")
            return [("high", wide.bitwise_rshift(half[0])), ("low", wide.bitwise_and(half[1]))]
        case sa.Float():
            return []  # their sums depend on the order; tables that have any are small enough to be compared whole
        case _ if connection.dialect.name == "sqlite":
            return [("bytes", sa.func.length(sa.cast(column, sa.LargeBinary)))]
        case _:
            return [("bytes", sa.func.octet_length(column))]


def _digest(connection: sa.Connection, table: sa.Table) -> str:
    rows = sorted(repr(tuple(row)).encode() for row in connection.execute(sa.select(table)))
    return hashlib.sha256(b"\n".join(rows)).hexdigest()
