"""A new version starts beside the old one: what is safe is applied, the rest waits (style 8)."""

import shutil
import textwrap
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from bellwire.db import migrate
from bellwire.db.tables import schema_revisions
from bellwire.db.workers import Role, Worker, leave, register

TABLES = """
    from bellwire.db.tables import schema_revisions, workers
    for table in (workers, schema_revisions):
        table.create(op.get_bind())
    op.create_table("things", sa.Column("id", sa.Integer, primary_key=True), sa.Column("old", sa.Text))
"""
ADD = 'op.add_column("things", sa.Column("new", sa.Text))'
DROP = 'op.drop_column("things", "old")'
MORE = 'op.add_column("things", sa.Column("newer", sa.Text))'
NOTHING_SPECIAL = [("0001", "pre", TABLES), ("0002", "pre", ADD), ("0003", "post", DROP)]


def history(monkeypatch: pytest.MonkeyPatch, folder: Path, revisions: list[tuple[str, str, str]]) -> None:
    """Let this version have this history."""
    made = folder / f"migrations{len(list(folder.iterdir()))}"
    (made / "versions").mkdir(parents=True)
    shutil.copy(Path(migrate.__file__).parent / "migrations" / "env.py", made)
    before = None
    for revision, kind, body in revisions:
        code = f"import sqlalchemy as sa\nfrom alembic import op\nrevision = {revision!r}\ndown_revision = {before!r}\n"
        code += "def upgrade():\n" + textwrap.indent(textwrap.dedent(body), "    ")
        (made / "versions" / f"{revision}_{kind}_it.py").write_text(code)
        before = revision
    monkeypatch.setattr(migrate, "_FOLDER", made)


def lives(engine: sa.Engine, name: str = "old", *, version: str = "0.0.1") -> None:
    """Another process that runs."""
    now_ms = time.time_ns() // 1_000_000
    other = Worker(
        id=name, node=9, role=Role.ALL, host="h", pid=1, version=version, started_at_ms=now_ms, seen_at_ms=now_ms
    )
    with engine.begin() as connection:
        register(connection, other, alone=False)


def columns(engine: sa.Engine) -> set[str]:
    return {column["name"] for column in sa.inspect(engine).get_columns("things")}


def is_usable(engine: sa.Engine) -> bool:
    with engine.connect() as connection:
        return migrate.is_usable(connection)


def test_a_process_that_starts_alone_applies_everything(
    empty_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(monkeypatch, tmp_path, NOTHING_SPECIAL)
    assert migrate.upgrade_at_start(empty_database) == ["0001", "0002", "0003"]
    assert columns(empty_database) == {"id", "new"}
    with empty_database.connect() as connection:
        log = connection.execute(sa.select(schema_revisions.c.revision, schema_revisions.c.kind)).all()
    assert sorted(map(tuple, log)) == [("0001", "pre"), ("0002", "pre"), ("0003", "post")]


def test_beside_others_it_applies_what_is_safe_and_the_rest_waits(
    empty_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if empty_database.dialect.name == "sqlite":
        pytest.skip("nobody runs beside another there")
    history(monkeypatch, tmp_path, NOTHING_SPECIAL[:1])
    migrate.upgrade_at_start(empty_database)
    lives(empty_database)
    history(monkeypatch, tmp_path, NOTHING_SPECIAL)
    assert not is_usable(empty_database)
    assert migrate.upgrade_at_start(empty_database) == ["0002"]
    assert columns(empty_database) == {"id", "old", "new"}
    assert is_usable(empty_database)
    assert migrate.needed(empty_database) == []
    assert migrate.pending(empty_database) == ["0003"]
    with pytest.raises(migrate.MigrationRefused, match="all h/1"):
        migrate.finish_upgrade(empty_database)
    with empty_database.begin() as connection:
        leave(connection, "old")
    assert migrate.finish_upgrade(empty_database) == ["0003"]


def test_the_older_version_may_start_again_until_a_post_revision_came(
    empty_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(monkeypatch, tmp_path, NOTHING_SPECIAL)
    new = migrate._FOLDER
    migrate.upgrade(empty_database, post=False)
    history(monkeypatch, tmp_path, NOTHING_SPECIAL[:1])
    assert migrate.upgrade_at_start(empty_database) == []
    assert is_usable(empty_database)
    old = migrate._FOLDER
    monkeypatch.setattr(migrate, "_FOLDER", new)
    migrate.upgrade(empty_database)
    monkeypatch.setattr(migrate, "_FOLDER", old)
    with pytest.raises(migrate.MigrationRefused, match="install a newer one"):
        migrate.upgrade_at_start(empty_database)


def test_a_post_revision_that_an_earlier_version_left_keeps_a_later_one_from_starting_beside_it(
    empty_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if empty_database.dialect.name == "sqlite":
        pytest.skip("nobody runs beside another there")
    history(monkeypatch, tmp_path, NOTHING_SPECIAL)
    migrate.upgrade(empty_database, post=False)
    lives(empty_database)
    history(monkeypatch, tmp_path, [*NOTHING_SPECIAL, ("0004", "pre", MORE)])
    with pytest.raises(migrate.MigrationRefused, match="0003 of an earlier version"):
        migrate.upgrade_at_start(empty_database)
    with empty_database.begin() as connection:
        leave(connection, "old")
    assert migrate.upgrade_at_start(empty_database) == ["0003", "0004"]


def test_a_table_in_use_is_waited_for(
    empty_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if empty_database.dialect.name == "sqlite":
        pytest.skip("it waits for the whole file by itself")
    monkeypatch.setattr(migrate, "_LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(migrate, "_RETRY_S", (0.01,))
    history(monkeypatch, tmp_path, NOTHING_SPECIAL[:1])
    migrate.upgrade(empty_database)
    history(monkeypatch, tmp_path, NOTHING_SPECIAL)
    with empty_database.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE things IN ACCESS SHARE MODE")
        with pytest.raises(migrate.MigrationRefused, match="stays in use"):
            migrate.upgrade(empty_database)
    assert columns(empty_database) == {"id", "old"}
    monkeypatch.setattr(migrate, "_RETRY_S", (0.1,) * 100)
    with empty_database.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE things IN ACCESS SHARE MODE")
        working = threading.Thread(target=migrate.upgrade, args=(empty_database,))
        working.start()
        time.sleep(0.2)
    working.join(30)
    assert columns(empty_database) == {"id", "new"}


BEFORE_ROLES = {"0001", "0002", "0003", "0004", "0005", "0006"}
"""The version that had these ran in one process: it was stopped for an upgrade, and nothing ran beside it."""


def test_pre_revisions_leave_room_for_the_code_before_them(empty_database: sa.Engine) -> None:
    """What an older version reads stays, and what it inserts is still taken."""
    kinds = migrate._kinds()
    for revision, kind in kinds.items():
        before = described(empty_database)
        with empty_database.begin() as connection:
            command.upgrade(migrate.alembic_config(connection), revision)
        after = described(empty_database)
        if kind == "post" or revision in BEFORE_ROLES:
            continue
        assert before.keys() <= after.keys(), f"{revision} takes a table away"
        for table, known in before.items():
            assert known.keys() <= after[table].keys(), f"{revision} takes a column of {table} away"
            for name in after[table].keys() - known.keys():
                assert after[table][name], f"{revision} adds {table}.{name}, which must be null or have a default"


def described(engine: sa.Engine) -> dict[str, dict[str, bool]]:
    """Columns by table, and whether an INSERT may leave them out."""
    inspector = sa.inspect(engine)
    return {
        table: {
            column["name"]: bool(column["nullable"]) or column.get("default") is not None
            for column in inspector.get_columns(table)
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }
