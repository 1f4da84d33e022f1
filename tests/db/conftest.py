"""Databases for the tests: each test that asks for `engine` runs once on SQLite and once on PostgreSQL."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bellwire.db.engine import open_engine
from bellwire.db.migrate import upgrade
from bellwire.db.secrets import Sealer
from tests.support.databases import chosen, database_url
from tests.support.postgres import PostgresMissing, PostgresServer, database_name, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the run (of a worker). Without PostgreSQL the tests are skipped, in CI they fail."""
    try:
        with running_postgres() as server:
            yield server
    except PostgresMissing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """Name of a database with the whole schema, to be copied."""
    url = postgres.create_database()
    engine = open_engine(url)
    upgrade(engine)
    engine.dispose()
    return database_name(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A database without a schema."""
    if request.param == "sqlite":
        yield from _opened(f"sqlite:///{tmp_path / 'empty.db'}")
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database()
        yield from _opened(url)
        server.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A database with the whole schema and nothing in it."""
    if request.param == "sqlite":
        for opened in _opened(f"sqlite:///{tmp_path / 'bellwire.db'}"):
            upgrade(opened)
            yield opened
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database(request.getfixturevalue("postgres_template"))
        yield from _opened(url)
        server.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """For tests of whole hubs in `tmp_path`: they run once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        yield database_url(tmp_path)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create_database(request.getfixturevalue("postgres_template"))
    with chosen(tmp_path, url):
        yield url
    server.drop_database(url)


@pytest.fixture
def sealer(tmp_path: Path) -> Sealer:
    """A sealer with a key of its own."""
    return Sealer.open_or_create(tmp_path)


def _opened(url: str) -> Iterator[sa.Engine]:
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()
