"""Apps of a project: one store configuration each, its secrets sealed, its notification token."""

from collections.abc import Mapping

import msgspec
import sqlalchemy as sa

from bellwire.db import version
from bellwire.db.secrets import Sealer, open_values
from bellwire.db.tables import apps
from bellwire.kit.ids import new_public_id, new_token
from bellwire.model.enums import CredentialStatus, Store
from bellwire.model.projects import App

_SAME_MOMENT_MS = 1_000


def create_app(
    connection: sa.Connection,
    sealer: Sealer,
    *,
    project_id: str,
    store: Store,
    name: str,
    config: Mapping[str, object],
    secrets: Mapping[str, str],
    now_ms: int,
    track_new_purchases: bool = False,
    small_business_from_ms: int | None = None,
    small_business_until_ms: int | None = None,
) -> App:
    """Add an app with a fresh notification token. `config` and `secrets` are the store's declared structs as JSON."""
    app = App(
        id=new_public_id("app"),
        project_id=project_id,
        store=store,
        name=name,
        token=new_token(),
        config=dict(config),
        secrets=dict(secrets),
        track_new_purchases=track_new_purchases,
        small_business_from_ms=small_business_from_ms,
        small_business_until_ms=small_business_until_ms,
        created_at_ms=now_ms,
    )
    connection.execute(
        sa.insert(apps).values(
            id=app.id,
            project_id=project_id,
            store=store.value,
            name=name,
            token=app.token,
            config=_json(app.config),
            sealed_secrets=_seal(sealer, app.id, app.secrets),
            track_new_purchases=track_new_purchases,
            small_business_from_ms=small_business_from_ms,
            small_business_until_ms=small_business_until_ms,
            credential_status=app.credential_status.value,
            created_at_ms=now_ms,
        )
    )
    version.bump(connection)
    return app


def update_app(
    connection: sa.Connection,
    sealer: Sealer,
    project_id: str,
    app_id: str,
    *,
    name: str | None = None,
    config: Mapping[str, object] | None = None,
    secrets: Mapping[str, str] | None = None,
    track_new_purchases: bool | None = None,
) -> bool:
    """Change what is given, the rest stays; `config` and `secrets` replace the old ones whole. False = no such app."""
    changes: dict[str, object] = {}
    if name is not None:
        changes["name"] = name
    if config is not None:
        changes["config"] = _json(config)
    if secrets is not None:
        changes["sealed_secrets"] = _seal(sealer, app_id, secrets)
    if config is not None or secrets is not None:
        changes["credential_status"] = CredentialStatus.UNKNOWN.value
        changes["credential_message"] = ""
    if track_new_purchases is not None:
        changes["track_new_purchases"] = track_new_purchases
    return not changes or _update(connection, project_id, app_id, changes)


def update_app_status(
    connection: sa.Connection,
    project_id: str,
    app_id: str,
    *,
    status: CredentialStatus,
    message: str,
    checked_at_ms: int,
) -> bool:
    """Record what the store said to the app's credentials. `message` is shown to people; it holds no secret."""
    changes = {
        "credential_status": status.value,
        "credential_message": message,
        "credential_checked_at_ms": checked_at_ms,
    }
    return _update(connection, project_id, app_id, changes)


def rotate_token(connection: sa.Connection, project_id: str, app_id: str) -> str | None:
    """Give the app a new notification token; the old one stays valid until `drop_previous_token`. None = no such app."""
    token = new_token()
    done = _update(connection, project_id, app_id, {"token": token, "previous_token": apps.c.token})
    return token if done else None


def drop_previous_token(connection: sa.Connection, project_id: str, app_id: str) -> bool:
    """Stop accepting the token from before the last rotation."""
    return _update(connection, project_id, app_id, {"previous_token": None})


def note_notification(connection: sa.Connection, project_id: str, app_id: str, *, received_at_ms: int) -> None:
    """Remember when the store last spoke to this app, to the second. A mere sign of life: it makes nobody reload.

    Nothing is written within the same second: every commit of every process would wait for the others at this row.
    """
    heard_before = sa.or_(
        apps.c.last_notification_at_ms.is_(None), apps.c.last_notification_at_ms < received_at_ms - _SAME_MOMENT_MS
    )
    connection.execute(
        sa.update(apps)
        .where(apps.c.project_id == project_id, apps.c.id == app_id, heard_before)
        .values(last_notification_at_ms=received_at_ms)
    )


def note_recovered(connection: sa.Connection, project_id: str, app_id: str, *, until_ms: int) -> None:
    """Remember up to which store time no notification is missing. Does not make anybody reload."""
    connection.execute(
        sa.update(apps).where(apps.c.project_id == project_id, apps.c.id == app_id).values(recovered_until_ms=until_ms)
    )


class AppHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What changes while an app runs: read from the table, since the configuration cache is not told of it."""

    credential_status: CredentialStatus
    credential_message: str
    credential_checked_at_ms: int | None
    last_notification_at_ms: int | None
    recovered_until_ms: int | None


def load_health(connection: sa.Connection, project_id: str, app_id: str) -> AppHealth | None:
    """The app's state of health; None = no such app."""
    names = AppHealth.__struct_fields__
    row = connection.execute(
        sa.select(*(apps.c[name] for name in names)).where(apps.c.project_id == project_id, apps.c.id == app_id)
    ).one_or_none()
    return None if row is None else msgspec.convert(row, AppHealth, from_attributes=True)


def list_apps(connection: sa.Connection, sealer: Sealer, project_id: str | None = None) -> list[App]:
    """Apps of one project, or of all for the configuration cache; oldest first, secrets opened.

    One whose seal is broken comes without secrets and says so (`App.unreadable`); it is no trouble of the others.
    """
    query = sa.select(apps).order_by(apps.c.created_at_ms, apps.c.id)
    if project_id is not None:
        query = query.where(apps.c.project_id == project_id)
    return [_app(row, sealer) for row in connection.execute(query)]


def previous_tokens(connection: sa.Connection) -> dict[str, str]:
    """Tokens from before a rotation that still route, with the id of their app."""
    query = sa.select(apps.c.previous_token, apps.c.id).where(apps.c.previous_token.is_not(None))
    return {row.previous_token: row.id for row in connection.execute(query)}


def _update(connection: sa.Connection, project_id: str, app_id: str, changes: Mapping[str, object]) -> bool:
    done = connection.execute(
        sa.update(apps).where(apps.c.project_id == project_id, apps.c.id == app_id).values(dict(changes))
    )
    version.bump(connection)
    return done.rowcount == 1


def _app(row: sa.Row[*tuple[object, ...]], sealer: Sealer) -> App:
    secrets, unreadable = open_values(sealer, row.sealed_secrets, binding=_binding(row.id))
    return App(
        id=row.id,
        project_id=row.project_id,
        store=Store(row.store),
        name=row.name,
        token=row.token,
        config=msgspec.json.decode(row.config, type=dict[str, object]),
        secrets={name: str(value) for name, value in secrets.items()},
        track_new_purchases=row.track_new_purchases,
        small_business_from_ms=row.small_business_from_ms,
        small_business_until_ms=row.small_business_until_ms,
        credential_status=CredentialStatus(row.credential_status),
        last_notification_at_ms=row.last_notification_at_ms,
        recovered_until_ms=row.recovered_until_ms,
        created_at_ms=row.created_at_ms,
        unreadable=unreadable,
    )


def _binding(app_id: str) -> str:
    return f"apps/sealed_secrets/{app_id}"


def _seal(sealer: Sealer, app_id: str, secrets: Mapping[str, str]) -> bytes:
    return sealer.seal(msgspec.json.encode(dict(secrets)), binding=_binding(app_id))


def _json(values: Mapping[str, object]) -> str:
    return msgspec.json.encode(dict(values)).decode()
