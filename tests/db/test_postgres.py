"""How PostgreSQL is connected to, and what is said when it cannot be."""

import os
import subprocess
import sys
from typing import Any

import pytest
import sqlalchemy as sa

from bellwire.db.engine import open_engine
from bellwire.db.postgres import DatabaseUnusable, check_rights, check_server, in_words, is_away, is_conflict, place
from tests.support.postgres import PostgresServer


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.create_database()


def value(engine: sa.Engine, name: str) -> Any:
    with engine.connect() as connection:
        return connection.exec_driver_sql(f"SHOW {name}").scalar_one()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_usual_spelling_of_the_address_is_taken(url: str, scheme: str) -> None:
    engine = open_engine(url.replace("postgresql+psycopg", scheme, 1))
    check_server(engine)
    assert engine.dialect.driver == "psycopg"
    engine.dispose()


@pytest.mark.parametrize("other", ["mysql://root@localhost/x", "postgresql+psycopg2://u@localhost/x"])
def test_another_kind_of_database_is_refused(other: str) -> None:
    with pytest.raises(DatabaseUnusable, match="must begin with postgresql://"):
        open_engine(other)


def test_connections_show_who_they_are_and_never_hang_for_ever(url: str) -> None:
    engine = open_engine(url, connections=2, application="bellwire worker")
    shown = {
        name: value(engine, name)
        for name in (
            "application_name",
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
        )
    }
    assert shown == {
        "application_name": "bellwire worker",
        "statement_timeout": "1min",
        "lock_timeout": "20s",
        "idle_in_transaction_session_timeout": "1min",
    }
    engine.dispose()


def test_what_the_address_says_goes_first(url: str) -> None:
    engine = open_engine(f"{url}&application_name=mine&options=-c%20statement_timeout%3D7s")
    assert (value(engine, "application_name"), value(engine, "statement_timeout")) == ("mine", "7s")
    engine.dispose()


def test_no_more_connections_than_allowed_are_opened(url: str) -> None:
    engine = open_engine(f"{url}", connections=2)
    engine.pool._timeout = 0.05  # type: ignore[attr-defined]  # pyrefly: ignore[missing-attribute]
    with engine.connect(), engine.connect(), pytest.raises(sa.exc.TimeoutError) as caught:
        engine.connect()
    assert is_away(caught.value)
    engine.dispose()


def test_a_connection_that_was_cut_while_it_lay_idle_is_made_anew(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellwire.db.postgres._TRUSTED_S", -1.0)
    engine, other = open_engine(url), open_engine(url)
    with engine.connect() as first, engine.connect() as second:
        pids = [one.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() for one in (first, second)]
    with other.connect() as connection:
        for pid in pids:
            connection.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)")
    with engine.connect() as first, engine.connect() as second:
        assert first.exec_driver_sql("SELECT 1").scalar_one() == second.exec_driver_sql("SELECT 1").scalar_one() == 1
    engine.dispose()
    other.dispose()


def test_a_connection_that_is_cut_in_use_is_told_from_a_fault(url: str) -> None:
    engine, other = open_engine(url), open_engine(url)
    with engine.connect() as connection, other.connect() as killer:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        killer.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)")
        with pytest.raises(sa.exc.DBAPIError) as away:
            connection.exec_driver_sql("SELECT 1")
    assert is_away(away.value)
    assert not is_conflict(away.value)
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError) as fault:
        connection.exec_driver_sql("SELECT 1 FROM nowhere")
    assert not is_away(fault.value)
    engine.dispose()
    other.dispose()


def test_a_server_out_of_reach_is_named_without_the_password() -> None:
    engine = open_engine("postgresql://ann:hidden@127.0.0.1:1/shop")
    with pytest.raises(DatabaseUnusable) as caught:
        check_server(engine)
    said = str(caught.value)
    assert "the database shop at 127.0.0.1:1 cannot be used" in said
    assert "Is the server running" in said
    assert "hidden" not in said


def test_a_database_that_does_not_exist_is_named(url: str) -> None:
    missing = url.replace("/test_", "/missing_", 1)
    engine = open_engine(missing)
    with pytest.raises(DatabaseUnusable, match="does not exist"):
        check_server(engine)


def test_an_old_server_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellwire.db.postgres.OLDEST", 99)
    engine = open_engine(url)
    with pytest.raises(DatabaseUnusable, match="Bellwire needs 99 or newer: upgrade the server"):
        check_server(engine)
    engine.dispose()


def test_a_database_in_another_encoding_is_refused(url: str) -> None:
    engine = open_engine(url)
    with engine.connect() as connection:
        plain = connection.execution_options(isolation_level="AUTOCOMMIT")
        plain.exec_driver_sql("DROP DATABASE IF EXISTS latin")
        plain.exec_driver_sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    other = open_engine(engine.url.set(database="latin").render_as_string(hide_password=False))
    with pytest.raises(DatabaseUnusable, match="has the encoding LATIN1"):
        check_server(other)
    other.dispose()
    engine.dispose()


def test_a_user_without_rights_is_told_which(url: str) -> None:
    owner = open_engine(url)
    with owner.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE secret (id INTEGER)")
        connection.exec_driver_sql("DROP ROLE IF EXISTS guest")
        connection.exec_driver_sql("CREATE ROLE guest LOGIN")
    guest = open_engine(url.replace("postgres@", "guest@", 1))
    with guest.connect() as connection, pytest.raises(DatabaseUnusable, match="the user guest of the database test_"):
        check_rights(connection)
    with guest.connect() as connection, pytest.raises(sa.exc.DBAPIError) as caught:
        connection.exec_driver_sql("SELECT * FROM secret")
    assert "Give the user guest rights" in in_words(caught.value, guest.url)
    guest.dispose()
    owner.dispose()


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("postgresql://u:p@db.example.com:6432/shop", "the database shop at db.example.com:6432"),
        ("postgresql://u:p@/shop?host=/run/postgresql", "the database shop at /run/postgresql"),
        ("postgresql:///shop", "the database shop at the local socket"),
    ],
)
def test_a_database_is_named_without_its_password(address: str, named: str) -> None:
    assert place(sa.make_url(address)) == named


def test_a_missing_driver_is_said() -> None:
    """In a process of its own, which cannot find psycopg."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from bellwire.db.engine import open_engine\n"
        "open_engine('postgresql://u@localhost/x')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert "install bellwire[postgres]" in done.stderr.splitlines()[-1]
