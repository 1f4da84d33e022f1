"""`bellwire integration`: where events go. The options of each destination come from its declaration."""

import asyncio

import click
import msgspec

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
from bellwire.cli.integration_settings import create_group, integration_values, update_group
from bellwire.cli.lanes import lane_lines, lane_values
from bellwire.db.attempts import AttemptRecord
from bellwire.db.health import IntegrationHealth, load_integration_health
from bellwire.db.integrations import delete_integration, list_integrations
from bellwire.db.lane_states import lane_status, pause_lane, resume_lane
from bellwire.db.tail import load_attempt
from bellwire.destinations.base import Outcome
from bellwire.model.projects import Integration

_SHOWN_OF_BODY = 2_000


@click.group("integration")
def integration_group() -> None:
    """Integrations: where events go."""


integration_group.add_command(create_group)
integration_group.add_command(update_group)


@integration_group.command("list")
@project_option
@json_option
def list_(project_id: str | None, as_json: bool) -> None:
    """List the integrations of a project and how they are doing; secrets are masked."""
    with open_hub() as hub, reading(hub) as connection:
        found = list_integrations(connection, hub.sealer, choose_project(connection, project_id))
        health = load_integration_health(connection, [one.id for one in found], now_ms=now_ms())
    rows = [
        (
            one.id,
            one.destination,
            one.name,
            _state(one, health[one.id]),
            str(health[one.id].waiting),
            str(health[one.id].parked),
            _filters_in_words(one),
        )
        for one in found
    ]
    headings = ("ID", "DESTINATION", "NAME", "STATE", "WAITING", "PARKED", "EVENTS")
    lines = table(headings, rows, none="No integrations yet.")
    values = [integration_values(one) | lane_values(one, health[one.id]) for one in found]
    show(as_json, {"integrations": values}, lines)
    complain(found)


@integration_group.command("show")
@click.argument("integration_id", metavar="INTEGRATION")
@project_option
@json_option
def show_(integration_id: str, project_id: str | None, as_json: bool) -> None:
    """Show how INTEGRATION is doing: whether it sends, what waits, what went last, its limits and settings."""
    with open_hub() as hub, reading(hub) as connection:
        known = list_integrations(connection, hub.sealer, choose_project(connection, project_id))
        one = next((one for one in known if one.id == integration_id), None)
        if one is None:
            raise click.UsageError(_unknown(integration_id))
        health = load_integration_health(connection, [one.id], now_ms=now_ms())[one.id]
    lines = [*lane_lines(one, health, now_ms=now_ms()), f"Events        {_filters_in_words(one)}"]
    show(as_json, integration_values(one) | lane_values(one, health), lines)


@integration_group.command("pause")
@click.argument("integration_id", metavar="INTEGRATION")
@click.option("--reason", default="by hand", show_default=True, help="What people are shown.")
@project_option
@json_option
def pause(integration_id: str, reason: str, project_id: str | None, as_json: bool) -> None:
    """Send nothing to INTEGRATION until it is resumed. Its events are kept and go out then, in their order."""
    with open_hub() as hub, hub.engine.begin() as connection:
        project_id = choose_project(connection, project_id)
        if not pause_lane(connection, project_id, integration_id, reason=reason, now_ms=now_ms()):
            raise click.ClickException(_unknown(integration_id))
    say(as_json, {"id": integration_id, "paused": True}, f"Paused integration {integration_id}: {reason}.")


@integration_group.command("resume")
@click.argument("integration_id", metavar="INTEGRATION")
@project_option
@json_option
def resume(integration_id: str, project_id: str | None, as_json: bool) -> None:
    """Send to INTEGRATION again, at once: a pause, an open breaker and a hold end."""
    with open_hub() as hub, hub.engine.begin() as connection:
        if not resume_lane(connection, choose_project(connection, project_id), integration_id):
            raise click.ClickException(_unknown(integration_id))
    say(as_json, {"id": integration_id, "paused": False}, f"Resumed integration {integration_id}.")


@integration_group.command("delete")
@click.argument("integration_id", metavar="INTEGRATION")
@project_option
@json_option
def delete(integration_id: str, project_id: str | None, as_json: bool) -> None:
    """Take an integration out, named by its id. Its past deliveries stay in the log, its secrets do not."""
    with open_hub() as hub, hub.engine.begin() as connection:
        project_id = choose_project(connection, project_id)
        if not delete_integration(connection, project_id, integration_id, now_ms=now_ms()):
            raise click.ClickException(_unknown(integration_id))
    say(as_json, {"id": integration_id, "deleted": True}, f"Deleted integration {integration_id}.")


@integration_group.command("test")
@click.argument("integration_id", metavar="INTEGRATION")
@project_option
@json_option
def test(integration_id: str, project_id: str | None, as_json: bool) -> None:
    """Send a TEST event to INTEGRATION and print what came back; ends with status 1 unless it was delivered."""
    with open_hub() as hub:
        with reading(hub) as connection:
            project_id = choose_project(connection, project_id)
            if integration_id not in [one.id for one in list_integrations(connection, hub.sealer, project_id)]:
                raise click.UsageError(_unknown(integration_id))
        attempt_id = asyncio.run(_send_test(hub, project_id, integration_id))
        with reading(hub) as connection:
            attempt = load_attempt(connection, project_id, attempt_id)
    if attempt is None:
        raise click.ClickException("the test event was sent, but its attempt is not in the log")
    say(as_json, _attempt_values(attempt_id, attempt), _attempt_in_words(attempt))
    if attempt.outcome != Outcome.DELIVERED:
        raise click.exceptions.Exit(1)


async def _send_test(hub: Hub, project_id: str, integration_id: str) -> int:
    from bellwire.db.config import ConfigCache
    from bellwire.db.engine import reader
    from bellwire.db.writer import Writer
    from bellwire.delivery.service import Delivery, DeliveryRefused  # only now: it brings the HTTP client with it
    from bellwire.kit.http import GuardedClient

    writer = Writer(hub.engine)
    client = GuardedClient(allow_private=hub.settings.allow_private_addresses)
    try:
        config = ConfigCache(hub.engine, hub.sealer)
        delivery = Delivery(reader(hub.engine), writer, config, client, hub.settings)
        return await delivery.send_test(project_id, integration_id)
    except DeliveryRefused as error:
        raise click.ClickException(str(error)) from error
    finally:
        await client.close()
        writer.close()


def _unknown(integration_id: str) -> str:
    return f"the project has no integration {integration_id}: see `bellwire integration list`"


def _state(one: Integration, health: IntegrationHealth) -> str:
    return "unreadable" if one.unreadable else lane_status(health.lane, enabled=one.enabled, now_ms=now_ms()).value


def _filters_in_words(one: Integration) -> str:
    types = "all types" if one.event_types is None else ", ".join(one.event_types)
    parts = [types, one.environment, one.app_id and f"app {one.app_id}"]
    return "; ".join(part for part in parts if part)


def _attempt_values(attempt_id: int, attempt: AttemptRecord) -> dict[str, object]:
    body = None if attempt.response_body is None else attempt.response_body.decode(errors="replace")
    return {
        "attempt_id": attempt_id,
        "event_id": attempt.event_id,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "duration_ms": attempt.duration_ms,
        "response_headers": msgspec.json.decode(attempt.response_headers or "{}"),
        "response_body": body,
    }


def _attempt_in_words(attempt: AttemptRecord) -> str:
    came = f"status {attempt.status_code}" if attempt.status_code is not None else f"no answer ({attempt.error})"
    lines = [f"Sent TEST event {attempt.event_id}: {attempt.outcome}, {came} after {attempt.duration_ms} ms."]
    if attempt.reason:
        lines.append(attempt.reason)
    if attempt.response_body:
        lines.append(attempt.response_body[:_SHOWN_OF_BODY].decode(errors="replace"))
    return "\n".join(lines)
