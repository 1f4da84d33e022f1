"""The configuration cache sees every change, its own process's at once, and reloads only then."""

import sqlalchemy as sa

from bellwire.db import config as config_module
from bellwire.db import version
from bellwire.db.apps import create_app, note_notification, rotate_token
from bellwire.db.catalogue import attach, create_entitlement, create_product
from bellwire.db.config import ConfigCache
from bellwire.db.integrations import create_integration, delete_integration
from bellwire.db.keys import KeyKind, create_key, hash_key, revoke_key
from bellwire.db.projects import create_project
from bellwire.db.secrets import Sealer
from bellwire.model.enums import ProductType, Store
from tests.db.test_integrations import SETTINGS

NOW = 1_700_000_000_000


def test_own_changes_are_seen_at_once(engine: sa.Engine, sealer: Sealer) -> None:
    cache = ConfigCache(engine, sealer)
    assert cache.current().projects == {}
    with engine.begin() as connection:
        project = create_project(connection, name="P", now_ms=NOW)
    assert cache.current().projects == {project.id: project}
    with engine.begin() as connection:
        app = create_app(
            connection,
            sealer,
            project_id=project.id,
            store=Store.PLAY_STORE,
            name="Android",
            config={"package_name": "com.example"},
            secrets={"service_account_json": "{}"},
            now_ms=NOW,
        )
        plain, key = create_key(
            connection, sealer, project_id=project.id, kind=KeyKind.PUBLIC, app_id=app.id, name="", now_ms=NOW
        )
        create_product(
            connection, project_id=project.id, product_key="pro", product_type=ProductType.SUBSCRIPTION, now_ms=NOW
        )
        create_entitlement(connection, project_id=project.id, identifier="premium", now_ms=NOW)
        attach(connection, project_id=project.id, product_key="pro", identifier="premium")
        integration = create_integration(
            connection,
            sealer,
            project_id=project.id,
            destination="webhook",
            name="W",
            settings=SETTINGS,
            now_ms=NOW,
        )
    config = cache.current()
    assert config.apps == {app.id: app}
    assert config.apps_of(project.id) == [app]
    assert config.apps_by_token == {app.token: app}
    assert config.key(hash_key(plain)) == key
    assert config.key(plain) is None
    assert config.catalogue(project.id).entitlements_of("pro:monthly") == ("premium",)
    assert config.integrations_of(project.id) == [integration]
    assert config.integrations_of("projnone") == config.apps_of("projnone") == []
    assert config.catalogue("projnone").product_types == {}
    assert "t0ps3cret" not in repr(config)

    with engine.begin() as connection:
        token = rotate_token(connection, project.id, app.id)
        revoke_key(connection, project.id, key.id, now_ms=NOW)
        delete_integration(connection, project.id, integration.id, now_ms=NOW)
    config = cache.current()
    assert set(config.apps_by_token) == {app.token, token}
    assert config.key(hash_key(plain)) is None
    assert config.integrations == {}


def test_rolled_back_change_is_not_seen(engine: sa.Engine, sealer: Sealer) -> None:
    cache = ConfigCache(engine, sealer)
    with engine.connect() as connection, connection.begin() as transaction:
        create_project(connection, name="P", now_ms=NOW)
        transaction.rollback()
    assert cache.current().projects == {}


def test_change_is_seen_although_it_was_committed_late(engine: sa.Engine, sealer: Sealer) -> None:
    """The cache is asked between the change and its commit, and must not take the old state for the news."""
    cache = ConfigCache(engine, sealer)
    with engine.begin() as connection:
        project = create_project(connection, name="P", now_ms=NOW)
        assert cache.current().projects == {}
    assert set(cache.current().projects) == {project.id}


def test_another_process_is_heard(engine: sa.Engine, sealer: Sealer) -> None:
    cache = ConfigCache(engine, sealer)
    assert cache.current().projects == {}
    with engine.begin() as connection:
        create_project(connection, name="P", now_ms=NOW)
    changed = cache.current()
    with engine.begin() as connection:  # what another process's change looks like: no bump is counted here
        connection.execute(sa.text("UPDATE projects SET name = 'Q'"))
        connection.execute(sa.text("UPDATE config_version SET version = version + 1"))
    cache._looked_at_s = cache._look_closely_until_s = -config_module.LOOK_EVERY_S
    assert [project.name for project in cache.current().projects.values()] == ["Q"]
    assert changed is not cache.current()


def test_signs_of_life_do_not_reload(engine: sa.Engine, sealer: Sealer) -> None:
    cache = ConfigCache(engine, sealer)
    with engine.begin() as connection:
        project = create_project(connection, name="P", now_ms=NOW)
        app = create_app(
            connection, sealer, project_id=project.id, store=Store.ROKU, name="", config={}, secrets={}, now_ms=NOW
        )
    config = cache.current()
    with engine.begin() as connection:
        note_notification(connection, project.id, app.id, received_at_ms=NOW)
    assert cache.current() is config
    with engine.begin() as connection:
        assert version.load(connection) == config.version
