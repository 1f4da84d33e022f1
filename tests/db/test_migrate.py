"""The migrations build exactly the schema that `tables.py` describes, on both databases."""

import re
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from bellwire.db import migrate
from bellwire.db.engine import open_engine
from bellwire.db.partitions import PARTITIONED
from bellwire.db.tables import metadata
from tests.support.postgres import PostgresServer


def test_migrated_schema_is_the_described_one(empty_database: sa.Engine) -> None:
    migrate.upgrade(empty_database)
    with empty_database.begin() as connection:
        command.check(migrate.alembic_config(connection))  # raises for any difference in tables, columns, keys


def test_upgrade_from_nothing_and_again(empty_database: sa.Engine) -> None:
    assert migrate.current(empty_database) is None
    waiting = migrate.pending(empty_database)
    assert waiting[0] == "0001"
    assert migrate.upgrade(empty_database) == waiting
    assert migrate.current(empty_database) == waiting[-1]
    assert migrate.pending(empty_database) == []
    assert migrate.upgrade(empty_database) == []


def test_sqlite_statements_are_the_same_from_scratch(tmp_path: Path) -> None:
    """Alembic does not compare partial indexes, AUTOINCREMENT or ON DELETE: the stored SQL shows them all."""
    migrated, described = open_engine(f"sqlite:///{tmp_path / 'a.db'}"), open_engine(f"sqlite:///{tmp_path / 'b.db'}")
    migrate.upgrade(migrated)
    metadata.create_all(described)
    assert _sqlite_schema(migrated) == _sqlite_schema(described)
    migrated.dispose()
    described.dispose()


def test_postgresql_indexes_and_keys_are_the_same_from_scratch(postgres: PostgresServer) -> None:
    migrated, described = open_engine(postgres.create_database()), open_engine(postgres.create_database())
    migrate.upgrade(migrated)
    metadata.create_all(described)
    assert _postgres_schema(migrated) == _postgres_schema(described)
    migrated.dispose()
    described.dispose()


def test_two_processes_upgrade_at_once(empty_database: sa.Engine) -> None:
    applied: list[list[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrate.upgrade(empty_database))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(bool, applied)) == [False, False, True]


def test_failed_migration_leaves_nothing(empty_database: sa.Engine) -> None:
    with empty_database.begin() as connection:
        connection.execute(sa.text("CREATE TABLE outbox (id INTEGER)"))  # in the way of the first migration
    with pytest.raises(sa.exc.DBAPIError):
        migrate.upgrade(empty_database)
    assert sa.inspect(empty_database).get_table_names() == ["outbox"]
    assert migrate.current(empty_database) is None


def test_database_of_a_newer_version_is_refused(empty_database: sa.Engine) -> None:
    migrate.upgrade(empty_database)
    with empty_database.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(migrate.MigrationRefused, match="9999"):
        migrate.upgrade(empty_database)
    with pytest.raises(migrate.MigrationRefused):
        migrate.pending(empty_database)


def _sqlite_schema(engine: sa.Engine) -> set[tuple[str, str]]:
    query = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'alembic%' AND tbl_name NOT LIKE 'alembic%'"
    with engine.connect() as connection:
        rows = connection.execute(sa.text(query)).all()
    return {(row.name, _sorted_clauses(row.sql or "")) for row in rows}


def _sorted_clauses(statement: str) -> str:
    """A CREATE statement with its clauses in a fixed order: that has no meaning, and a column added later stands last."""
    text = re.sub(r"\s+", " ", statement)
    head, _, clauses = text.removesuffix(")").partition("(")
    return "\n".join([head, *sorted(clause.strip() for clause in re.split(r",(?![^(]*\))", clauses))])


_POSTGRES_QUERIES = (
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = 'public'::regnamespace",
    "SELECT table_name || '.' || column_name, concat_ws(' ', row_number() OVER (PARTITION BY table_name ORDER BY ordinal_position), data_type, is_nullable, "
    "column_default) FROM information_schema.columns WHERE table_schema = 'public'",
)


def _postgres_schema(engine: sa.Engine) -> set[tuple[str, str]]:
    with engine.connect() as connection:
        rows = [row for query in _POSTGRES_QUERIES for row in connection.execute(sa.text(query))]
    return {(name, text) for name, text in rows if not name.startswith("alembic_version") and not _in_partition(name)}


def _in_partition(name: str) -> bool:
    """Partitions are made by migrations and while the hub runs; `create_all` knows only the table they belong to."""
    return any(f"{ranges.table}_{piece}" in name for ranges in PARTITIONED for piece in ("default", "p2"))
