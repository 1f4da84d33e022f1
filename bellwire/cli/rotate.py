"""Replacing what others were given, with a time in which both the old and the new one count: signing secrets, tokens."""

from collections.abc import Callable

import click
import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from bellwire.cli.app_settings import app_values
from bellwire.cli.console import choose_project, json_option, open_hub, project_option, say
from bellwire.db.apps import drop_previous_token, list_apps, rotate_token
from bellwire.db.integrations import list_integrations, update_integration
from bellwire.db.secrets import Sealer
from bellwire.destinations.webhook.destination import DESTINATION as WEBHOOK
from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from bellwire.kit.ids import new_token


@click.command("rotate-secret")
@click.argument("integration_id", metavar="INTEGRATION")
@click.option("--at-once", is_flag=True, help="The old secret ends now, as after a leak: no time for both.")
@project_option
@json_option
def rotate_secret(integration_id: str, at_once: bool, project_id: str | None, as_json: bool) -> None:
    """Give the webhook INTEGRATION a new signing secret, shown this once.

    Until `drop-old-secret` the Standard Webhooks header carries a signature with each of the two, and
    X-RevenueCat-Webhook-Signature, which has room for one, stays with the old secret.
    """
    secret = new_token("whsec_")

    def change(settings: WebhookSettings) -> WebhookSettings:
        old = "" if at_once else settings.previous_signing_secret or settings.signing_secret
        return replace(settings, signing_secret=secret, previous_signing_secret=old)

    project_id = _change_webhook(project_id, integration_id, change)
    lines = [
        f"New signing secret of {integration_id}, not shown again:" + (" see stdout." if as_json else f"\n{secret}")
    ]
    if not at_once:
        lines.append(
            f"Next: teach it to the receiver, then run `bellwire integration drop-old-secret {integration_id}`."
        )
    say(as_json, {"id": integration_id, "signing_secret": secret}, "\n".join(lines))


@click.command("drop-old-secret")
@click.argument("integration_id", metavar="INTEGRATION")
@project_option
@json_option
def drop_old_secret(integration_id: str, project_id: str | None, as_json: bool) -> None:
    """Sign with the new secret alone, once the receiver of INTEGRATION knows it."""
    _change_webhook(project_id, integration_id, lambda settings: replace(settings, previous_signing_secret=""))
    say(as_json, {"id": integration_id}, f"Everything for {integration_id} is signed with its new secret alone.")


@click.command("rotate-token")
@click.argument("app_id", metavar="APP")
@project_option
@json_option
def rotate_app_token(app_id: str, project_id: str | None, as_json: bool) -> None:
    """Give APP a new notification URL; the old one goes on working until `drop-old-token`."""
    with open_hub() as hub, hub.engine.begin() as connection:
        project_id = choose_project(connection, project_id)
        if rotate_token(connection, project_id, app_id) is None:
            raise click.ClickException(_no_app(app_id))
        app = next(one for one in list_apps(connection, hub.sealer, project_id) if one.id == app_id)
    url = app_values(hub.settings, app, None)["notification_url"]
    lines = f"New notification URL of {app_id}: {url}\nNext: enter it at the store, then `bellwire app drop-old-token {app_id}`."
    say(as_json, {"id": app_id, "notification_url": url}, lines)


@click.command("drop-old-token")
@click.argument("app_id", metavar="APP")
@project_option
@json_option
def drop_old_token(app_id: str, project_id: str | None, as_json: bool) -> None:
    """Take nothing in any more at the notification URL that APP had before `rotate-token`."""
    with open_hub() as hub, hub.engine.begin() as connection:
        if not drop_previous_token(connection, choose_project(connection, project_id), app_id):
            raise click.ClickException(_no_app(app_id))
    say(as_json, {"id": app_id}, f"The old notification URL of {app_id} is closed.")


def _change_webhook(
    project_id: str | None, integration_id: str, change: Callable[[WebhookSettings], WebhookSettings]
) -> str:
    """Replace the settings of a signing webhook; returns its project."""
    with open_hub() as hub, hub.engine.begin() as connection:
        project_id = choose_project(connection, project_id)
        settings = change(_signing_webhook(connection, hub.sealer, project_id, integration_id))
        update_integration(connection, hub.sealer, project_id, integration_id, settings=settings)
    return project_id


def _signing_webhook(
    connection: sa.Connection, sealer: Sealer, project_id: str, integration_id: str
) -> WebhookSettings:
    found = [one for one in list_integrations(connection, sealer, project_id) if one.id == integration_id]
    if not found:
        raise click.ClickException(f"the project has no integration {integration_id}: see `bellwire integration list`")
    if found[0].unreadable:
        raise click.ClickException(found[0].unreadable)
    settings = msgspec.convert(found[0].settings, WebhookSettings) if found[0].destination == WEBHOOK.slug else None
    if settings is None or not settings.signing_secret:
        raise click.ClickException(f"integration {integration_id} does not sign: there is no secret to change")
    return settings


def _no_app(app_id: str) -> str:
    return f"the project has no app {app_id}: see `bellwire app list`"
