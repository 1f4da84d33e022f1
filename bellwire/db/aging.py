"""What is old enough to go, and the statements that make it go. `retention` decides when and how much at a time."""

from collections.abc import Iterator

import msgspec
import sqlalchemy as sa

from bellwire.db.partitions import ATTEMPTS, PARTITIONED, Ranges, attached
from bellwire.kit.ids import row_id_at, row_id_ms

DAY_MS = 86_400_000
COUNTED = 1_000_000
"""Rows beyond so many are not counted."""
_DETACH_WITHIN = "200ms"
"""How long writers may have to wait behind the attempt to detach a partition."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How long what is kept; None = for ever."""

    attempts_ms: int | None
    bodies_ms: int | None
    matters_ms: int = 90 * DAY_MS
    """Notices and alerts, since they were last seen or over."""

    @classmethod
    def of_days(cls, *, attempts: int, bodies: int) -> "Policy":
        """As the settings have it: 0 days = for ever."""
        return cls(attempts_ms=attempts * DAY_MS or None, bodies_ms=bodies * DAY_MS or None)

    def kept_ms(self, ranges: Ranges) -> int | None:
        """How long the rows of a table that is cut by time are kept."""
        return self.attempts_ms if ranges is ATTEMPTS else self.bodies_ms


class Old(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one table that are old. `below` is what `column` of them is below."""

    table: str
    column: str
    below: int

    @property
    def condition(self) -> str:
        """In SQL, with the parameter `below`."""
        return f"{self.column} < :below"


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What one table has, and what of it would go now."""

    table: str
    kept_ms: int | None
    oldest_ms: int | None
    """Of its rows; None where it has none, or does not tell."""
    bytes: int | None
    """On PostgreSQL, with indexes."""
    old_rows: int
    """Counted up to COUNTED; those of partitions as the server estimates them."""
    old_partitions: list[str]


def old_rows(connection: sa.Connection, policy: Policy, now_ms: int) -> Iterator[Old]:
    """What is deleted row by row: on PostgreSQL of the tables cut by time only what the default partition has."""
    for ranges in PARTITIONED:
        kept_ms = policy.kept_ms(ranges)
        if kept_ms is not None:
            table = ranges.table if connection.dialect.name == "sqlite" else ranges.default
            yield Old(table=table, column=ranges.column, below=row_id_at(now_ms - kept_ms))
    yield Old(table="sessions", column="expires_at_ms", below=now_ms)
    yield Old(table="notices", column="last_seen_ms", below=now_ms - policy.matters_ms)
    yield Old(table="alerts", column="over_at_ms", below=now_ms - policy.matters_ms)


def delete_some(connection: sa.Connection, old: Old, limit: int) -> int:
    """Delete at most `limit` of them, those of lowest row number first; returns how many. One statement."""
    if connection.dialect.name == "sqlite":
        some = f"rowid IN (SELECT rowid FROM {old.table} WHERE {old.condition} ORDER BY {old.column} LIMIT :limit)"  # noqa: S608 - names of ours
    else:
        some = f"ctid = ANY(ARRAY(SELECT ctid FROM {old.table} WHERE {old.condition} LIMIT :limit))"  # noqa: S608 - names of ours
    statement = sa.text(f"DELETE FROM {old.table} WHERE {some}")  # noqa: S608 - names of ours
    return connection.execute(statement, {"below": old.below, "limit": limit}).rowcount


def old_partitions(connection: sa.Connection, policy: Policy, now_ms: int) -> list[tuple[Ranges, str]]:
    """Partitions of which every row is old, oldest first; none on SQLite."""
    found: list[tuple[Ranges, str]] = []
    for ranges in PARTITIONED:
        kept_ms = policy.kept_ms(ranges)
        if kept_ms is not None:
            for name in sorted(attached(connection, ranges)):
                end_ms = ranges.end_ms(name)
                if end_ms is not None and end_ms <= now_ms - kept_ms:
                    found.append((ranges, name))
    return found


def detached_partitions(connection: sa.Connection) -> list[str]:
    """Partitions that belong to no table any more: somebody was stopped between `detach` and `drop`."""
    names = set(sa.inspect(connection).get_table_names())
    found: list[str] = []
    for ranges in PARTITIONED:
        present = attached(connection, ranges)
        found += [name for name in names if ranges.end_ms(name) is not None and name not in present]
    return sorted(found)


def detach(connection: sa.Connection, ranges: Ranges, name: str) -> None:
    """Take a partition out of its table. Raises sqlalchemy.exc.OperationalError when the table is in use for longer
    than writers should have to wait behind us.

    DETACH ... CONCURRENTLY would wait for ever and lock nobody out, but is not for tables with a default partition.
    """
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_DETACH_WITHIN}'")
    connection.exec_driver_sql(f"ALTER TABLE {ranges.table} DETACH PARTITION {name}")


def drop(connection: sa.Connection, name: str) -> None:
    """Remove a detached partition, its rows and its files; nobody can be at it."""
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")


def survey(connection: sa.Connection, policy: Policy, now_ms: int) -> list[Share]:
    """What there is and what would go now, table by table."""
    partitions = old_partitions(connection, policy, now_ms)
    counts = {old.table: _count(connection, old) for old in old_rows(connection, policy, now_ms)}
    shares = []
    for ranges in PARTITIONED:
        names = [name for of, name in partitions if of is ranges]
        rows = counts.pop(ranges.default, 0) + counts.pop(ranges.table, 0)
        shares.append(
            Share(
                table=ranges.table,
                kept_ms=policy.kept_ms(ranges),
                oldest_ms=_oldest_ms(connection, ranges),
                bytes=_bytes(connection, [ranges.table, *attached(connection, ranges)]),
                old_rows=rows + _estimated_rows(connection, names),
                old_partitions=names,
            )
        )
    for table, rows in counts.items():
        kept_ms = None if table == "sessions" else policy.matters_ms
        size = _bytes(connection, [table])
        shares.append(Share(table=table, kept_ms=kept_ms, oldest_ms=None, bytes=size, old_rows=rows, old_partitions=[]))
    return shares


def bodies_since_ms(connection: sa.Connection) -> int | None:
    """Since when every inbox entry still has its bytes; None = all have them. State can be rebuilt from then on alone."""
    query = sa.text(
        "SELECT max(i.id) FROM inbox i WHERE i.id < COALESCE((SELECT min(b.inbox_id) FROM inbox_bodies b), 9223372036854775807)"
    )
    last_without: int | None = connection.execute(query).scalar_one()
    return None if last_without is None else row_id_ms(last_without) + 1


def _count(connection: sa.Connection, old: Old) -> int:
    query = sa.text(f"SELECT count(*) FROM (SELECT 1 FROM {old.table} WHERE {old.condition} LIMIT {COUNTED}) AS found")  # noqa: S608 - names of ours
    return connection.execute(query, {"below": old.below}).scalar_one()


def _oldest_ms(connection: sa.Connection, ranges: Ranges) -> int | None:
    oldest = connection.exec_driver_sql(f"SELECT min({ranges.column}) FROM {ranges.table}").scalar_one()  # noqa: S608 - names of ours
    return None if oldest is None else row_id_ms(oldest)


def _bytes(connection: sa.Connection, tables: list[str]) -> int | None:
    if connection.dialect.name == "sqlite":
        return None
    query = sa.text(
        "SELECT sum(pg_total_relation_size(CAST(name AS regclass))) FROM unnest(CAST(:names AS text[])) AS name"
    )
    return int(connection.execute(query, {"names": tables}).scalar_one())


def _estimated_rows(connection: sa.Connection, names: list[str]) -> int:
    if not names:
        return 0
    query = sa.text(
        "SELECT sum(greatest(reltuples, 0)) FROM pg_class WHERE oid = ANY(CAST(CAST(:names AS text[]) AS regclass[]))"
    )
    return int(connection.execute(query, {"names": names}).scalar_one())
