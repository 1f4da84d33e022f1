"""Connecting a hub's installation to a simulated world: project, apps, catalogue, webhooks."""

from collections.abc import Mapping

import msgspec
import sqlalchemy as sa

from bellwire.db.apps import create_app, list_apps, update_app
from bellwire.db.catalogue import attach, create_entitlement, create_product
from bellwire.db.integrations import create_integration, list_integrations, update_integration
from bellwire.db.keys import KeyKind, create_key, public_key_of_app
from bellwire.db.projects import create_project, list_projects
from bellwire.db.secrets import Sealer
from bellwire.destinations.webhook import DESTINATION
from bellwire.model.enums import ProductType, Store
from bellwire.model.projects import App
from bellwire.simulator.people import Platform
from bellwire.simulator.world import SIGNED, STANDARD, World

PROJECT_NAME = "Simulator"
SUBSCRIPTION, CONSUMABLE, LASTING = ProductType.SUBSCRIPTION, ProductType.CONSUMABLE, ProductType.NON_CONSUMABLE
CATALOGUE: tuple[tuple[str, ProductType, str, str | None], ...] = (
    ("pro_monthly", SUBSCRIPTION, "Pro, monthly (App Store)", "pro"),
    ("pro_yearly", SUBSCRIPTION, "Pro, yearly (App Store)", "pro"),
    ("basic_monthly", SUBSCRIPTION, "Basic, monthly (App Store)", "basic"),
    ("pro:monthly", SUBSCRIPTION, "Pro, monthly (Play)", "pro"),
    ("pro:yearly", SUBSCRIPTION, "Pro, yearly (Play)", "pro"),
    ("basic:monthly", SUBSCRIPTION, "Basic, monthly (Play)", "basic"),
    ("coins_100", CONSUMABLE, "100 coins", None),
    ("lifetime", LASTING, "Pro for life", "pro"),
)
"""Product, its type, its name, and the entitlement it grants."""


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """What the world needs to know of the hub."""

    project_id: str
    public_keys: dict[Platform, str]


def connect(
    connection: sa.Connection,
    sealer: Sealer,
    world: World,
    *,
    hub_url: str,
    now_ms: int,
    platforms: tuple[Platform, ...] = tuple(Platform),
    project_name: str = PROJECT_NAME,
) -> Connection:
    """Make the project of that name with what the world offers, or bring the one from last time up to date.

    Tells the world where the hub listens; the fakes send nothing before that.
    """
    known = [project for project in list_projects(connection) if project.name == project_name]
    project = known[0] if known else create_project(connection, name=project_name, now_ms=now_ms)
    _catalogue(connection, project.id, now_ms)
    keys: dict[Platform, str] = {}
    for platform in platforms:
        if platform is Platform.IOS:
            store, slug, title, credentials = Store.APP_STORE, "apple", "Shop for iPhone", world.apple.credentials()
        else:
            world.play.pusher.audience = hub_url
            store, slug, title, credentials = Store.PLAY_STORE, "google", "Shop for Android", world.play.credentials()
        app = _app(connection, sealer, project.id, store, title, credentials, now_ms)
        url = f"{hub_url}/v1/incoming-webhooks/{slug}/{app.token}"
        if platform is Platform.IOS:
            world.apple.notification_url = url
        else:
            world.play.notification_url = url
        keys[platform] = _public_key(connection, sealer, app, now_ms)
    _webhooks(connection, sealer, project.id, world, now_ms)
    return Connection(project_id=project.id, public_keys=keys)


def _catalogue(connection: sa.Connection, project_id: str, now_ms: int) -> None:
    for identifier in ("pro", "basic"):
        create_entitlement(connection, project_id=project_id, identifier=identifier, now_ms=now_ms)
    for product_key, product_type, name, entitlement in CATALOGUE:
        create_product(
            connection,
            project_id=project_id,
            product_key=product_key,
            product_type=product_type,
            display_name=name,
            now_ms=now_ms,
        )
        if entitlement is not None:
            attach(connection, project_id=project_id, product_key=product_key, identifier=entitlement)


def _app(
    connection: sa.Connection,
    sealer: Sealer,
    project_id: str,
    store: Store,
    name: str,
    credentials: Mapping[str, Mapping[str, object]],
    now_ms: int,
) -> App:
    config = dict(credentials["config"])
    secrets = {key: str(value) for key, value in credentials["secrets"].items()}
    for app in list_apps(connection, sealer, project_id):
        if app.store is store:
            update_app(connection, sealer, project_id, app.id, config=config, secrets=secrets)
            return app
    return create_app(
        connection,
        sealer,
        project_id=project_id,
        store=store,
        name=name,
        config=config,
        secrets=secrets,
        now_ms=now_ms,
        track_new_purchases=True,
    )


def _public_key(connection: sa.Connection, sealer: Sealer, app: App, now_ms: int) -> str:
    known = public_key_of_app(connection, sealer, app.project_id, app.id)
    if known is not None:
        return known
    plain, _ = create_key(
        connection,
        sealer,
        project_id=app.project_id,
        app_id=app.id,
        kind=KeyKind.PUBLIC,
        name=f"SDK of {app.name}",
        now_ms=now_ms,
    )
    return plain


def _webhooks(connection: sa.Connection, sealer: Sealer, project_id: str, world: World, now_ms: int) -> None:
    """One receiver checks authorization and our signature, the other the Standard Webhooks headers."""
    signed, standard = world.sink.receivers[SIGNED], world.sink.receivers[STANDARD]
    settings = {
        "Analytics backend": {
            "url": world.sink_url(SIGNED),
            "authorization": signed.authorization,
            "signing_secret": signed.secret,
        },
        "CRM sync": {
            "url": world.sink_url(STANDARD),
            "signing_secret": standard.secret,
            "standard_webhooks": True,
        },
    }
    known = {integration.name: integration for integration in list_integrations(connection, sealer, project_id)}
    for name, values in settings.items():
        declared = msgspec.convert(values, DESTINATION.settings)
        if name in known:
            update_integration(connection, sealer, project_id, known[name].id, settings=declared)
        else:
            create_integration(
                connection,
                sealer,
                project_id=project_id,
                destination=DESTINATION.slug,
                name=name,
                settings=declared,
                now_ms=now_ms,
            )
