"""Integrations: secrets apart and sealed, filters kept, deleted ones gone from what runs."""

from collections.abc import Iterator

import msgspec
import pytest
import sqlalchemy as sa

from bellwire.db import integrations, projects
from bellwire.db.apps import create_app
from bellwire.db.secrets import Sealer
from bellwire.db.tables import integrations as table
from bellwire.destinations.base import Secret
from bellwire.model.enums import Environment, EventType, Store
from bellwire.model.projects import Integration

NOW = 1_700_000_000_000


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    token: Secret = ""
    headers: dict[str, Secret] = {}


SETTINGS = Settings(url="https://tool.example", token="t0ps3cret", headers={"X-Key": "an0ther"})


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.begin() as opened:
        yield opened


@pytest.fixture
def project_id(connection: sa.Connection) -> str:
    return projects.create_project(connection, name="Ours", now_ms=NOW).id


def make(
    connection: sa.Connection, sealer: Sealer, project_id: str, filters: integrations.Filters | None = None
) -> Integration:
    return integrations.create_integration(
        connection,
        sealer,
        project_id=project_id,
        destination="webhook",
        name="Mine",
        settings=SETTINGS,
        filters=filters,
        now_ms=NOW,
    )


def test_secrets_are_sealed_apart(connection: sa.Connection, sealer: Sealer, project_id: str) -> None:
    made = make(connection, sealer, project_id)
    row = connection.execute(sa.select(table)).one()
    assert msgspec.json.decode(row.settings) == {"url": "https://tool.example"}
    assert "t0ps3cret" not in str(row)
    assert "an0ther" not in str(row)
    [loaded] = integrations.list_integrations(connection, sealer, project_id)
    assert loaded == made
    assert msgspec.convert(loaded.settings, Settings) == SETTINGS
    assert "t0ps3cret" not in repr(loaded)


def test_filters_round_trip(connection: sa.Connection, sealer: Sealer, project_id: str) -> None:
    app = create_app(
        connection, sealer, project_id=project_id, store=Store.ROKU, name="", config={}, secrets={}, now_ms=NOW
    )
    filters = integrations.Filters(
        environment=Environment.SANDBOX,
        app_id=app.id,
        event_types=(EventType.RENEWAL, EventType.SUBSCRIBER_ALIAS),
        order_wait_ms=None,
        concurrency=3,
    )
    made = make(connection, sealer, project_id, filters)
    [loaded] = integrations.list_integrations(connection, sealer, project_id)
    assert loaded == made
    assert loaded.event_types == (EventType.RENEWAL, EventType.SUBSCRIBER_ALIAS)
    everything = integrations.Filters()
    assert integrations.update_integration(connection, sealer, project_id, made.id, filters=everything)
    [loaded] = integrations.list_integrations(connection, sealer, project_id)
    assert (loaded.environment, loaded.app_id, loaded.event_types) == (None, None, None)
    assert loaded.order_wait_ms == 60_000
    assert loaded.settings == made.settings


def test_update_replaces_settings_with_their_secrets(
    connection: sa.Connection, sealer: Sealer, project_id: str
) -> None:
    made = make(connection, sealer, project_id)
    new = Settings(url="https://new.example", token="new")
    assert integrations.update_integration(
        connection, sealer, project_id, made.id, name="New", settings=new, enabled=False
    )
    [loaded] = integrations.list_integrations(connection, sealer)
    assert msgspec.convert(loaded.settings, Settings) == new
    assert (loaded.name, loaded.enabled) == ("New", False)


def test_deleted_integration_is_gone_with_its_secrets(
    connection: sa.Connection, sealer: Sealer, project_id: str
) -> None:
    made = make(connection, sealer, project_id)
    assert integrations.delete_integration(connection, project_id, made.id, now_ms=NOW)
    assert integrations.list_integrations(connection, sealer, project_id) == []
    assert connection.execute(sa.select(table.c.sealed_secrets)).scalar_one() == b""
    assert not integrations.delete_integration(connection, project_id, made.id, now_ms=NOW)
    assert not integrations.update_integration(connection, sealer, project_id, made.id, name="x")


def test_other_projects_cannot_reach_in(connection: sa.Connection, sealer: Sealer, project_id: str) -> None:
    other = projects.create_project(connection, name="Theirs", now_ms=NOW).id
    made = make(connection, sealer, project_id)
    assert integrations.list_integrations(connection, sealer, other) == []
    assert not integrations.update_integration(connection, sealer, other, made.id, enabled=False)
    assert not integrations.delete_integration(connection, other, made.id, now_ms=NOW)
    app = create_app(connection, sealer, project_id=other, store=Store.ROKU, name="", config={}, secrets={}, now_ms=NOW)
    with pytest.raises(integrations.IntegrationRefused, match=app.id):
        make(connection, sealer, project_id, integrations.Filters(app_id=app.id))
