"""`bellwire app`: connecting the app stores. The options of each store come from its declaration.

The stores' registry brings their verifiers and API clients with it, most of a second of loading; other commands do
without, so it is imported where it is needed.
"""

import asyncio
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

import click
import sqlalchemy as sa

from bellwire.cli.console import (
    Hub,
    choose_project,
    json_option,
    now_ms,
    open_hub,
    project_option,
    reading,
    say,
    show,
    table,
)
from bellwire.cli.fields import checked, given, options_of
from bellwire.db.apps import create_app, list_apps, update_app, update_app_status
from bellwire.db.keys import KeyKind, create_key, public_key_of_app
from bellwire.model.enums import CredentialStatus, Store
from bellwire.model.projects import DAY_MS, App
from bellwire.settings import Settings

if TYPE_CHECKING:
    from bellwire.stores.registry import StoreDeclaration

_COMMANDS = {"app-store": Store.APP_STORE, "mac-app-store": Store.MAC_APP_STORE, "play": Store.PLAY_STORE}
_WHERE_TO_PASTE = {
    "apple": "App Store Connect > App Information > App Store Server Notifications: set this URL as Production and as "
    "Sandbox Server URL, Version 2.",
    "google": "Google Cloud > Pub/Sub: give the topic that Play Console > Monetization setup names a push subscription "
    "with this URL as endpoint, authentication on and this URL as audience.",
}
_DATE = click.DateTime(["%Y-%m-%d"])


@click.group("app")
def app_group() -> None:
    """Apps: one store configuration each, with its credentials."""


class _StoreCommands(click.Group):
    """One command for each store, made when it is asked for."""

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    # pyrefly: ignore[missing-override-decorator]
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _creator(cmd_name) if cmd_name in _COMMANDS else None


@app_group.group("create", cls=_StoreCommands)
def create_group() -> None:
    """Connect an app of a store."""


def _declaration(store: Store) -> "StoreDeclaration | None":
    from bellwire.stores.registry import DECLARATIONS

    return DECLARATIONS.get(store)


@cache
def _creator(command_name: str) -> click.Command:
    declaration = _declaration(_COMMANDS[command_name])
    if declaration is None:
        raise LookupError(f"no store declares {command_name}")

    @click.command(command_name, help=f"Connect an app of the {declaration.title}, called NAME here.")
    @click.argument("app_name", metavar="NAME")
    @project_option
    @options_of(declaration.config)
    @options_of(declaration.secrets, from_files=True)
    @click.option(
        "--track-new-purchases",
        is_flag=True,
        help="Also take in purchases that only the store told of, not just those that an SDK or server posted.",
    )
    @click.option("--small-business-from", type=_DATE, help="First day of the store's reduced commission.")
    @click.option("--small-business-until", type=_DATE, help="Last day of the store's reduced commission.")
    @json_option
    def create(
        app_name: str,
        project_id: str | None,
        track_new_purchases: bool,
        small_business_from: datetime | None,
        small_business_until: datetime | None,
        as_json: bool,
        **fields: object,
    ) -> None:
        config = given(declaration.config, fields)
        secrets = given(declaration.secrets, fields)
        checked(declaration.config, config)
        checked(declaration.secrets, secrets)
        with open_hub() as hub, hub.engine.begin() as connection:
            app = create_app(
                connection,
                hub.sealer,
                project_id=choose_project(connection, project_id),
                store=declaration.store,
                name=app_name,
                config=config,
                secrets={name: str(value) for name, value in secrets.items()},
                track_new_purchases=track_new_purchases,
                small_business_from_ms=_midnight_ms(small_business_from),
                small_business_until_ms=_midnight_ms(small_business_until, days_later=1),
                now_ms=now_ms(),
            )
            _listen_to_pushes_at_own_url(connection, hub, app)
            sdk_key, _ = create_key(
                connection,
                hub.sealer,
                project_id=app.project_id,
                kind=KeyKind.PUBLIC,
                app_id=app.id,
                name=f"SDK of {app_name}",
                now_ms=now_ms(),
            )
        values = _values(hub.settings, app, sdk_key)
        lines = [
            f"Created {declaration.title} app {app.id} ({app_name}) in project {app.project_id}.",
            f"Notification URL  {values['notification_url']}",
            f"  {_WHERE_TO_PASTE[declaration.slug]}",
            f"Public SDK key    {sdk_key}",
            f"Next: `bellwire app check {app.id}` tries the credentials.",
        ]
        say(as_json, values, "\n".join(lines))
        if not hub.settings.public_url:
            click.echo("BELLWIRE_PUBLIC_URL is not set: stores cannot reach the address in this URL.", err=True)

    return create


@app_group.command("list")
@project_option
@json_option
def list_(project_id: str | None, as_json: bool) -> None:
    """List the apps of a project with their notification URLs and SDK keys."""
    with open_hub() as hub, reading(hub) as connection:
        apps = list_apps(connection, hub.sealer, choose_project(connection, project_id))
        values = [
            _values(hub.settings, app, public_key_of_app(connection, hub.sealer, app.project_id, app.id))
            for app in apps
        ]
    lines = table(
        ("ID", "STORE", "NAME", "CREDENTIALS", "SDK KEY", "NOTIFICATION URL"),
        [
            (app.id, app.store, app.name, app.credential_status, one["sdk_key"] or "-", one["notification_url"] or "-")
            for app, one in zip(apps, values, strict=True)
        ],
        none="No apps yet.",
    )
    show(as_json, {"apps": values}, lines)


@app_group.command("check")
@click.argument("app_id", metavar="APP")
@project_option
@json_option
def check(app_id: str, project_id: str | None, as_json: bool) -> None:
    """Ask the store whether it accepts the credentials of APP; ends with status 1 unless it does."""
    with open_hub() as hub:
        with reading(hub) as connection:
            apps = list_apps(connection, hub.sealer, choose_project(connection, project_id))
        app = next((app for app in apps if app.id == app_id), None)
        if app is None:
            raise click.UsageError(f"the project has no app {app_id}: see `bellwire app list`")
        status, message = asyncio.run(_ask_store(hub, app))
        with hub.engine.begin() as connection:
            update_app_status(
                connection, app.project_id, app.id, status=status, message=message, checked_at_ms=now_ms()
            )
    say(as_json, {"id": app.id, "credential_status": status, "message": message}, f"{app.id}: {status}. {message}")
    if status is not CredentialStatus.OK:
        raise click.exceptions.Exit(1)


async def _ask_store(hub: Hub, app: App) -> tuple[CredentialStatus, str]:
    from bellwire.app import build_adapters  # only now: it brings the whole hub with it
    from bellwire.kit.http import GuardedClient

    client = GuardedClient(allow_private=hub.settings.allow_private_addresses)
    try:
        adapter = build_adapters(client, hub.settings).get(app.store)
        if adapter is None:
            raise click.ClickException(f"credentials of {app.store} apps cannot be checked")
        return await adapter.check_credentials(app)
    finally:
        await client.close()


def _listen_to_pushes_at_own_url(connection: sa.Connection, hub: Hub, app: App) -> None:
    """Pub/Sub's usual audience is the endpoint itself, which is known only once the app has its token (stores 3.1)."""
    if app.store is not Store.PLAY_STORE or app.config.get("push_audience"):
        return
    config = {**app.config, "push_audience": _values(hub.settings, app, None)["notification_url"]}
    update_app(connection, hub.sealer, app.project_id, app.id, config=config)


def _values(settings: Settings, app: App, sdk_key: str | None) -> dict[str, str | None]:
    """What scripts need of an app; no secrets."""
    declaration = _declaration(app.store)
    base = settings.resolved_public_url()
    return {
        "id": app.id,
        "project_id": app.project_id,
        "store": app.store.value,
        "name": app.name,
        "credential_status": app.credential_status.value,
        "notification_url": None
        if declaration is None
        else f"{base}/v1/incoming-webhooks/{declaration.slug}/{app.token}",
        "sdk_key": sdk_key,
    }


def _midnight_ms(day: datetime | None, *, days_later: int = 0) -> int | None:
    if day is None:
        return None
    return int(day.replace(tzinfo=UTC).timestamp()) * 1000 + days_later * DAY_MS
