"""Moving from SQLite to PostgreSQL with one command, and going on there."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from msgspec.structs import replace

from bellwire.app import Hub
from bellwire.cli import main
from bellwire.db import migrate
from bellwire.db.engine import claim_file, open_engine
from bellwire.db.move import move
from bellwire.db.projects import create_project
from bellwire.db.tables import attempts, customers, events, metadata, notices, periods
from bellwire.kit.lockfile import LockFile
from tests.cli.conftest import answer
from tests.db.conftest import postgres
from tests.support.deliveries import until
from tests.support.postgres import PostgresServer
from tests.support.world import DAY_MS, World, world

__all__ = ["postgres"]


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    made = postgres.create_database()
    yield made
    postgres.drop_database(made)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    """A small installation on SQLite, with a row or two."""
    monkeypatch.setenv("BELLWIRE_DATA_DIR", str(tmp_path))
    engine = open_engine(f"sqlite:///{tmp_path / 'bellwire.db'}")
    migrate.upgrade(engine)
    with engine.begin() as connection:
        project = create_project(connection, name="Läden & Söhne", now_ms=1)
        rows = [
            {"project_id": project.id, "kind": "k", "subject": str(n), "message": "🛒" * n, "count": n}
            | {"first_seen_ms": 2**62 - n, "last_seen_ms": -n}
            for n in range(50)
        ]
        connection.execute(sa.insert(notices), rows)
    yield engine
    engine.dispose()


def run(*arguments: str, status: int = 0, stdin: str | None = None) -> Result:
    result = CliRunner(catch_exceptions=False).invoke(main, ["move-database", *arguments], input=stdin)
    assert result.exit_code == status, result.output
    return result


def test_an_installation_that_has_lived_goes_on_where_it_was(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(it: World) -> None:
        for number in range(5):
            assert await it.post(it.apple, it.apple.purchase("pro_monthly", trial=number == 0), f"user-{number}") == 200
            assert await it.post(it.google, it.google.purchase("pro:monthly"), f"user-{number}") == 200
        await it.set_attributes("user-0", __email="ann@example.com")
        it.statuses["away"] = 503
        away = await it.webhook("away")
        await it.advance(35 * DAY_MS)
        before = {table.name: it.rows(table, sa.literal_column("1")) for table in (customers, periods, attempts)}
        last = max(row["seq"] for row in it.rows(events, events.c.seq))
        settings = it.hub.settings
        await it.stop()
        monkeypatch.setenv("BELLWIRE_DATA_DIR", str(settings.data_dir))
        result = await asyncio.to_thread(run, "--to", url)
        assert "events: " in result.stderr
        assert "every value" in result.stdout
        await it.start(replace(settings, database_url=url))
        for name, rows in before.items():
            assert len(it.rows(metadata.tables[name], sa.literal_column("1"))) >= len(rows)
        assert await it.entitled("user-1")
        assert it.rows(attempts, attempts.c.id)[0] == before["attempts"][0]
        it.statuses["away"] = 200
        assert await it.post(it.apple, it.apple.purchase("pro_yearly"), "user-1") == 200
        await until(lambda: any(event["app_user_id"] == "user-1" for event in it.hooks["away"][-3:]))
        await it.advance(DAY_MS)
        fresh = [row for row in it.rows(events, events.c.seq) if row["seq"] > last]
        assert [row["seq"] for row in fresh] == list(range(last + 1, last + 1 + len(fresh)))
        assert fresh
        assert len({event["id"] for event in it.events()}) == len(it.events())
        assert it.attempts(away)[-1]["outcome"] == "delivered"

    async def main_() -> None:
        async with asyncio.timeout(120), world(tmp_path) as it:
            await scene(it)

    asyncio.run(main_())


def test_every_table_is_compared(source: sa.Engine, url: str) -> None:
    found = answer(run("--to", url, "--json"))
    assert found["same"] is True
    tables = found["tables"]
    assert isinstance(tables, list)
    assert {one["table"] for one in tables} == set(metadata.tables) - {"workers", "schema_revisions"}
    [noted] = [one for one in tables if one["table"] == "notices"]
    assert (noted["rows"], noted["moved"], noted["whole"]) == (50, 50, True)


def test_the_address_may_come_from_stdin_where_nobody_sees_the_password(source: sa.Engine, url: str) -> None:
    run("--to", "-", stdin=url + "\n")


def test_a_target_with_something_in_it_is_left_alone(source: sa.Engine, url: str) -> None:
    run("--to", url)
    assert "is not empty" in run("--to", url, status=1).stderr
    run("--to", url, "--overwrite")
    target = open_engine(url)
    with target.begin() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(notices)).scalar_one() == 50
        connection.exec_driver_sql("CREATE TABLE invoices (id INTEGER)")
    assert "invoices, which is not Bellwire's" in run("--to", url, "--overwrite", status=1).stderr
    target.dispose()


def test_a_running_hub_keeps_the_source(source: sa.Engine, url: str) -> None:
    claim = claim_file(source)
    assert isinstance(claim, LockFile)
    assert "stop it first" in run("--to", url, status=1).stderr
    claim.release()
    run("--to", url)


def test_a_difference_is_found_and_keeps_hubs_away(source: sa.Engine, tmp_path: Path, url: str) -> None:
    target = open_engine(url)

    def meddle(table: str, done: int, total: int) -> None:
        if table == "sessions":  # copied after the projects
            with target.begin() as connection:
                connection.exec_driver_sql("UPDATE projects SET name = 'Läden & Sohne'")

    compared = move(source, target, overwrite=False, now_ms=time.time_ns() // 1_000_000, tell=meddle)
    [wrong] = [one for one in compared if one.differences]
    assert (wrong.table, wrong.rows, wrong.moved) == ("projects", 1, 1)
    assert wrong.differences[0].startswith("name (bytes): ")
    with pytest.raises(migrate.MigrationRefused, match="did not end well"):
        migrate.upgrade_at_start(target)
    target.dispose()
    run("--to", url, status=1)
    run("--to", url, "--overwrite")
    migrate.upgrade_at_start(target)
    target.dispose()


def test_the_same_sums_of_other_values_are_a_difference(source: sa.Engine, url: str) -> None:
    target = open_engine(url)

    def meddle(table: str, done: int, total: int) -> None:
        if table == "sessions":
            with target.begin() as connection:
                connection.exec_driver_sql("UPDATE projects SET name = 'Söhne & Läden'")

    [wrong] = [
        one
        for one in move(source, target, overwrite=False, now_ms=time.time_ns() // 1_000_000, tell=meddle)
        if one.differences
    ]
    assert wrong.differences == ["the same sums, but other values"]
    target.dispose()


def test_what_postgresql_cannot_hold_is_named(source: sa.Engine, url: str) -> None:
    with source.begin() as connection:
        connection.execute(sa.update(notices).where(notices.c.subject == "7").values(message="a\0b"))
    assert "the table notices could not be copied" in run("--to", url, status=1).stderr


def test_only_from_sqlite_to_postgresql(source: sa.Engine, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "must begin with postgresql://" in run("--to", "sqlite:///x.db", status=2).stderr
    monkeypatch.setenv("BELLWIRE_DATABASE_URL", url)
    assert "not on SQLite" in run("--to", url, status=1).stderr


def test_a_hub_holds_the_lock_that_keeps_the_move_away(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BELLWIRE_DATA_DIR", str(tmp_path))

    async def scene() -> None:
        from bellwire.settings import Settings

        async with Hub(Settings(data_dir=tmp_path)).running():
            assert "stop it first" in (await asyncio.to_thread(run, "--to", url, status=1)).stderr

    asyncio.run(scene())
