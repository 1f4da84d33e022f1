"""`bellwire parked`: deliveries that were given up, to be retried or discarded."""

from collections.abc import Container, Sequence

import click
import msgspec
import sqlalchemy as sa

from bellwire.cli.console import (
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
from bellwire.cli.replays import ASKED_FROM, BY, load_all, values
from bellwire.cli.times import minute
from bellwire.db.deliveries import AttemptLine, load_attempt_lines, load_delivery
from bellwire.db.integrations import list_integrations
from bellwire.db.parked import (
    AGED_OUT,
    MAX_AT_ONCE,
    ParkedFilters,
    count_parked,
    discard_parked,
    lanes_of,
    list_parked,
    load_parked,
)
from bellwire.db.secrets import Sealer
from bellwire.delivery.replay_orders import draw_up, place
from bellwire.model.enums import EventType
from bellwire.model.projects import Integration
from bellwire.model.replays import Selection, What


@click.group("parked")
def parked_group() -> None:
    """Parked deliveries: given up after their last attempt, until somebody retries or discards them."""


_integration = click.option("--integration", "integration_id", metavar="ID", help="Only those to this integration.")
_type = click.option("--type", "event_type", metavar="TYPE", type=EventTypeName(), help="Only this type of event.")
_customer = click.option("--customer", metavar="APP_USER_ID", help="Only those of this customer.")


@parked_group.command("list")
@_integration
@_type
@_customer
@click.option("-n", "--lines", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@project_option
@json_option
def list_(
    integration_id: str | None,
    event_type: EventType | None,
    customer: str | None,
    lines: int,
    project_id: str | None,
    as_json: bool,
) -> None:
    """List parked deliveries, newest first, with what their last attempt brought."""
    filters = ParkedFilters(integration_id=integration_id, event_type=event_type, customer=customer)
    with open_hub() as hub, reading(hub) as connection:
        chosen = choose_project(connection, project_id)
        found = list_parked(connection, chosen, filters, limit=lines)
        counts = count_parked(connection, chosen)
    rows = [
        (
            str(one.id),
            "-" if one.last_attempt_at_ms is None else minute(one.last_attempt_at_ms),
            one.integration_id,
            one.event_type,
            one.app_user_id or "-",
            (one.reason or AGED_OUT)[:80],
        )
        for one in found
    ]
    headings = ("ID", "LAST TRIED (UTC)", "INTEGRATION", "EVENT", "CUSTOMER", "WHY")
    shown = table(headings, rows, none="Nothing is parked." if not counts else "No parked delivery is like that.")
    total = sum(counts.values())
    if len(found) < total and found:
        shown.append(f"{len(found):,} of {total:,} parked deliveries.")
    show(as_json, {"parked_deliveries": [msgspec.to_builtins(one) for one in found], "total": total}, shown)


@parked_group.command("show")
@click.argument("delivery_id", metavar="DELIVERY", type=int)
@project_option
@json_option
def show_(delivery_id: int, project_id: str | None, as_json: bool) -> None:
    """Show one parked delivery with all its attempts."""
    with open_hub() as hub, reading(hub) as connection:
        chosen = choose_project(connection, project_id)
        one = load_parked(connection, chosen, delivery_id)
        if one is None:
            raise click.ClickException(_unknown(delivery_id))
        row = load_delivery(connection, chosen, one.integration_id, one.event_id)
        attempts = list[AttemptLine]() if row is None else load_attempt_lines(connection, row)
    lines = [
        f"Delivery {one.id}: {one.event_type} {one.event_id} of {one.app_user_id or '-'} to {one.integration_id}",
        f"Why: {one.reason or AGED_OUT}",
    ]
    rows = [
        (
            str(attempt.attempt),
            minute(attempt.started_at_ms),
            attempt.trigger,
            attempt.outcome,
            str(attempt.status_code or attempt.error or "-"),
            attempt.reason,
        )
        for attempt in attempts
    ]
    lines += table(("NO.", "STARTED (UTC)", "BY", "OUTCOME", "HTTP", "WHAT IT MEANS"), rows, none="")
    show(as_json, msgspec.to_builtins(one) | {"log": [msgspec.to_builtins(attempt) for attempt in attempts]}, lines)


@parked_group.command("retry")
@click.argument("delivery_ids", metavar="[DELIVERY]...", type=int, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that are parked, or all that the filters leave.")
@_integration
@_type
@_customer
@click.option("--yes", is_flag=True, help="Do not ask.")
@project_option
@json_option
def retry(
    delivery_ids: tuple[int, ...],
    everything: bool,
    integration_id: str | None,
    event_type: EventType | None,
    customer: str | None,
    yes: bool,
    project_id: str | None,
    as_json: bool,
) -> None:
    """Try parked deliveries again: those named by id, or --all. Each begins a new retry schedule.

    It is done as a replay, see `bellwire replay`.
    """
    _check_choice(delivery_ids, everything, filtered=any((integration_id, event_type, customer)))
    with open_hub() as hub:
        with reading(hub) as connection:
            chosen = choose_project(connection, project_id)
            selection = Selection(
                what=What.PARKED, event_types=None if event_type is None else (event_type,), customer=customer
            )
            lanes = (
                dict.fromkeys(count_parked(connection, chosen))
                if everything
                else _named(connection, chosen, delivery_ids)
            )
            orders = [
                draw_up(connection, integration, _narrowed(selection, lanes[integration.id]))
                for integration in _switched_on(connection, hub.sealer, chosen, lanes, integration_id)
            ]
        orders = [order for order in orders if order.preview.total]
        total = sum(order.preview.total for order in orders)
        if not total:
            raise click.ClickException("no parked delivery is like that: see `bellwire parked list`")
        confirmed(f"Retry {total:,} deliveries?", yes=yes or total < ASKED_FROM)
        with hub.engine.begin() as connection:
            ids = [place(connection, order, created_by=BY, now_ms=now_ms()) for order in orders]
        with reading(hub) as connection:
            replays = load_all(connection, chosen, ids)
    message = f"Retrying {total:,} deliveries as replay {', '.join(ids)}. A running hub sends them."
    say(as_json, {"replays": [values(one) for one in replays]}, message)


@parked_group.command("discard")
@click.argument("delivery_ids", metavar="[DELIVERY]...", type=int, nargs=-1)
@click.option("--reason", required=True, help="Why; it is kept in the log of each.")
@click.option("--all", "everything", is_flag=True, help="All that are parked, or all that the filters leave.")
@_integration
@_type
@_customer
@click.option("--yes", is_flag=True, help="Do not ask.")
@project_option
@json_option
def discard(
    delivery_ids: tuple[int, ...],
    reason: str,
    everything: bool,
    integration_id: str | None,
    event_type: EventType | None,
    customer: str | None,
    yes: bool,
    project_id: str | None,
    as_json: bool,
) -> None:
    """Give parked deliveries up for good: those named by id, or --all. Their events stay, and the log says why."""
    _check_choice(delivery_ids, everything, filtered=any((integration_id, event_type, customer)))
    filters = ParkedFilters(integration_id=integration_id, event_type=event_type, customer=customer)
    gone = 0
    with open_hub() as hub:
        with reading(hub) as connection:
            chosen = choose_project(connection, project_id)
            if not everything:
                _named(connection, chosen, delivery_ids)
        few = not everything and len(delivery_ids) < ASKED_FROM
        confirmed("Discard all of them?" if everything else f"Discard {len(delivery_ids)}?", yes=yes or few)
        while True:
            with hub.engine.begin() as connection:
                ids = (
                    [one.id for one in list_parked(connection, chosen, filters, limit=MAX_AT_ONCE)]
                    if everything
                    else list(delivery_ids)
                )
                done = discard_parked(connection, chosen, ids, reason=reason, by=BY, now_ms=now_ms())
            gone += len(done)
            if not everything or not done:
                break
    say(as_json, {"discarded": gone}, f"Discarded {gone:,} deliveries.")


def _check_choice(ids: Sequence[int], everything: bool, *, filtered: bool) -> None:
    if bool(ids) == everything:
        raise click.UsageError("name deliveries by their ids (see `bellwire parked list`), or say --all")
    if ids and filtered:
        raise click.UsageError("filters go with --all, not with ids")
    if len(ids) > MAX_AT_ONCE:
        raise click.UsageError(f"name at most {MAX_AT_ONCE} deliveries at once, or use --all with filters")


def _named(connection: sa.Connection, project_id: str, ids: Sequence[int]) -> dict[str, list[int] | None]:
    lanes = lanes_of(connection, project_id, ids)
    known = {one for some in lanes.values() for one in some}
    missing = [one for one in ids if one not in known]
    if missing:
        raise click.ClickException(_unknown(missing[0]))
    return dict(lanes)


def _switched_on(
    connection: sa.Connection, sealer: Sealer, project_id: str, lanes: Container[str], only: str | None
) -> list[Integration]:
    known = list_integrations(connection, sealer, project_id)
    return [one for one in known if one.id in lanes and only in (None, one.id)]


def _narrowed(selection: Selection, ids: Sequence[int] | None) -> Selection:
    return selection if ids is None else msgspec.structs.replace(selection, delivery_ids=tuple(ids))


def _unknown(delivery_id: int) -> str:
    return f"the project has no parked delivery {delivery_id}: see `bellwire parked list`"
