"""What operators configure is stored sealed, read back whole, and never crosses a project's border."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from bellwire.db import apps, catalogue, keys, notices, projects
from bellwire.db.secrets import Sealer
from bellwire.db.tables import api_keys
from bellwire.db.tables import apps as apps_table
from bellwire.model.enums import CredentialStatus, ProductType, RestoreBehavior, Store
from bellwire.model.projects import App, ProjectSettings

NOW = 1_700_000_000_000


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.begin() as opened:
        yield opened


@pytest.fixture
def project_id(connection: sa.Connection) -> str:
    return projects.create_project(connection, name="Ours", now_ms=NOW).id


@pytest.fixture
def other_id(connection: sa.Connection) -> str:
    return projects.create_project(connection, name="Theirs", now_ms=NOW + 1).id


def make_app(connection: sa.Connection, sealer: Sealer, project_id: str, store: Store = Store.APP_STORE) -> App:
    return apps.create_app(
        connection,
        sealer,
        project_id=project_id,
        store=store,
        name="iOS",
        config={"bundle_id": "com.example", "app_apple_id": 1},
        secrets={"iap_key_p8": "-----BEGIN"},
        now_ms=NOW,
    )


def test_project_round_trip(connection: sa.Connection, project_id: str) -> None:
    rules = ProjectSettings(restore_behavior=RestoreBehavior.KEEP)
    assert projects.update_project(connection, project_id, name="New", settings=rules)
    loaded = projects.load_project(connection, project_id)
    assert loaded is not None
    assert (loaded.name, loaded.settings, loaded.created_at_ms) == ("New", rules, NOW)
    assert projects.list_projects(connection) == [loaded]
    assert not projects.update_project(connection, "projnone", name="x")
    assert projects.load_project(connection, "projnone") is None


def test_app_round_trip_with_sealed_secrets(connection: sa.Connection, sealer: Sealer, project_id: str) -> None:
    app = make_app(connection, sealer, project_id)
    assert apps.list_apps(connection, sealer, project_id) == [app]
    row = connection.execute(sa.select(apps_table)).one()
    assert "BEGIN" not in str(row)
    assert "BEGIN" not in repr(app)
    assert len(app.token) >= 32
    [shut] = apps.list_apps(connection, Sealer(b"0" * 32), project_id)
    assert (shut.secrets, shut.token) == ({}, app.token)
    assert "was sealed with key" in shut.unreadable


def test_app_changes_only_what_is_given(connection: sa.Connection, sealer: Sealer, project_id: str) -> None:
    app = make_app(connection, sealer, project_id)
    assert apps.update_app_status(
        connection, project_id, app.id, status=CredentialStatus.OK, message="fine", checked_at_ms=NOW
    )
    assert apps.update_app(connection, sealer, project_id, app.id, name="Renamed", track_new_purchases=True)
    [changed] = apps.list_apps(connection, sealer, project_id)
    assert (changed.name, changed.track_new_purchases, changed.secrets) == ("Renamed", True, app.secrets)
    assert changed.credential_status is CredentialStatus.OK
    assert apps.update_app(connection, sealer, project_id, app.id, secrets={"iap_key_p8": "new"})
    [changed] = apps.list_apps(connection, sealer, project_id)
    assert changed.secrets == {"iap_key_p8": "new"}
    assert changed.config == app.config
    assert changed.credential_status is CredentialStatus.UNKNOWN  # new credentials were not tried yet


def test_app_health_moves_on(connection: sa.Connection, sealer: Sealer, project_id: str) -> None:
    app = make_app(connection, sealer, project_id)
    apps.note_notification(connection, project_id, app.id, received_at_ms=NOW + 5)
    apps.note_notification(connection, project_id, app.id, received_at_ms=NOW + 3)
    apps.note_recovered(connection, project_id, app.id, until_ms=NOW + 4)
    health = apps.load_health(connection, project_id, app.id)
    assert health is not None
    assert (health.last_notification_at_ms, health.recovered_until_ms) == (NOW + 5, NOW + 4)
    assert apps.load_health(connection, "projnone", app.id) is None


def test_rotated_token_stays_until_dropped(connection: sa.Connection, sealer: Sealer, project_id: str) -> None:
    app = make_app(connection, sealer, project_id)
    token = apps.rotate_token(connection, project_id, app.id)
    [changed] = apps.list_apps(connection, sealer, project_id)
    assert changed.token == token
    assert token != app.token
    assert apps.previous_tokens(connection) == {app.token: app.id}
    assert apps.drop_previous_token(connection, project_id, app.id)
    assert apps.previous_tokens(connection) == {}


@pytest.mark.parametrize(("store", "prefix"), keys.PUBLIC_PREFIXES.items())
def test_public_key_has_the_stores_prefix(
    connection: sa.Connection, sealer: Sealer, project_id: str, store: Store, prefix: str
) -> None:
    app = make_app(connection, sealer, project_id, store)
    plain, key = keys.create_key(
        connection,
        sealer,
        project_id=project_id,
        kind=keys.KeyKind.PUBLIC,
        app_id=app.id,
        name="SDK",
        now_ms=NOW,
    )
    assert plain.startswith(prefix)
    assert key.hint == f"{prefix}…{plain[-4:]}"
    assert keys.show_public_key(connection, sealer, project_id, key.id) == plain
    assert keys.public_key_of_app(connection, sealer, project_id, app.id) == plain
    assert keys.load_valid_keys(connection) == {keys.hash_key(plain): key}


def test_secret_key_is_stored_nowhere(connection: sa.Connection, sealer: Sealer, project_id: str) -> None:
    plain, key = keys.create_key(
        connection, sealer, project_id=project_id, kind=keys.KeyKind.SECRET, name="server", now_ms=NOW
    )
    assert plain.startswith("sk_")
    row = connection.execute(sa.select(api_keys)).one()
    assert plain not in str(row)
    assert row.sealed_key is None
    assert keys.show_public_key(connection, sealer, project_id, key.id) is None


def test_revoked_key_lets_nobody_in(connection: sa.Connection, sealer: Sealer, project_id: str) -> None:
    _, key = keys.create_key(
        connection, sealer, project_id=project_id, kind=keys.KeyKind.SECRET, name="server", now_ms=NOW
    )
    assert keys.revoke_key(connection, project_id, key.id, now_ms=NOW + 1)
    assert not keys.revoke_key(connection, project_id, key.id, now_ms=NOW + 2)
    assert keys.load_valid_keys(connection) == {}
    assert [one.revoked_at_ms for one in keys.list_keys(connection, project_id)] == [NOW + 1]


def test_keys_that_make_no_sense_are_refused(
    connection: sa.Connection, sealer: Sealer, project_id: str, other_id: str
) -> None:
    app = make_app(connection, sealer, project_id)
    promotional = make_app(connection, sealer, project_id, Store.PROMOTIONAL)

    def create(project: str, kind: keys.KeyKind, app_id: str | None) -> None:
        keys.create_key(connection, sealer, project_id=project, kind=kind, app_id=app_id, name="", now_ms=NOW)

    for project, kind, app_id in (
        (project_id, keys.KeyKind.PUBLIC, None),
        (project_id, keys.KeyKind.SECRET, app.id),
        (other_id, keys.KeyKind.PUBLIC, app.id),
        (project_id, keys.KeyKind.PUBLIC, promotional.id),
    ):
        with pytest.raises(keys.KeyRefused):
            create(project, kind, app_id)


def test_catalogue_round_trip(connection: sa.Connection, project_id: str, other_id: str) -> None:
    product = catalogue.create_product(
        connection,
        project_id=project_id,
        product_key="pro:monthly",
        product_type=ProductType.SUBSCRIPTION,
        display_name="Pro",
        now_ms=NOW,
    )
    again = catalogue.create_product(
        connection, project_id=project_id, product_key="pro:monthly", product_type=ProductType.SUBSCRIPTION, now_ms=NOW
    )
    assert again == product
    for number, identifier in enumerate(("premium", "ads_free", "unused")):
        catalogue.create_entitlement(connection, project_id=project_id, identifier=identifier, now_ms=NOW + number)
    for identifier in ("ads_free", "premium", "premium"):
        catalogue.attach(connection, project_id=project_id, product_key="pro:monthly", identifier=identifier)
    loaded = catalogue.load_catalogue(connection, project_id)
    assert loaded.entitlements_of("pro:monthly") == ("premium", "ads_free")
    assert loaded.product_types == {"pro:monthly": ProductType.SUBSCRIPTION}
    assert loaded.display_names == {}
    assert list(catalogue.list_entitlements(connection, project_id)) == ["premium", "ads_free", "unused"]
    catalogue.detach(connection, project_id=project_id, product_key="pro:monthly", identifier="ads_free")
    assert catalogue.load_catalogue(connection, project_id).entitlements_of("pro:monthly") == ("premium",)
    assert catalogue.load_catalogue(connection, other_id).product_types == {}


def test_catalogue_names_what_is_missing(connection: sa.Connection, project_id: str, other_id: str) -> None:
    catalogue.create_entitlement(connection, project_id=project_id, identifier="premium", now_ms=NOW)
    catalogue.create_product(
        connection, project_id=project_id, product_key="p", product_type=ProductType.CONSUMABLE, now_ms=NOW
    )
    for project, product_key, identifier in (
        (project_id, "missing", "premium"),
        (project_id, "p", "missing"),
        (other_id, "p", "premium"),
    ):
        with pytest.raises(catalogue.UnknownEntry):
            catalogue.attach(connection, project_id=project, product_key=product_key, identifier=identifier)


def test_nothing_of_another_project_is_seen_or_changed(
    connection: sa.Connection, sealer: Sealer, project_id: str, other_id: str
) -> None:
    app = make_app(connection, sealer, project_id)
    _, key = keys.create_key(
        connection, sealer, project_id=project_id, kind=keys.KeyKind.PUBLIC, app_id=app.id, name="", now_ms=NOW
    )
    assert apps.list_apps(connection, sealer, other_id) == []
    assert keys.list_keys(connection, other_id) == []
    assert not apps.update_app(connection, sealer, other_id, app.id, name="taken over")
    assert apps.rotate_token(connection, other_id, app.id) is None
    assert keys.show_public_key(connection, sealer, other_id, key.id) is None
    assert keys.public_key_of_app(connection, sealer, other_id, app.id) is None
    assert not keys.revoke_key(connection, other_id, key.id, now_ms=NOW)
    assert apps.list_apps(connection, sealer, project_id) == [app]


def test_notices_are_counted(connection: sa.Connection, project_id: str, other_id: str) -> None:
    for number in range(3):
        notices.upsert_notice(
            connection,
            project_id=project_id,
            kind="unknown_product",
            subject="gold",
            message=f"seen {number}",
            now_ms=NOW + number,
        )
    notices.upsert_notice(
        connection, project_id=project_id, kind="unknown_product", subject="silver", message="s", now_ms=NOW + 9
    )
    silver, gold = notices.list_notices(connection, project_id)
    assert silver.subject == "silver"
    assert (gold.count, gold.message, gold.first_seen_ms, gold.last_seen_ms) == (3, "seen 2", NOW, NOW + 2)
    assert notices.list_notices(connection, other_id) == []
    assert not notices.dismiss_notice(connection, other_id, kind="unknown_product", subject="gold")
    assert notices.dismiss_notice(connection, project_id, kind="unknown_product", subject="gold")
    assert notices.list_notices(connection, project_id) == [silver]
