"""Tables that age out by time: on PostgreSQL in ranges of their ids, so that what is old is dropped and not deleted.

Row ids begin with the millisecond of their making (`kit.ids`), so that a range of ids is a range of time. The default
partition takes what belongs nowhere (a clock that is far off) and what is older than the first range. On SQLite there
is one table, whose oldest rows are deleted bit by bit (`db.retention`).
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import sqlalchemy as sa

from bellwire.kit.ids import row_id_at

AHEAD = timedelta(days=7)
"""How far before they are needed partitions are made: nobody has to be there every day."""
_PATIENCE = "2s"
_ADVISORY_LOCK = 0x62656C70


class Ranges(msgspec.Struct, frozen=True, kw_only=True):
    """How a table is cut. `column` holds row ids; ranges begin at midnight UTC, of each day or of each month's first."""

    table: str
    column: str
    monthly: bool = False

    @property
    def default(self) -> str:
        """The partition for what no range takes."""
        return f"{self.table}_default"

    def begin(self, at: datetime) -> datetime:
        """Where the range that holds `at` begins."""
        day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return day.replace(day=1) if self.monthly else day

    def after(self, begin: datetime) -> datetime:
        """Where the range after that of `begin` begins."""
        return self.begin(begin + timedelta(days=31)) if self.monthly else begin + timedelta(days=1)

    def name(self, begin: datetime) -> str:
        """The partition of the range that begins there: `attempts_p20261125`, `inbox_bodies_p202611`."""
        return f"{self.table}_p{begin:%Y%m}" if self.monthly else f"{self.table}_p{begin:%Y%m%d}"

    def end_ms(self, name: str) -> int | None:
        """Up to when, exclusively, a partition of this table takes rows; None for the default one and other tables."""
        digits = name.removeprefix(f"{self.table}_p")
        if digits == name or not digits.isdigit() or len(digits) != (6 if self.monthly else 8):
            return None
        begin = datetime.strptime(f"{digits}{'01' if self.monthly else ''}+0000", "%Y%m%d%z")
        return int(self.after(begin).timestamp() * 1000)


ATTEMPTS = Ranges(table="attempts", column="id")
INBOX_BODIES = Ranges(table="inbox_bodies", column="inbox_id", monthly=True)
"""Kept for ever unless told otherwise: months, so that there are never too many."""
PARTITIONED = (ATTEMPTS, INBOX_BODIES)


def is_partition(name: str) -> bool:
    """Whether a table is a piece of another one, made here."""
    return any(name == ranges.default or name.startswith(f"{ranges.table}_p") for ranges in PARTITIONED)


def prepare(engine: sa.Engine, now_ms: int, *, since_ms: int | None = None) -> list[str]:
    """Make the partitions from `since_ms` (None = now) to `AHEAD` of now that are missing; returns their names.

    Several processes may call this at once. Gives up (sqlalchemy.exc.OperationalError) when the default partition is
    in use for longer than `_PATIENCE`: rows find their place without it, and the next call makes up for it. Nothing to
    do on SQLite.
    """
    if engine.dialect.name == "sqlite":
        return []
    with engine.begin() as connection:
        if not any(_missing(connection, now_ms, since_ms)):
            return []
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        missing = list(_missing(connection, now_ms, since_ms))
        for ranges, begin in missing:
            _attach(connection, ranges, begin)
    return [ranges.name(begin) for ranges, begin in missing]


def _missing(connection: sa.Connection, now_ms: int, since_ms: int | None) -> Iterator[tuple[Ranges, datetime]]:
    for ranges in PARTITIONED:
        present = attached(connection, ranges)
        begin = ranges.begin(moment(now_ms if since_ms is None else since_ms))
        while begin <= moment(now_ms) + AHEAD:
            if ranges.name(begin) not in present:
                yield ranges, begin
            begin = ranges.after(begin)


def attached(connection: sa.Connection, ranges: Ranges) -> set[str]:
    """The partitions that a table has, the default one too; none on SQLite."""
    if connection.dialect.name == "sqlite":
        return set()
    query = sa.text(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = CAST(:name AS regclass)"
    )
    return set(connection.execute(query, {"name": ranges.table}).scalars())


def _attach(connection: sa.Connection, ranges: Ranges, begin: datetime) -> None:
    """One partition, which takes over what the default one holds of its range.

    Made beside the table and then attached: that keeps neither readers nor writers of the table out, as CREATE TABLE
    ... PARTITION OF would. Only the default partition, in which rarely anything is, is locked for a moment.
    """
    name, low, high = ranges.name(begin), _boundary(begin), _boundary(ranges.after(begin))
    here = f"{ranges.column} >= {low} AND {ranges.column} < {high}"
    for statement in (
        f"CREATE TABLE IF NOT EXISTS {name} (LIKE {ranges.table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)",
        f"WITH moved AS (DELETE FROM {ranges.default} WHERE {here} RETURNING *) INSERT INTO {name} SELECT * FROM moved",  # noqa: S608 - names and numbers of ours
        f"ALTER TABLE {ranges.table} ATTACH PARTITION {name} FOR VALUES FROM ({low}) TO ({high})",
    ):
        connection.exec_driver_sql(statement)


def _boundary(moment: datetime) -> int:
    return row_id_at(int(moment.timestamp() * 1000))


def moment(at_ms: int) -> datetime:
    """The same point in time, as the calendar has it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)
