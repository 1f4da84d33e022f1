"""`bellwire app create` and `app update`: one command for each store, its options out of the store's declaration.

The stores' registry brings their verifiers and API clients with it, most of a second of loading; other commands do
without, so it is imported where it is needed.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

import click
import sqlalchemy as sa

from bellwire.cli.console import Hub, choose_project, json_option, now_ms, open_hub, project_option, say
from bellwire.cli.fields import Name, checked, given, options_of
from bellwire.db.apps import create_app, list_apps, update_app
from bellwire.db.keys import KeyKind, create_key, public_key_of_app
from bellwire.model.enums import Store
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


class _StoreCommands(click.Group):
    """One command for each store, made when it is asked for."""

    maker: Callable[[str], click.Command]

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    # pyrefly: ignore[missing-override-decorator]
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self.maker(cmd_name) if cmd_name in _COMMANDS else None


def declaration_of(store: Store) -> "StoreDeclaration | None":
    """What the store wants to be told; None where this hub cannot connect it."""
    from bellwire.stores.registry import DECLARATIONS

    return DECLARATIONS.get(store)


def _named(command_name: str) -> "StoreDeclaration":
    declaration = declaration_of(_COMMANDS[command_name])
    if declaration is None:
        raise LookupError(f"no store declares {command_name}")
    return declaration


@cache
def _creator(command_name: str) -> click.Command:
    declaration = _named(command_name)

    @click.command(command_name, help=f"Connect your {declaration.title} app under the name NAME.")
    @click.argument("app_name", metavar="NAME", type=Name())
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
        secrets = _texts(given(declaration.secrets, fields))
        _refuse_unusable(declaration, config, secrets)
        with open_hub() as hub, hub.engine.begin() as connection:
            app = create_app(
                connection,
                hub.sealer,
                project_id=choose_project(connection, project_id),
                store=declaration.store,
                name=app_name,
                config=config,
                secrets=secrets,
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
        values = app_values(hub.settings, app, sdk_key)
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


@cache
def _changer(command_name: str) -> click.Command:
    declaration = _named(command_name)

    @click.command(command_name, help=f"Change the {declaration.title} app APP, named by its id.")
    @click.argument("app_id", metavar="APP")
    @project_option
    @click.option("--name", "app_name", type=Name(), help="What to call it from now on.")
    @options_of(declaration.config, changing=True)
    @options_of(declaration.secrets, from_files=True, changing=True)
    @click.option(
        "--track-new-purchases/--no-track-new-purchases",
        default=None,
        help="Also take in purchases that only the store told of.",
    )
    @json_option
    def update(
        app_id: str,
        project_id: str | None,
        app_name: str | None,
        track_new_purchases: bool | None,
        as_json: bool,
        **fields: object,
    ) -> None:
        config = given(declaration.config, fields)
        secrets = _texts(given(declaration.secrets, fields))
        changed = sorted([*config, *secrets])
        changed += ["name"] * (app_name is not None) + ["track_new_purchases"] * (track_new_purchases is not None)
        if not changed:
            raise click.UsageError("say with an option what is to be changed; everything else stays as it is")
        with open_hub() as hub, hub.engine.begin() as connection:
            known = list_apps(connection, hub.sealer, choose_project(connection, project_id))
            app = next((one for one in known if one.id == app_id and one.store is declaration.store), None)
            if app is None:
                raise click.UsageError(f"the project has no {declaration.title} app {app_id}: see `bellwire app list`")
            whole, sealed = {**app.config, **config}, {**app.secrets, **secrets}
            _refuse_unusable(declaration, whole, sealed)
            update_app(
                connection,
                hub.sealer,
                app.project_id,
                app.id,
                name=app_name,
                config=whole if config else None,
                secrets=sealed if secrets else None,
                track_new_purchases=track_new_purchases,
            )
            [app] = [one for one in list_apps(connection, hub.sealer, app.project_id) if one.id == app_id]
            sdk_key = public_key_of_app(connection, hub.sealer, app.project_id, app.id)
        words = ", ".join(f"--{name.replace('_', '-')}" for name in changed)
        say(
            as_json,
            {**app_values(hub.settings, app, sdk_key), "changed": changed},
            f"Changed {words} of {declaration.title} app {app.id} ({app.name}). "
            f"`bellwire app check {app.id}` tries the credentials.",
        )

    return update


class _Creators(_StoreCommands):
    maker = staticmethod(_creator)


class _Changers(_StoreCommands):
    maker = staticmethod(_changer)


@click.group("create", cls=_Creators)
def create_group() -> None:
    """Connect an app of a store."""


@click.group("update", cls=_Changers)
def update_group() -> None:
    """Change what an app was connected with: a new key, a forgotten id."""


def app_values(settings: Settings, app: App, sdk_key: str | None) -> dict[str, str | None]:
    """What scripts need of an app; no secrets."""
    declaration = declaration_of(app.store)
    base = settings.resolved_public_url()
    return {
        "id": app.id,
        "project_id": app.project_id,
        "store": app.store.value,
        "name": app.name,
        "credential_status": "unreadable" if app.unreadable else app.credential_status.value,
        "notification_url": None
        if declaration is None
        else f"{base}/v1/incoming-webhooks/{declaration.slug}/{app.token}",
        "sdk_key": sdk_key,
    }


def _refuse_unusable(declaration: "StoreDeclaration", config: dict[str, object], secrets: dict[str, str]) -> None:
    """A wrong use of the command, where what was entered cannot be right; nobody is asked."""
    from bellwire.stores.base import CredentialError

    checked(declaration.config, config)
    checked(declaration.secrets, secrets)
    try:
        declaration.check_secrets(secrets)
    except CredentialError as error:
        raise click.UsageError(str(error)) from error


def _texts(values: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def _listen_to_pushes_at_own_url(connection: sa.Connection, hub: Hub, app: App) -> None:
    """Pub/Sub's usual audience is the endpoint itself, which is known only once the app has its token (stores 3.1)."""
    if app.store is not Store.PLAY_STORE or app.config.get("push_audience"):
        return
    config = {**app.config, "push_audience": app_values(hub.settings, app, None)["notification_url"]}
    update_app(connection, hub.sealer, app.project_id, app.id, config=config)


def _midnight_ms(day: datetime | None, *, days_later: int = 0) -> int | None:
    if day is None:
        return None
    return int(day.replace(tzinfo=UTC).timestamp()) * 1000 + days_later * DAY_MS
