"""Logins: passwords only as Argon2id, sessions only as hashes, both databases."""

import pytest
import sqlalchemy as sa

from bellwire.db import users
from bellwire.db.tables import sessions
from bellwire.db.tables import users as users_table

HOUR_MS = 3_600_000
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def password_hash() -> str:
    return users.hash_password(PASSWORD)


def test_authenticate(engine: sa.Engine, password_hash: str) -> None:
    with engine.begin() as connection:
        user = users.create_user(connection, email=" Ann@Example.com ", password_hash=password_hash, now_ms=1)
        assert user.email == "ann@example.com"
        assert users.authenticate(connection, "ANN@example.com", PASSWORD) == user
        assert users.authenticate(connection, "ann@example.com", PASSWORD + "x") is None
        assert users.authenticate(connection, "bob@example.com", PASSWORD) is None
        stored = connection.execute(sa.select(users_table.c.password_hash)).scalar_one()
        assert stored.startswith("$argon2id$")
        assert users.list_users(connection) == [user]


def test_unusable_users_are_refused(engine: sa.Engine, password_hash: str) -> None:
    with engine.begin() as connection:
        users.create_user(connection, email="ann@example.com", password_hash=password_hash, now_ms=1)
        for email in ("Ann@example.com", "ann", "@", "a b@c.d"):
            with pytest.raises(users.UserRefused):
                users.create_user(connection, email=email, password_hash=password_hash, now_ms=1)
    with pytest.raises(users.UserRefused, match="10 characters"):
        users.hash_password("short")


def test_session_lives_until_its_end(engine: sa.Engine, password_hash: str) -> None:
    with engine.begin() as connection:
        user = users.create_user(connection, email="ann@example.com", password_hash=password_hash, now_ms=1)
        token, csrf_token = users.create_session(connection, user.id, now_ms=1000, lifetime_ms=HOUR_MS)
        assert token not in str(connection.execute(sa.select(sessions)).all())
        session = users.load_session(connection, token, now_ms=1000 + HOUR_MS - 1)
        assert session is not None
        assert (session.user_id, session.email, session.csrf_token) == (user.id, user.email, csrf_token)
        assert users.csrf_matches(session, csrf_token)
        assert not users.csrf_matches(session, csrf_token + "ä")
        assert users.load_session(connection, token, now_ms=1000 + HOUR_MS) is None
        assert users.load_session(connection, "another", now_ms=1000) is None


def test_ended_sessions_are_gone(engine: sa.Engine, password_hash: str) -> None:
    with engine.begin() as connection:
        user = users.create_user(connection, email="ann@example.com", password_hash=password_hash, now_ms=1)
        expired, _ = users.create_session(connection, user.id, now_ms=0, lifetime_ms=10)
        logged_out, _ = users.create_session(connection, user.id, now_ms=0, lifetime_ms=HOUR_MS)
        kept, _ = users.create_session(connection, user.id, now_ms=20, lifetime_ms=HOUR_MS)
        assert not users.delete_session(connection, expired)  # swept when somebody logged in
        assert users.delete_session(connection, logged_out)
        assert users.load_session(connection, logged_out, now_ms=20) is None
        assert users.load_session(connection, kept, now_ms=20) is not None
        assert users.change_password(connection, user.id, users.hash_password("another password"))
        assert users.load_session(connection, kept, now_ms=20) is None
        assert users.authenticate(connection, user.email, PASSWORD) is None
        assert not users.change_password(connection, "nobody", password_hash)
