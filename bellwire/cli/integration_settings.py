"""`bellwire integration create` and `integration update`: one command for each destination, its options declared there.

Which events an integration gets and how fast they may go is the same for all and has its options here.
"""

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import click
import msgspec
from msgspec.structs import replace

from bellwire.cli.console import choose_project, json_option, now_ms, open_hub, project_option, say
from bellwire.cli.fields import EventTypeName, Name, checked, given, options_of, refuse_unreachable
from bellwire.db.integrations import Filters, create_integration, list_integrations, update_integration
from bellwire.destinations.base import Destination
from bellwire.destinations.registry import DESTINATIONS
from bellwire.destinations.settings import mask, secret_fields
from bellwire.kit.ids import new_token
from bellwire.model.enums import Environment
from bellwire.model.projects import Integration, RateLimit

F = TypeVar("F", bound=Callable[..., object])

_SIGNING_SECRET = "signing_secret"  # noqa: S105 (the field's name)
_NOT_ASKED = frozenset({_SIGNING_SECRET, "previous_signing_secret"})
_ALL = "all"
_BOTH = "both"


class _OrderWait(click.ParamType[object]):
    """Milliseconds; `strict` is handed on as it is."""

    name = "seconds|never|strict"

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        text = str(value).lower()
        if text == "strict":
            return text
        if text == "never":
            return 0
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds <= 86_400:
            self.fail("say seconds up to a day, `never` or `strict`", param, ctx)
        return int(seconds * 1000)


def _lane_options(command: F) -> F:
    """Filters and limits; what is not given is None (an empty tuple for events)."""
    for option in reversed(
        [
            click.option(
                "--event",
                "event_types",
                multiple=True,
                metavar="TYPE",
                type=EventTypeName(also=_ALL),
                help="Only this type of event, such as RENEWAL; more than once for several. `all`: all, future ones too.",
            ),
            click.option(
                "--environment",
                type=click.Choice([*(one.value.lower() for one in Environment), _BOTH], case_sensitive=False),
                help="Only events of this environment.",
            ),
            click.option("--app", "app_id", metavar="ID|all", help="Only events of this app."),
            click.option(
                "--concurrency",
                type=click.IntRange(1, 1000),
                help=f"Requests at once. [default for a new one: {Filters().concurrency}]",
            ),
            click.option(
                "--rate-limit",
                type=click.FloatRange(0, 100_000),
                metavar="EVENTS",
                help="Events per second in the long run; 0 = no limit of its own. What the destination documents counts as well.",
            ),
            click.option(
                "--rate-burst",
                type=click.IntRange(1, 100_000),
                help="Events at once within the rate limit. [default: those of one second]",
            ),
            click.option(
                "--order-wait",
                type=_OrderWait(),
                help="How long a customer's event waits for the one before it: seconds, `never`, or `strict` for as long "
                "as it takes. [default for a new one: 60]",
            ),
        ]
    ):
        command = option(command)
    return command


def _filters(present: Filters, options: dict[str, object]) -> tuple[Filters, list[str]]:
    """The filters with what was given on the command line, and the names of what that changes; takes it out of
    `options`."""
    chosen = {name: options.pop(name) for name in _LANE_OPTIONS}
    changes: dict[str, object] = {}
    events = chosen["event_types"]
    if isinstance(events, tuple) and events:
        changes["event_types"] = None if _ALL in events else events
    if chosen["environment"] is not None:
        environment = str(chosen["environment"])
        changes["environment"] = None if environment == _BOTH else Environment(environment.upper())
    if chosen["app_id"] is not None:
        changes["app_id"] = None if chosen["app_id"] == _ALL else chosen["app_id"]
    if chosen["concurrency"] is not None:
        changes["concurrency"] = chosen["concurrency"]
    if chosen["order_wait"] is not None:
        changes["order_wait_ms"] = None if chosen["order_wait"] == "strict" else chosen["order_wait"]
    if chosen["rate_limit"] is not None or chosen["rate_burst"] is not None:
        changes["rate_limit"] = _rate_limit(present.rate_limit, chosen["rate_limit"], chosen["rate_burst"])
    return replace(present, **changes), sorted(changes)


_LANE_OPTIONS = ("event_types", "environment", "app_id", "concurrency", "rate_limit", "rate_burst", "order_wait")


def _rate_limit(present: RateLimit | None, rate: object, burst: object) -> RateLimit | None:
    if rate == 0:
        return None
    per_s = rate if isinstance(rate, float) else None if present is None else present.events_per_s
    if per_s is None:
        raise click.UsageError("--rate-burst needs a --rate-limit")
    return RateLimit(events_per_s=per_s, burst=burst if isinstance(burst, int) else max(1, math.ceil(per_s)))


def _signing_option(command: F) -> F:
    text = "Sign every request with a new secret, which is shown once."
    return click.option("--signing/--no-signing", default=None, help=text)(command)


def _creator(destination: Destination) -> click.Command:
    @click.command(destination.slug, help=f"{destination.description}\n\nNAME is what the dashboard calls it.")
    @click.argument("name", type=Name())
    @options_of(destination.settings, without=_NOT_ASKED)
    @_lane_options
    @project_option
    @json_option
    def create(
        name: str, project_id: str | None, as_json: bool, signing: bool | None = None, **options: object
    ) -> None:
        filters, _ = _filters(Filters(), options)
        values = given(destination.settings, options)
        secret = new_token("whsec_") if signing else None
        if secret is not None:
            values[_SIGNING_SECRET] = secret
        settings = checked(destination.settings, values)
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
        lines += _secret_lines(secret, as_json)
        lines.append(f"Next: `bellwire integration test {made.id}` sends a test event.")
        signed = {"signing_secret": secret} if _signs(destination) else {}
        say(as_json, integration_values(made) | signed, "\n".join(lines))

    return _signing_option(create) if _signs(destination) else create


def _changer(destination: Destination) -> click.Command:
    @click.command(destination.slug, help=f"Change the {destination.title} integration INTEGRATION, named by its id.")
    @click.argument("integration_id", metavar="INTEGRATION")
    @click.option("--name", type=Name(), help="What to call it from now on.")
    @options_of(destination.settings, without=_NOT_ASKED, changing=True)
    @_lane_options
    @project_option
    @json_option
    def update(
        integration_id: str,
        name: str | None,
        project_id: str | None,
        as_json: bool,
        signing: bool | None = None,
        **options: object,
    ) -> None:
        with open_hub() as hub, hub.engine.begin() as connection:
            known = list_integrations(connection, hub.sealer, choose_project(connection, project_id))
            present = next(
                (one for one in known if (one.id, one.destination) == (integration_id, destination.slug)), None
            )
            if present is None:
                raise click.UsageError(
                    f"the project has no {destination.title} integration {integration_id}: see `bellwire integration list`"
                )
            filters, changed = _filters(_filters_of(present), options)
            values = given(destination.settings, options)
            secret = new_token("whsec_") if signing else None
            changed += sorted(values) + [_SIGNING_SECRET] * (signing is not None)
            if signing is not None:  # at once: `rotate` is the way with two secrets
                values |= dict.fromkeys(_NOT_ASKED & set(destination.settings.__struct_fields__), "")
                values[_SIGNING_SECRET] = secret or ""
            if present.unreadable and values:
                _want_every_secret(destination, values, present.unreadable)
            changed += ["name"] * (name is not None)
            if not changed:
                raise click.UsageError("say with an option what is to be changed; everything else stays as it is")
            refuse_unreachable(values.get("url"), allow_http=hub.settings.allow_private_addresses)
            update_integration(
                connection,
                hub.sealer,
                present.project_id,
                present.id,
                name=name,
                settings=checked(destination.settings, present.settings | values) if values else None,
                filters=filters,
            )
            known = list_integrations(connection, hub.sealer, present.project_id)
            [present] = [one for one in known if one.id == integration_id]
        words = ", ".join(name.replace("_", " ") for name in changed)
        lines = [f"Changed {words} of {destination.title} integration {present.id} ({present.name})."]
        lines += _secret_lines(secret, as_json)
        signed: dict[str, object] = {} if secret is None else {"signing_secret": secret}
        say(as_json, integration_values(present) | {"changed": changed} | signed, "\n".join(lines))

    return _signing_option(update) if _signs(destination) else update


@click.group("create")
def create_group() -> None:
    """Connect a project to a destination."""


@click.group("update")
def update_group() -> None:
    """Change an integration; what waits goes out by the new settings."""


def integration_values(one: Integration) -> dict[str, object]:
    """What scripts need of an integration, secrets masked."""
    values: dict[str, object] = msgspec.to_builtins(one)
    if one.unreadable:
        return values
    declared = DESTINATIONS[one.destination].settings
    return values | {"settings": mask(msgspec.convert(one.settings, declared))}


def _signs(destination: Destination) -> bool:
    return _SIGNING_SECRET in destination.settings.__struct_fields__


def _want_every_secret(destination: Destination, values: Mapping[str, object], unreadable: str) -> None:
    """What does not open cannot be kept: without this the integration would go on with no secrets at all."""
    left = secret_fields(destination.settings) - values.keys()
    options = {"--signing or --no-signing" if one in _NOT_ASKED else f"--{one.replace('_', '-')}" for one in left}
    if left:
        raise click.UsageError(f"{unreadable}: say {', '.join(sorted(options))} as well")


def _secret_lines(secret: str | None, as_json: bool) -> list[str]:
    return (
        [] if secret is None else ["Signing secret, not shown again:" + (" see stdout." if as_json else f"\n{secret}")]
    )


def _filters_of(one: Integration) -> Filters:
    return Filters(
        environment=one.environment,
        app_id=one.app_id,
        event_types=one.event_types,
        order_wait_ms=one.order_wait_ms,
        concurrency=one.concurrency,
        rate_limit=one.rate_limit,
    )


for _destination in DESTINATIONS.values():
    create_group.add_command(_creator(_destination))
    update_group.add_command(_changer(_destination))
