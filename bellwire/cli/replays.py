"""`bellwire replay`: sending again what was sent before, what failed, or what a new integration has missed."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import click
import msgspec
import sqlalchemy as sa

from bellwire.cli.console import (
    Hub,
    choose_project,
    confirmed,
    json_option,
    now_ms,
    open_hub,
    project_option,
    reading,
    say,
    show,
    table,
)
from bellwire.cli.fields import EventTypeName
from bellwire.cli.replay_progress import counts, follow
from bellwire.cli.times import Moment, minute
from bellwire.db.integrations import list_integrations
from bellwire.db.replays import Replay, cancel_replay, list_replays, load_replay
from bellwire.delivery.replay_orders import MAX_RATE_PER_S, Order, draw_up, in_words, place
from bellwire.model.enums import Environment, EventType
from bellwire.model.projects import Integration
from bellwire.model.replays import Selection, TimeOf, What

F = TypeVar("F", bound=Callable[..., object])

ASKED_FROM = 20
"""From so many deliveries on a command asks before it does it."""
BY = "the command line"


@click.group("replay")
def replay_group() -> None:
    """Replays: send events again, or for the first time to a new integration."""


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_WHICH = _options(
    click.option("--event", "event_id", metavar="ID", help="This one event."),
    click.option("--failed", is_flag=True, help="Deliveries that are parked, or failed and wait to be tried again."),
    click.option("--customer", metavar="APP_USER_ID", help="The events of this customer, under all their ids."),
    click.option("--since", type=Moment(), help="Events from then on: 2026-11-24, 2026-11-24T18:30Z, or 36h, 7d ago."),
    click.option("--until", type=Moment(), help="Events before then."),
    click.option("--all", "everything", is_flag=True, help="The whole history."),
)
_FILTERS = _options(
    click.option(
        "--type",
        "event_types",
        multiple=True,
        metavar="TYPE",
        type=EventTypeName(),
        help="Only this type of event, such as RENEWAL; more than once for several.",
    ),
    click.option(
        "--environment",
        type=click.Choice([one.value.lower() for one in Environment], case_sensitive=False),
        help="Only events of this environment.",
    ),
    click.option("--app", "app_id", metavar="ID", help="Only events of this app."),
    click.option(
        "--by",
        "time_of",
        type=click.Choice([one.value for one in TimeOf]),
        default=TimeOf.EVENT.value,
        show_default=True,
        help="Whether --since and --until mean when an event happened or when the hub committed it.",
    ),
    click.option(
        "--include-undispatched",
        is_flag=True,
        help="Also events that never went out: history of purchases older than the hub.",
    ),
)


@replay_group.command("start")
@click.option(
    "--integration",
    "integration_ids",
    multiple=True,
    metavar="ID",
    help="Where to; more than once for several. Otherwise every integration that is switched on.",
)
@_WHICH
@_FILTERS
@click.option(
    "--rate",
    type=click.FloatRange(min=0, max=MAX_RATE_PER_S, min_open=True),
    metavar="N",
    help="At most so many deliveries a second. Otherwise as many as the integration takes beside new events.",
)
@click.option("--dry-run", is_flag=True, help="Only say how many would go, and what.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", is_flag=True, help="Show the progress until it has ended; status 1 unless all was delivered.")
@project_option
@json_option
def start(
    integration_ids: tuple[str, ...],
    rate: float | None,
    dry_run: bool,
    yes: bool,
    wait: bool,
    project_id: str | None,
    as_json: bool,
    **which: object,
) -> None:
    """Send events again: one event, all that failed, a customer's, a range of time, or everything.

    A running hub does the work, a few deliveries at a time and after new events; each gets a whole retry schedule of
    its own. What waits for the integration already is not sent twice, and what its filters leave out is not sent.
    """
    selection = _selection(msgspec.convert(which, _Which))
    with open_hub() as hub:
        with reading(hub) as connection:
            chosen = choose_project(connection, project_id)
            targets = _targets(list_integrations(connection, hub.sealer, chosen), integration_ids)
            orders = [draw_up(connection, integration, selection) for integration in targets]
        lines = [line for order in orders for line in _preview_lines(order)]
        if dry_run:
            show(as_json, {"replays": [_order_values(order) for order in orders]}, lines)
            return
        orders = [order for order in orders if order.preview.total]
        click.echo("\n".join(lines), err=as_json)
        total = sum(order.preview.total for order in orders)
        if not total:
            say(as_json, {"replays": []}, "Nothing to send.")
            return
        confirmed(f"Send {total:,} deliveries?", yes=yes or total < ASKED_FROM)
        ids = _place(hub, orders, rate)
        replays = follow(hub, chosen, ids, bar=not as_json) if wait else _load(hub, chosen, ids)
    said = [_ended_line(one) if wait else f"Started replay {one.id} ({one.total:,} deliveries)." for one in replays]
    if not wait:
        said.append("A running hub sends them; `bellwire replay list` shows how far it is.")
    say(as_json, {"replays": [values(one) for one in replays]}, "\n".join(said))
    if wait and any(one.failed or one.status != "done" for one in replays):
        raise click.exceptions.Exit(1)


@replay_group.command("list")
@click.option("--integration", "integration_id", metavar="ID", help="Only those to this integration.")
@click.option("-n", "--lines", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many.")
@project_option
@json_option
def list_(integration_id: str | None, lines: int, project_id: str | None, as_json: bool) -> None:
    """List the replays of a project, newest first, with how far each is."""
    with open_hub() as hub, reading(hub) as connection:
        chosen = choose_project(connection, project_id)
        found = list_replays(connection, chosen, now_ms=now_ms(), integration_id=integration_id, limit=lines)
    rows = [
        (
            one.id,
            minute(one.created_at_ms),
            one.integration_id,
            one.status,
            f"{one.total:,}",
            counts(one),
            in_words(one.selection),
        )
        for one in found
    ]
    headings = ("ID", "CREATED (UTC)", "INTEGRATION", "STATUS", "TOTAL", "PROGRESS", "WHAT")
    show(as_json, {"replays": [values(one) for one in found]}, table(headings, rows, none="No replays yet."))


@replay_group.command("show")
@click.argument("replay_id", metavar="REPLAY")
@project_option
@json_option
def show_(replay_id: str, project_id: str | None, as_json: bool) -> None:
    """Show one replay: what it sends, and how far it is."""
    with open_hub() as hub, reading(hub) as connection:
        found = load_replay(connection, choose_project(connection, project_id), replay_id, now_ms=now_ms())
    if found is None:
        raise click.ClickException(_unknown(replay_id))
    lines = [
        f"Replay {found.id} to {found.integration_id}: {found.status}{found.message and ', ' + found.message}",
        f"  what       {in_words(found.selection)}",
        f"  progress   {counts(found)} of {found.total:,}",
        f"  asked for  {minute(found.created_at_ms)} UTC by {found.created_by}",
    ]
    if found.ended_at_ms is not None:
        lines.append(f"  ended      {minute(found.ended_at_ms)} UTC")
    show(as_json, values(found), lines)


@replay_group.command("cancel")
@click.argument("replay_id", metavar="REPLAY")
@project_option
@json_option
def cancel(replay_id: str, project_id: str | None, as_json: bool) -> None:
    """Stop a replay. What it has waiting is taken out; what was parked before is parked again."""
    with open_hub() as hub:
        with hub.engine.begin() as connection:
            chosen = choose_project(connection, project_id)
            done = cancel_replay(connection, chosen, replay_id, now_ms=now_ms())
        found = _load(hub, chosen, [replay_id])
    if not found:
        raise click.ClickException(_unknown(replay_id))
    if not done:
        raise click.ClickException(f"replay {replay_id} is {found[0].status} already")
    say(as_json, values(found[0]), f"Cancelled replay {replay_id}: {counts(found[0])}.")


def values(one: Replay) -> dict[str, object]:
    """What scripts need of a replay."""
    left_out = {"cursor", "last", "paced_at_ms"}
    fields: dict[str, object] = msgspec.to_builtins(one)
    return {name: value for name, value in fields.items() if name not in left_out} | {"failed": one.failed}


class _Which(msgspec.Struct, frozen=True, kw_only=True):
    """The options that choose."""

    event_id: str | None
    failed: bool
    customer: str | None
    since: int | None
    until: int | None
    everything: bool
    event_types: tuple[EventType, ...]
    environment: str | None
    app_id: str | None
    time_of: TimeOf
    include_undispatched: bool


def _selection(which: _Which) -> Selection:
    narrowed = [
        which.event_id is not None,
        which.failed,
        which.customer is not None,
        which.since is not None or which.until is not None,
    ]
    if which.everything and any(narrowed):
        raise click.UsageError("--all is everything: leave out --event, --failed, --customer, --since and --until")
    if not which.everything and not any(narrowed):
        raise click.UsageError("say what to send: --event, --failed, --customer, --since/--until or --all")
    if which.failed and which.include_undispatched:
        raise click.UsageError("--include-undispatched goes with the history, not with --failed")
    return Selection(
        what=What.FAILED if which.failed else What.HISTORY,
        event_id=which.event_id,
        customer=which.customer,
        event_types=which.event_types or None,
        environment=None if which.environment is None else Environment(which.environment.upper()),
        app_id=which.app_id,
        since_ms=which.since,
        until_ms=which.until,
        time_of=which.time_of,
        include_undispatched=which.include_undispatched,
    )


def _targets(known: Sequence[Integration], ids: Sequence[str]) -> list[Integration]:
    by_id = {one.id: one for one in known}
    unknown = [one for one in ids if one not in by_id]
    if unknown:
        raise click.UsageError(f"the project has no integration {unknown[0]}: see `bellwire integration list`")
    chosen = [by_id[one] for one in dict.fromkeys(ids)] or [one for one in known if one.enabled]
    if not chosen:
        raise click.UsageError("the project has no integration that is switched on: see `bellwire integration list`")
    return chosen


def _place(hub: Hub, orders: Sequence[Order], rate: float | None) -> list[str]:
    with hub.engine.begin() as connection:
        ordered = partial(place, connection, created_by=BY, now_ms=now_ms(), rate_per_s=rate)
        return [ordered(order) for order in orders]


def _load(hub: Hub, project_id: str, ids: Sequence[str]) -> list[Replay]:
    with reading(hub) as connection:
        return load_all(connection, project_id, ids)


def load_all(connection: sa.Connection, project_id: str, ids: Sequence[str]) -> list[Replay]:
    """Those of these that there are."""
    found = [load_replay(connection, project_id, one, now_ms=now_ms()) for one in ids]
    return [one for one in found if one is not None]


def _preview_lines(order: Order) -> list[str]:
    found = order.preview
    lines = [f"{order.integration.name} ({order.integration.id}): {found.total:,} deliveries"]
    if found.first_at_ms is not None and found.last_at_ms is not None:
        lines[0] += f", {minute(found.first_at_ms)} to {minute(found.last_at_ms)} UTC"
    lines += [
        f"  {one.type:<24} {one.count:>9,}  {minute(one.first_at_ms)[:10]} to {minute(one.last_at_ms)[:10]}"
        for one in found.by_type
    ]
    for count, why in (
        (found.filtered, "not what this integration takes by its own filters"),
        (found.undispatched, "never went out (history older than the hub): --include-undispatched sends them too"),
        (found.waiting, "waiting or on their way already"),
    ):
        if count:
            lines.append(f"  left out: {count:,} {why}")
    if found.samples:
        lines.append(
            "  for example: " + "; ".join(f"{one.type} of {one.app_user_id or '-'}" for one in found.samples[:3])
        )
    return lines


def _order_values(order: Order) -> dict[str, object]:
    fields: dict[str, object] = msgspec.to_builtins(order.preview)
    kept = {name: value for name, value in fields.items() if name not in ("begin", "end")}
    return {"integration_id": order.integration.id, **kept}


def _ended_line(one: Replay) -> str:
    why = f": {one.message}" if one.message else ""
    return f"Replay {one.id} {one.status}{why}: {counts(one)}."


def _unknown(replay_id: str) -> str:
    return f"the project has no replay {replay_id}: see `bellwire replay list`"
