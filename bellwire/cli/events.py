"""`bellwire events`: watching events go by."""

import time
from datetime import UTC, datetime

import click
import msgspec

from bellwire.cli.console import choose_project, open_hub, project_option, reading
from bellwire.cli.fields import EventTypeName
from bellwire.db.tail import TailEvent, events_after, latest_events, start_tail
from bellwire.model.enums import EventType

_POLL_S = 0.5
_COLUMNS = ("type", "app_user_id", "product_id", "price_in_purchased_currency", "currency", "store", "environment")


@click.group("events")
def events_group() -> None:
    """Events: what the hub made out of purchases."""


@events_group.command("tail")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=10, show_default=True, help="Begin with this many.")
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="TYPE",
    type=EventTypeName(),
    help="Only this type, such as RENEWAL; more than once for several.",
)
@click.option("--follow/--no-follow", default=True, show_default=True, help="Go on with new events until Ctrl-C.")
@project_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with the event as webhooks get it.")
def tail(lines: int, types: tuple[EventType, ...], follow: bool, project_id: str | None, as_json: bool) -> None:
    """Print the last events of a project, then new ones as they are committed.

    Purchases make events; test events of `integration test` show in the dashboard's live feed alone.
    """
    write = _write_json if as_json else _write_line
    with open_hub() as hub:
        with reading(hub) as connection:
            project_id = choose_project(connection, project_id)
            cursor = start_tail(connection, project_id)
            history = latest_events(connection, project_id, types=types, limit=lines)
        if not history and lines:
            click.echo("No events yet." + (" New ones show here; Ctrl-C ends." if follow else ""), err=True)
        for one in history:
            write(one)
        try:
            while follow:
                with reading(hub) as connection:
                    news, cursor = events_after(connection, project_id, cursor, types=types)
                for one in news:
                    write(one)
                if not news:
                    time.sleep(_POLL_S)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(0) from None


def _write_json(one: TailEvent) -> None:
    values = {
        "seq": one.seq,
        "committed_at_ms": one.committed_at_ms,
        "dispatched": one.dispatched,
        "historical": one.historical,
        "event": msgspec.Raw(one.payload),
    }
    click.echo(msgspec.json.encode(values))


def _write_line(one: TailEvent) -> None:
    event = msgspec.json.decode(one.payload, type=dict[str, object])
    at = datetime.fromtimestamp(int(str(event["event_timestamp_ms"])) / 1000, UTC)
    cells = [str(event[name]) for name in _COLUMNS if event.get(name) is not None]
    note = "" if one.dispatched else "  (not dispatched)"
    click.echo(f"{at:%Y-%m-%d %H:%M:%S}  {'  '.join(cells)}{note}")
