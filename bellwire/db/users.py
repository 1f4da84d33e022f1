"""People who may log in to the dashboard: Argon2id passwords, sessions whose tokens are stored as hashes.

Hashing takes tens of milliseconds on purpose: do it (`hash_password`, `authenticate`) outside a writing transaction.
Times of sessions are real time, never the simulator's.
"""

import hashlib
import hmac
import secrets
from functools import cache

import msgspec
import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from bellwire.db.tables import sessions, users
from bellwire.kit.ids import new_public_id, new_token

MIN_PASSWORD_CHARS = 10
_HASHER = PasswordHasher()


class UserRefused(Exception):
    """A user like this cannot be made; the message says why."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    email: str
    created_at_ms: int


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One login. `csrf_token` goes into every form of the session and comes back with it."""

    user_id: str
    email: str
    csrf_token: str
    created_at_ms: int
    expires_at_ms: int


def hash_password(password: str) -> str:
    """Argon2id with the library's recommended cost. Raises UserRefused for a password that is too short."""
    if len(password) < MIN_PASSWORD_CHARS:
        raise UserRefused(f"a password needs at least {MIN_PASSWORD_CHARS} characters")
    return _HASHER.hash(password)


def create_user(connection: sa.Connection, *, email: str, password_hash: str, now_ms: int) -> User:
    """Add a user. Raises UserRefused when the address is taken or is none."""
    address = _normal(email)
    if "@" not in address.strip("@") or any(letter.isspace() for letter in address):
        raise UserRefused(f"{email!r} is not an e-mail address")
    if connection.execute(sa.select(users.c.id).where(users.c.email == address)).one_or_none() is not None:
        raise UserRefused(f"there is a user {address} already")
    user = User(id=new_public_id("user"), email=address, created_at_ms=now_ms)
    connection.execute(
        sa.insert(users).values(id=user.id, email=address, password_hash=password_hash, created_at_ms=now_ms)
    )
    return user


def change_password(connection: sa.Connection, user_id: str, password_hash: str) -> bool:
    """Set a new password and end all sessions of the user; False = no such user."""
    done = connection.execute(sa.update(users).where(users.c.id == user_id).values(password_hash=password_hash))
    connection.execute(sa.delete(sessions).where(sessions.c.user_id == user_id))
    return done.rowcount == 1


def list_users(connection: sa.Connection) -> list[User]:
    """All users, oldest first."""
    rows = connection.execute(sa.select(users).order_by(users.c.created_at_ms, users.c.id))
    return [User(id=row.id, email=row.email, created_at_ms=row.created_at_ms) for row in rows]


def authenticate(connection: sa.Connection, email: str, password: str) -> User | None:
    """The user with this address and password. Unknown address and wrong password look and last alike."""
    row = connection.execute(sa.select(users).where(users.c.email == _normal(email))).one_or_none()
    try:
        _HASHER.verify(_nobody() if row is None else row.password_hash, password)
    except (VerificationError, InvalidHashError):
        return None
    return None if row is None else User(id=row.id, email=row.email, created_at_ms=row.created_at_ms)


def create_session(connection: sa.Connection, user_id: str, *, now_ms: int, lifetime_ms: int) -> tuple[str, str]:
    """Log a user in: (token for the cookie, CSRF token). The cookie's token is stored nowhere."""
    token, csrf_token = new_token(), new_token()
    connection.execute(sa.delete(sessions).where(sessions.c.expires_at_ms <= now_ms))
    connection.execute(
        sa.insert(sessions).values(
            token_hash=_hash(token),
            user_id=user_id,
            csrf_token=csrf_token,
            created_at_ms=now_ms,
            expires_at_ms=now_ms + lifetime_ms,
        )
    )
    return token, csrf_token


def load_session(connection: sa.Connection, token: str, *, now_ms: int) -> Session | None:
    """The session of a cookie, unless it has expired or was ended."""
    row = connection.execute(
        sa.select(sessions, users.c.email)
        .join(users, sessions.c.user_id == users.c.id)
        .where(sessions.c.token_hash == _hash(token), sessions.c.expires_at_ms > now_ms)
    ).one_or_none()
    if row is None:
        return None
    return Session(
        user_id=row.user_id,
        email=row.email,
        csrf_token=row.csrf_token,
        created_at_ms=row.created_at_ms,
        expires_at_ms=row.expires_at_ms,
    )


def delete_session(connection: sa.Connection, token: str) -> bool:
    """Log out; False when the session was over already."""
    return connection.execute(sa.delete(sessions).where(sessions.c.token_hash == _hash(token))).rowcount == 1


def csrf_matches(session: Session, presented: str) -> bool:
    """Whether a form came from this session; compared in constant time."""
    return hmac.compare_digest(session.csrf_token.encode(), presented.encode())


@cache
def _nobody() -> str:
    """A hash to check for unknown e-mail addresses, so that they take as long as wrong passwords."""
    return _HASHER.hash(secrets.token_urlsafe(16))


def _normal(email: str) -> str:
    return email.strip().lower()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
