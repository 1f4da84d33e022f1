"""`bellwire app`: the app stores a project is connected to. `app_settings.py` has what connects and changes one."""

import asyncio

import click

from bellwire.cli.app_settings import app_values, create_group, update_group
from bellwire.cli.console import (
    Hub,
    choose_project,
    complain,
    json_option,
    now_ms,
    open_hub,
    project_option,
    reading,
    say,
    show,
    table,
)
from bellwire.db.apps import list_apps, update_app_status
from bellwire.db.keys import public_key_of_app
from bellwire.model.enums import CredentialStatus
from bellwire.model.projects import App


@click.group("app")
def app_group() -> None:
    """Apps: one store configuration each, with its credentials."""


app_group.add_command(create_group)
app_group.add_command(update_group)


@app_group.command("list")
@project_option
@json_option
def list_(project_id: str | None, as_json: bool) -> None:
    """List the apps of a project with their notification URLs and SDK keys."""
    with open_hub() as hub, reading(hub) as connection:
        apps = list_apps(connection, hub.sealer, choose_project(connection, project_id))
        values = [
            app_values(hub.settings, app, public_key_of_app(connection, hub.sealer, app.project_id, app.id))
            for app in apps
        ]
    lines = table(
        ("ID", "STORE", "NAME", "CREDENTIALS", "SDK KEY", "NOTIFICATION URL"),
        [
            (
                app.id,
                app.store,
                app.name,
                str(one["credential_status"]),
                one["sdk_key"] or "-",
                one["notification_url"] or "-",
            )
            for app, one in zip(apps, values, strict=True)
        ],
        none="No apps yet.",
    )
    show(as_json, {"apps": values}, lines)
    complain(apps)


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
