"""Processes that tell each other at once what they would find by looking (PostgreSQL)."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import pytest
import sqlalchemy as sa

from bellwire.db import version
from bellwire.db.engine import open_engine
from bellwire.db.notify import Audience, Listener, Topic, notify, with_audience
from tests.support.postgres import PostgresServer

Heard = SimpleQueue[tuple[Topic, int]]


@pytest.fixture
def database(postgres: PostgresServer, postgres_template: str) -> Iterator[sa.Engine]:
    url = postgres.create_database(postgres_template)
    engine = open_engine(url)
    yield engine
    engine.dispose()
    postgres.drop_database(url)


@contextmanager
def listening(
    engine: sa.Engine, audience: Audience, each_round: Callable[[], None] = lambda: None
) -> Iterator[tuple[Listener, Heard]]:
    heard: Heard = SimpleQueue()
    listener = Listener(engine, audience, lambda topic, number: heard.put((topic, number)), each_round=each_round)
    listener.start()
    try:
        assert listener.connected.wait(10)
        assert {heard.get(timeout=10)[0] for _ in range(2)} == {Topic.OUTBOX, Topic.CONFIG}  # a first look at all
        yield listener, heard
    finally:
        listener.stop()


def test_a_commit_is_heard_once_and_a_rollback_not(database: sa.Engine) -> None:
    with listening(database, Audience()) as (_, heard):
        with database.connect() as connection:
            notify(connection, Topic.CONFIG)
            connection.rollback()
        with database.begin() as connection:
            notify(connection, Topic.OUTBOX)
            notify(connection, Topic.OUTBOX)
        with database.begin() as connection:
            version.bump(connection)
        assert heard.get(timeout=10) == (Topic.OUTBOX, 0)
        assert heard.get(timeout=10) == (Topic.CONFIG, 0)
        assert heard.empty()


def test_one_does_not_hear_oneself(database: sa.Engine) -> None:
    me = Audience()
    with listening(database, me) as (_, heard):
        with with_audience(database, me).begin() as connection:
            notify(connection, Topic.OUTBOX)
        with with_audience(database, Audience()).begin() as connection:
            notify(connection, Topic.CONFIG)
        assert heard.get(timeout=10) == (Topic.CONFIG, 0)
        assert heard.empty()


def test_nobody_is_told_where_nobody_is(database: sa.Engine) -> None:
    lonely = Audience()
    lonely.others = False
    with listening(database, Audience()) as (_, heard):
        with with_audience(database, lonely).begin() as connection:
            notify(connection, Topic.OUTBOX)
        with database.begin() as connection:
            notify(connection, Topic.CONFIG)
        assert heard.get(timeout=10) == (Topic.CONFIG, 0)


def test_attempts_are_told_with_their_newest_id(database: sa.Engine) -> None:
    with listening(database, Audience()) as (teller, own), listening(database, Audience()) as (_, heard):
        teller.tell_attempts(2**60)
        teller.tell_attempts(2**60 - 5)
        assert heard.get(timeout=10) == (Topic.ATTEMPTS, 2**60)
        assert own.empty()


def test_a_lost_connection_is_made_again_and_everything_looked_at(database: sa.Engine) -> None:
    rounds = threading.Semaphore(0)
    with listening(database, Audience(), rounds.release) as (listener, heard):
        with database.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert {heard.get(timeout=20)[0] for _ in range(2)} == {Topic.OUTBOX, Topic.CONFIG}
        assert listener.connected.is_set()
        with database.begin() as connection:
            notify(connection, Topic.OUTBOX)
        assert heard.get(timeout=10) == (Topic.OUTBOX, 0)
        assert rounds.acquire(timeout=10)


def test_what_a_newer_version_tells_is_left_alone(database: sa.Engine) -> None:
    with listening(database, Audience()) as (_, heard):
        with database.begin() as connection:
            connection.exec_driver_sql("SELECT pg_notify('bellwire', 'weather someone 5')")
            notify(connection, Topic.CONFIG)
        assert heard.get(timeout=10) == (Topic.CONFIG, 0)
