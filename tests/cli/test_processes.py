"""`bellwire workers` and `bellwire migrate`: what an operator sees of processes and of an upgrade."""

import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from bellwire.db import migrate
from bellwire.db.engine import open_engine
from bellwire.db.tables import schema_revisions
from bellwire.db.workers import DEAD_AFTER_MS, Role, Worker, register
from tests.cli.conftest import Bellwire, answer


@pytest.fixture
def engine(bellwire: Bellwire, tmp_path: Path) -> sa.Engine:
    """The installation's database."""
    bellwire("migrate")
    return open_engine(f"sqlite:///{tmp_path / 'data' / 'bellwire.db'}")


def put(engine: sa.Engine, name: str, node: int, *, silent_ms: int = 0) -> None:
    now_ms = time.time_ns() // 1_000_000
    worker = Worker(
        id=name,
        node=node,
        role=Role.WORKER,
        host="machine",
        pid=7,
        version="1.2.3",
        started_at_ms=now_ms - 7_200_000,
        seen_at_ms=now_ms - silent_ms,
    )
    with engine.begin() as connection:
        register(connection, worker, alone=False)


def test_processes_are_listed_and_silent_ones_are_marked(bellwire: Bellwire, engine: sa.Engine) -> None:
    assert "No process runs." in bellwire("workers").stdout
    put(engine, "w1", 1)
    put(engine, "w2", 2, silent_ms=DEAD_AFTER_MS + 1)
    lines = bellwire("workers").stdout.splitlines()
    assert lines[1].split()[:7] == ["w1", "worker", "machine", "7", "1.2.3", "2", "h"]
    assert [line.endswith("(silent)") for line in lines[1:]] == [False, True]
    workers = answer(bellwire("workers", "--json"))["workers"]
    assert isinstance(workers, list)
    assert [one["id"] for one in workers] == ["w1", "w2"]
    engine.dispose()


def test_check_changes_nothing_and_says_by_its_status_whether_something_waits(
    bellwire: Bellwire, tmp_path: Path
) -> None:
    database = tmp_path / "data" / "bellwire.db"
    database.parent.mkdir()
    database.touch()
    found = answer(bellwire("migrate", "--check", "--json", status=1))
    assert (found["applied"], found["waiting"]) == ([], list(migrate._kinds()))
    bellwire("migrate")
    assert answer(bellwire("migrate", "--check", "--json"))["waiting"] == []


@pytest.mark.parametrize("how", [[], ["--post"]])
def test_a_fresh_database_gets_everything_and_a_log_of_it(bellwire: Bellwire, tmp_path: Path, how: list[str]) -> None:
    known = list(migrate._kinds())
    assert answer(bellwire("migrate", *how, "--json"))["applied"] == known
    engine = open_engine(f"sqlite:///{tmp_path / 'data' / 'bellwire.db'}")
    with engine.connect() as connection:
        log = connection.execute(sa.select(schema_revisions.c.revision, schema_revisions.c.kind)).all()
    assert {row.revision: row.kind for row in log} == migrate._kinds()
    engine.dispose()


def test_pre_leaves_the_post_revisions_at_the_end(bellwire: Bellwire) -> None:
    known = list(migrate._kinds())
    last = max(index for index, kind in enumerate(migrate._kinds().values()) if kind == "pre")
    assert answer(bellwire("migrate", "--pre", "--json"))["applied"] == known[: last + 1]
    bellwire("project", "create", "Mine")  # works on it
    status = 0 if last + 1 == len(known) else 1
    assert answer(bellwire("migrate", "--check", "--json", status=status))["waiting"] == known[last + 1 :]


def test_a_worker_on_sqlite_is_refused_in_one_line(bellwire: Bellwire) -> None:
    refused = bellwire("serve", "--role", "worker", "--port", "0", status=1)
    assert "needs PostgreSQL: set BELLWIRE_DATABASE_URL" in refused.stderr
