"""Integrations of a project: settings in plain, their secrets sealed as one JSON value beside them."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from bellwire.db import version
from bellwire.db.lane_states import forget_failures
from bellwire.db.secrets import Sealer, open_values
from bellwire.db.tables import apps, integrations
from bellwire.destinations.settings import split
from bellwire.kit.ids import new_public_id
from bellwire.model.enums import Environment, EventType
from bellwire.model.projects import Integration, RateLimit


class IntegrationRefused(Exception):
    """An integration like this cannot be made; the message says why."""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which events an integration gets and how (fields as in `Integration`)."""

    environment: Environment | None = None
    app_id: str | None = None
    event_types: tuple[EventType, ...] | None = None
    order_wait_ms: int | None = 60_000
    concurrency: int = 16
    rate_limit: RateLimit | None = None


def create_integration(
    connection: sa.Connection,
    sealer: Sealer,
    *,
    project_id: str,
    destination: str,
    name: str,
    settings: msgspec.Struct,
    now_ms: int,
    filters: Filters | None = None,
    enabled: bool = True,
) -> Integration:
    """Connect a project to a destination; `settings` is that destination's declared struct, already valid.

    Raises IntegrationRefused when the filter names an app of another project.
    """
    chosen = filters or Filters()
    _check_app(connection, project_id, chosen.app_id)
    plain, secret = split(settings)
    integration_id = new_public_id("intg")
    connection.execute(
        sa.insert(integrations).values(
            id=integration_id,
            project_id=project_id,
            destination=destination,
            name=name,
            settings=msgspec.json.encode(plain).decode(),
            sealed_secrets=_seal(sealer, integration_id, secret),
            enabled=enabled,
            created_at_ms=now_ms,
            **_filter_columns(chosen),
        )
    )
    version.bump(connection)
    return Integration(
        id=integration_id,
        project_id=project_id,
        destination=destination,
        name=name,
        settings=plain | secret,
        enabled=enabled,
        environment=chosen.environment,
        app_id=chosen.app_id,
        event_types=chosen.event_types,
        order_wait_ms=chosen.order_wait_ms,
        concurrency=chosen.concurrency,
        rate_limit=chosen.rate_limit,
        created_at_ms=now_ms,
    )


def update_integration(
    connection: sa.Connection,
    sealer: Sealer,
    project_id: str,
    integration_id: str,
    *,
    name: str | None = None,
    settings: msgspec.Struct | None = None,
    filters: Filters | None = None,
    enabled: bool | None = None,
) -> bool:
    """Change what is given, the rest stays; pending deliveries use the new settings. False = no such integration."""
    changes: dict[str, object] = {}
    if name is not None:
        changes["name"] = name
    if settings is not None:
        plain, secret = split(settings)
        changes["settings"] = msgspec.json.encode(plain).decode()
        changes["sealed_secrets"] = _seal(sealer, integration_id, secret)
        forget_failures(connection, integration_id)
    if filters is not None:
        _check_app(connection, project_id, filters.app_id)
        changes |= _filter_columns(filters)
    if enabled is not None:
        changes["enabled"] = enabled
    return not changes or _update(connection, project_id, integration_id, changes)


def delete_integration(connection: sa.Connection, project_id: str, integration_id: str, *, now_ms: int) -> bool:
    """Take an integration out. Its row stays for the attempt log's sake, its secrets do not."""
    changes: dict[str, object] = {"deleted_at_ms": now_ms, "enabled": False, "sealed_secrets": b""}
    return _update(connection, project_id, integration_id, changes)


def list_integrations(connection: sa.Connection, sealer: Sealer, project_id: str | None = None) -> list[Integration]:
    """Integrations that are not deleted, of one project or of all; oldest first, secrets opened into `settings`.

    One whose seal is broken comes without them and says so (`Integration.unreadable`).
    """
    query = (
        sa.select(integrations)
        .where(integrations.c.deleted_at_ms.is_(None))
        .order_by(integrations.c.created_at_ms, integrations.c.id)
    )
    if project_id is not None:
        query = query.where(integrations.c.project_id == project_id)
    return [_integration(row, sealer) for row in connection.execute(query)]


def _check_app(connection: sa.Connection, project_id: str, app_id: str | None) -> None:
    if app_id is None:
        return
    query = sa.select(apps.c.id).where(apps.c.project_id == project_id, apps.c.id == app_id)
    if connection.execute(query).one_or_none() is None:
        raise IntegrationRefused(f"project {project_id} has no app {app_id}")


def _filter_columns(filters: Filters) -> dict[str, object]:
    types: Sequence[EventType] | None = filters.event_types
    limit = filters.rate_limit
    return {
        "environment": None if filters.environment is None else filters.environment.value,
        "app_id": filters.app_id,
        "event_types": None if types is None else msgspec.json.encode(types).decode(),
        "order_wait_ms": filters.order_wait_ms,
        "concurrency": filters.concurrency,
        "rate_per_s": None if limit is None else limit.events_per_s,
        "rate_burst": None if limit is None else limit.burst,
    }


def _update(connection: sa.Connection, project_id: str, integration_id: str, changes: dict[str, object]) -> bool:
    done = connection.execute(
        sa.update(integrations)
        .where(
            integrations.c.project_id == project_id,
            integrations.c.id == integration_id,
            integrations.c.deleted_at_ms.is_(None),
        )
        .values(changes)
    )
    version.bump(connection)
    return done.rowcount == 1


def _integration(row: sa.Row[*tuple[object, ...]], sealer: Sealer) -> Integration:
    secret, unreadable = open_values(sealer, row.sealed_secrets, binding=_binding(row.id))
    return Integration(
        id=row.id,
        project_id=row.project_id,
        destination=row.destination,
        name=row.name,
        settings=msgspec.json.decode(row.settings, type=dict[str, object]) | secret,
        enabled=row.enabled,
        environment=None if row.environment is None else Environment(row.environment),
        app_id=row.app_id,
        event_types=None
        if row.event_types is None
        else msgspec.json.decode(row.event_types, type=tuple[EventType, ...]),
        order_wait_ms=row.order_wait_ms,
        concurrency=row.concurrency,
        rate_limit=None if row.rate_per_s is None else RateLimit(events_per_s=row.rate_per_s, burst=row.rate_burst),
        created_at_ms=row.created_at_ms,
        unreadable=unreadable,
    )


def _binding(integration_id: str) -> str:
    return f"integrations/sealed_secrets/{integration_id}"


def _seal(sealer: Sealer, integration_id: str, secret: dict[str, object]) -> bytes:
    return sealer.seal(msgspec.json.encode(secret), binding=_binding(integration_id))
