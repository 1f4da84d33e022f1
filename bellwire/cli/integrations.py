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
from bellwire.cli.fields import EventTypeName, Name, checked, given, options_of, refuse_unreachable
from bellwire.db.attempts import AttemptRecord
from bellwire.db.integrations import Filters, create_integration, delete_integration, list_integrations
from bellwire.db.tail import load_attempt
from bellwire.destinations.base import Destination, Outcome
from bellwire.destinations.registry import DESTINATIONS
from bellwire.destinations.settings import mask
from bellwire.kit.ids import new_token
from bellwire.model.enums import Environment, EventType
from bellwire.model.projects import Integration

_SIGNING_SECRET = "signing_secret"  # noqa: S105 (the field's name)
_SHOWN_OF_BODY = 2_000


@click.group("integration")
def integration_group() -> None:
    """Integrations: where events go."""


@integration_group.group("create")
def create_group() -> None:
    """Connect a project to a destination."""


def _creator(destination: Destination) -> click.Command:
    signs = _SIGNING_SECRET in destination.settings.__struct_fields__

    @click.command(destination.slug, help=f"{destination.description}\n\nNAME is what the dashboard calls it.")
    @click.argument("name", type=Name())
    @options_of(destination.settings, without=frozenset({_SIGNING_SECRET, "previous_signing_secret"}))
    @click.option(
        "--event",
        "event_types",
        multiple=True,
        metavar="TYPE",
        type=EventTypeName(),
        help="Only this type of event, such as RENEWAL; more than once for several. Otherwise all, future ones too.",
    )
    @click.option(
        "--environment",
        type=click.Choice([one.value.lower() for one in Environment], case_sensitive=False),
        help="Only events of this environment; otherwise of both.",
    )
    @click.option("--app", "app_id", metavar="ID", help="Only events of this app; otherwise of all.")
    @project_option
    @json_option
    def create(
        name: str,
        event_types: tuple[EventType, ...],
        environment: str | None,
        app_id: str | None,
        project_id: str | None,
        as_json: bool,
        signing: bool = False,
        **fields: object,
    ) -> None:
        values = given(destination.settings, fields)
        secret = new_token("whsec_") if signing else None
        if secret is not None:
            values[_SIGNING_SECRET] = secret
        settings = checked(destination.settings, values)
        filters = Filters(
            environment=None if environment is None else Environment(environment.upper()),
            app_id=app_id,
            event_types=event_types or None,
        )
        with open_hub() as hub, hub.engine.begin() as connection:
            refuse_unreachable(values.get("url"), allow_http=hub.settings.allow_private_addresses)
            made = create_integration(
                connection,
                hub.sealer,
                project_id=choose_project(connection, project_id),
                destination=destination.slug,
                name=name,
                settings=settings,
                filters=filters,
                now_ms=now_ms(),
            )
        lines = [f"Created {destination.title} integration {made.id} ({name}) in project {made.project_id}."]
        if secret is not None:
            lines.append("Signing secret, not shown again:" + (" see stdout." if as_json else f"\n{secret}"))
        lines.append(f"Next: `bellwire integration test {made.id}` sends a test event.")
        say(as_json, _values(made) | ({"signing_secret": secret} if signs else {}), "\n".join(lines))

    if signs:
        text = "Sign every request with a new secret, which is shown once."
        create = click.option("--signing/--no-signing", default=False, show_default=True, help=text)(create)
    return create


for _destination in DESTINATIONS.values():
    create_group.add_command(_creator(_destination))


@integration_group.command("list")
@project_option
@json_option
def list_(project_id: str | None, as_json: bool) -> None:
    """List the integrations of a project; secrets are masked."""
    with open_hub() as hub, reading(hub) as connection:
        found = list_integrations(connection, hub.sealer, choose_project(connection, project_id))
    rows = [(one.id, one.destination, one.name, _state(one), _filters_in_words(one)) for one in found]
    lines = table(("ID", "DESTINATION", "NAME", "STATE", "EVENTS"), rows, none="No integrations yet.")
    show(as_json, {"integrations": [_values(one) for one in found]}, lines)
    complain(found)


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


def _values(one: Integration) -> dict[str, object]:
    """What scripts need of an integration, secrets masked."""
    values: dict[str, object] = msgspec.to_builtins(one)
    if one.unreadable:
        return values
    declared = DESTINATIONS[one.destination].settings
    return values | {"settings": mask(msgspec.convert(one.settings, declared))}


def _state(one: Integration) -> str:
    return "unreadable" if one.unreadable else "on" if one.enabled else "off"


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
