"""API keys: what they look like, who they let in (spec: api 0.1). Looked up by SHA-256; public ones can be shown again."""

import hashlib
from enum import StrEnum

import msgspec
import sqlalchemy as sa

from bellwire.db import version
from bellwire.db.secrets import SealBroken, Sealer
from bellwire.db.tables import api_keys, apps
from bellwire.kit.ids import new_public_id, new_token
from bellwire.model.enums import Store


class KeyKind(StrEnum):
    """`public` ships inside apps and reaches one app; `secret` stays on servers and reaches the whole project."""

    PUBLIC = "public"
    SECRET = "secret"  # noqa: S105 (a kind of key, not a password)


class KeyRefused(Exception):
    """A key like this cannot be made; the message says why."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a key lets in; never the key itself."""

    id: str
    project_id: str
    app_id: str | None
    kind: KeyKind
    name: str
    hint: str
    """Prefix and last four characters, to tell keys apart."""
    created_at_ms: int
    revoked_at_ms: int | None = None


SECRET_PREFIX = "sk_"  # noqa: S105
PUBLIC_PREFIXES = {
    Store.APP_STORE: "appl_",
    Store.MAC_APP_STORE: "mac_",
    Store.PLAY_STORE: "goog_",
    Store.AMAZON: "amzn_",
    Store.STRIPE: "strp_",
    Store.RC_BILLING: "rcb_",
    Store.PADDLE: "pdl_",
    Store.ROKU: "roku_",
    Store.TEST_STORE: "test_",
}
"""SDKs check that a key's prefix fits their store."""


def hash_key(key: str) -> str:
    """The lookup value of a key. A plain hash is enough: keys are 192 random bits, nothing can be guessed."""
    return hashlib.sha256(key.encode()).hexdigest()


def create_key(
    connection: sa.Connection,
    sealer: Sealer,
    *,
    project_id: str,
    kind: KeyKind,
    name: str,
    now_ms: int,
    app_id: str | None = None,
) -> tuple[str, ApiKey]:
    """Make a key and return it in plain, which for a secret key is the only time. Raises KeyRefused.

    A public key needs an app of this project, whose store gives the prefix; a secret key belongs to no app.
    """
    if (kind is KeyKind.PUBLIC) != (app_id is not None):
        raise KeyRefused("a public key belongs to an app, a secret key to the whole project")
    prefix = SECRET_PREFIX if app_id is None else _public_prefix(connection, project_id, app_id)
    plain = new_token(prefix)
    key = ApiKey(
        id=new_public_id("key"),
        project_id=project_id,
        app_id=app_id,
        kind=kind,
        name=name,
        hint=f"{prefix}…{plain[-4:]}",
        created_at_ms=now_ms,
    )
    sealed = sealer.seal(plain.encode(), binding=_binding(key.id)) if kind is KeyKind.PUBLIC else None
    connection.execute(
        sa.insert(api_keys).values(
            id=key.id,
            project_id=project_id,
            app_id=app_id,
            kind=kind.value,
            name=name,
            key_hash=hash_key(plain),
            hint=key.hint,
            sealed_key=sealed,
            created_at_ms=now_ms,
        )
    )
    version.bump(connection)
    return plain, key


def revoke_key(connection: sa.Connection, project_id: str, key_id: str, *, now_ms: int) -> bool:
    """Stop a key for good; False when there is no such key, or it was revoked before."""
    done = connection.execute(
        sa.update(api_keys)
        .where(api_keys.c.project_id == project_id, api_keys.c.id == key_id, api_keys.c.revoked_at_ms.is_(None))
        .values(revoked_at_ms=now_ms)
    )
    version.bump(connection)
    return done.rowcount == 1


def list_keys(connection: sa.Connection, project_id: str) -> list[ApiKey]:
    """Keys of a project, revoked ones too, oldest first."""
    rows = connection.execute(
        sa.select(api_keys).where(api_keys.c.project_id == project_id).order_by(api_keys.c.created_at_ms, api_keys.c.id)
    )
    return [_key(row) for row in rows]


def show_public_key(connection: sa.Connection, sealer: Sealer, project_id: str, key_id: str) -> str | None:
    """A public key in plain; None for a secret or unknown key, and for one whose seal is broken: it works all the same."""
    sealed = connection.execute(
        sa.select(api_keys.c.sealed_key).where(api_keys.c.project_id == project_id, api_keys.c.id == key_id)
    ).scalar_one_or_none()
    try:
        return None if sealed is None else sealer.open(sealed, binding=_binding(key_id)).decode()
    except SealBroken:
        return None


def public_key_of_app(connection: sa.Connection, sealer: Sealer, project_id: str, app_id: str) -> str | None:
    """The app's oldest public key that is not revoked, in plain: the one to put into the SDK."""
    key_id = connection.execute(
        sa.select(api_keys.c.id)
        .where(
            api_keys.c.project_id == project_id,
            api_keys.c.app_id == app_id,
            api_keys.c.kind == KeyKind.PUBLIC.value,
            api_keys.c.revoked_at_ms.is_(None),
        )
        .order_by(api_keys.c.created_at_ms, api_keys.c.id)
        .limit(1)
    ).scalar_one_or_none()
    return None if key_id is None else show_public_key(connection, sealer, project_id, key_id)


def load_valid_keys(connection: sa.Connection) -> dict[str, ApiKey]:
    """All keys that are not revoked, of all projects, by hash: for the configuration cache."""
    rows = connection.execute(sa.select(api_keys).where(api_keys.c.revoked_at_ms.is_(None)))
    return {row.key_hash: _key(row) for row in rows}


def _public_prefix(connection: sa.Connection, project_id: str, app_id: str) -> str:
    store = connection.execute(
        sa.select(apps.c.store).where(apps.c.project_id == project_id, apps.c.id == app_id)
    ).scalar_one_or_none()
    if store is None:
        raise KeyRefused(f"project {project_id} has no app {app_id}")
    prefix = PUBLIC_PREFIXES.get(Store(store))
    if prefix is None:
        raise KeyRefused(f"apps of store {store} have no SDK keys")
    return prefix


def _key(row: sa.Row[*tuple[object, ...]]) -> ApiKey:
    return ApiKey(
        id=row.id,
        project_id=row.project_id,
        app_id=row.app_id,
        kind=KeyKind(row.kind),
        name=row.name,
        hint=row.hint,
        created_at_ms=row.created_at_ms,
        revoked_at_ms=row.revoked_at_ms,
    )


def _binding(key_id: str) -> str:
    return f"api_keys/sealed_key/{key_id}"
