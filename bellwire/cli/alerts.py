"""`bellwire alert`: who is told when something needs a person."""

import asyncio

import click
import msgspec

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
from bellwire.cli.fields import checked, given, options_of, refuse_unreachable
from bellwire.db.alerts import Channel, create_channel, delete_channel, list_channels, list_open_alerts
from bellwire.delivery.alerts.channels import KINDS, EmailSettings, SlackSettings, WebhookSettings
from bellwire.destinations.settings import mask
from bellwire.kit.ids import new_token


@click.group("alert")
def alert_group() -> None:
    """Alerts: who is told when an integration or a store needs a person."""


@alert_group.group("add")
def add_group() -> None:
    """Tell somebody by e-mail, Slack or webhook. At most once a day for each matter."""


@add_group.command("email")
@options_of(EmailSettings)
@project_option
@json_option
def add_email(project_id: str | None, as_json: bool, **fields: object) -> None:
    """Mail over your own SMTP server; --to may be given more than once."""
    settings = checked(EmailSettings, given(EmailSettings, fields))
    _add("email", settings, project_id, as_json)


@add_group.command("slack")
@options_of(SlackSettings)
@project_option
@json_option
def add_slack(project_id: str | None, as_json: bool, **fields: object) -> None:
    """Post to an incoming webhook of Slack, or of what takes the same JSON (Mattermost, Discord with /slack)."""
    settings = checked(SlackSettings, given(SlackSettings, fields))
    _add("slack", settings, project_id, as_json, url=settings.url)


@add_group.command("webhook")
@options_of(WebhookSettings, without=frozenset({"signing_secret"}))
@click.option(
    "--signing/--no-signing",
    default=False,
    show_default=True,
    help="Sign every request with a new secret, which is shown once.",
)
@project_option
@json_option
def add_webhook(project_id: str | None, as_json: bool, signing: bool, **fields: object) -> None:
    """Post JSON to an address of your own, signed like the events' webhook."""
    values = given(WebhookSettings, fields)
    secret = new_token("whsec_") if signing else None
    if secret is not None:
        values["signing_secret"] = secret
    settings = checked(WebhookSettings, values)
    _add("webhook", settings, project_id, as_json, url=settings.url, secret=secret)


def _add(
    kind: str,
    settings: msgspec.Struct,
    project_id: str | None,
    as_json: bool,
    *,
    url: str | None = None,
    secret: str | None = None,
) -> None:
    with open_hub() as hub, hub.engine.begin() as connection:
        refuse_unreachable(url, allow_http=hub.settings.allow_private_addresses)
        project_id = choose_project(connection, project_id)
        channel_id = create_channel(
            connection, hub.sealer, project_id=project_id, kind=kind, settings=settings, now_ms=now_ms()
        )
    lines = [f"Alerts of project {project_id} go to {kind} channel {channel_id} from now on."]
    if secret is not None:
        lines.append("Signing secret, not shown again:" + (" see stdout." if as_json else f"\n{secret}"))
    lines.append(f"Next: `bellwire alert test {channel_id}` sends a test alert.")
    values = {"id": channel_id, "project_id": project_id, "kind": kind}
    say(as_json, values | ({"signing_secret": secret} if kind == "webhook" else {}), "\n".join(lines))


@alert_group.command("list")
@project_option
@json_option
def list_(project_id: str | None, as_json: bool) -> None:
    """List who is told, and what goes on at the moment; secrets are masked."""
    with open_hub() as hub, reading(hub) as connection:
        project_id = choose_project(connection, project_id)
        channels = list_channels(connection, hub.sealer, project_id)
        open_alerts = list_open_alerts(connection, project_id)
    rows = [(one.id, one.kind, _where(one)) for one in channels]
    lines = table(("ID", "KIND", "GOES TO"), rows, none="No channels yet: nobody is told. See `bellwire alert add`.")
    if open_alerts:
        matters = [(one.kind.value, one.subject, one.message) for one in open_alerts]
        lines += ["", *table(("GOES ON", "SUBJECT", "WHAT"), matters, none="")]
    values: dict[str, object] = {
        "channels": [{"id": one.id, "kind": one.kind, "settings": _masked(one)} for one in channels],
        "open": msgspec.to_builtins(open_alerts),
    }
    show(as_json, values, lines)


@alert_group.command("remove")
@click.argument("channel_id", metavar="CHANNEL")
@project_option
@json_option
def remove(channel_id: str, project_id: str | None, as_json: bool) -> None:
    """Tell CHANNEL no more; what waits to be sent there is dropped."""
    with open_hub() as hub, hub.engine.begin() as connection:
        if not delete_channel(connection, choose_project(connection, project_id), channel_id):
            raise click.ClickException(_unknown(channel_id))
    say(as_json, {"id": channel_id, "removed": True}, f"Removed channel {channel_id}.")


@alert_group.command("test")
@click.argument("channel_id", metavar="CHANNEL")
@project_option
@json_option
def test(channel_id: str, project_id: str | None, as_json: bool) -> None:
    """Send a test alert to CHANNEL at once; ends with status 1 unless it was taken."""
    with open_hub() as hub:
        with reading(hub) as connection:
            channels = list_channels(connection, hub.sealer, choose_project(connection, project_id))
        channel = next((one for one in channels if one.id == channel_id), None)
        if channel is None:
            raise click.UsageError(_unknown(channel_id))
        failure = asyncio.run(_send_test(hub, channel))
    message = "Sent: look for it there." if failure is None else f"Not sent: {failure}"
    say(as_json, {"id": channel_id, "sent": failure is None, "failure": failure}, message)
    if failure is not None:
        raise click.exceptions.Exit(1)


async def _send_test(hub: Hub, channel: Channel) -> str | None:
    from bellwire.db.config import ConfigCache
    from bellwire.db.engine import reader
    from bellwire.db.writer import Writer
    from bellwire.delivery.alerts.service import Alerts  # only now: it brings the HTTP client with it
    from bellwire.kit.http import GuardedClient

    writer = Writer(hub.engine)
    client = GuardedClient(allow_private=hub.settings.allow_private_addresses)
    try:
        config = ConfigCache(hub.engine, hub.sealer)
        return await Alerts(reader(hub.engine), writer, config, hub.sealer, client, hub.settings).send_test(channel)
    finally:
        await client.close()
        writer.close()


def _masked(channel: Channel) -> dict[str, object]:
    if channel.unreadable:
        return channel.settings
    return mask(msgspec.convert(channel.settings, KINDS[channel.kind]))


def _where(channel: Channel) -> str:
    if channel.unreadable:
        return f"nobody: {channel.unreadable}"
    settings = msgspec.convert(channel.settings, KINDS[channel.kind])
    match settings:
        case EmailSettings():
            return f"{', '.join(settings.to)} by {settings.smtp_host}"
        case WebhookSettings():
            return settings.url
        case _:
            return "a secret address"


def _unknown(channel_id: str) -> str:
    return f"the project has no channel {channel_id}: see `bellwire alert list`"
