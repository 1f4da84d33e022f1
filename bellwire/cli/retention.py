"""`bellwire retention`: how long what is kept, what would go now, and letting it go."""

import asyncio
from datetime import UTC, datetime

import click
from rich.console import Console

from bellwire.cli.console import Hub, json_option, open_hub, reading, say
from bellwire.db.aging import COUNTED, DAY_MS, Policy, Share, bodies_since_ms, survey
from bellwire.db.retention import Retention, Round
from bellwire.db.writer import Writer
from bellwire.kit.clock import SystemClock


@click.group("retention")
def retention_group() -> None:
    """How long the attempt log and what came in are kept. The hub itself sees to it, four times an hour."""


@retention_group.command()
@json_option
def show(as_json: bool) -> None:
    """Show what is kept how long, what of it would go now, and how far back state can be rebuilt."""
    with open_hub() as hub, reading(hub) as connection:
        shares = survey(connection, policy_of(hub), SystemClock().now_ms())
        since_ms = bodies_since_ms(connection)
    values = {"tables": [_values(share) for share in shares], "bodies_since_ms": since_ms}
    say(as_json, values, "\n".join([*map(_line, shares), "", _rebuilding(since_ms)]))


@retention_group.command()
@json_option
def run(as_json: bool) -> None:
    """Let go now what is old, as the hub would; it may run beside it."""
    with open_hub() as hub:
        done = asyncio.run(_run(hub, quiet=as_json))
    if done is None:
        raise click.ClickException("another process is at it already")
    values = {"rows": done.rows, "dropped": done.dropped, "put_off": done.put_off}
    say(as_json, values, _done(done))


def policy_of(hub: Hub) -> Policy:
    """As the environment says."""
    return Policy.of_days(attempts=hub.settings.attempts_kept_days, bodies=hub.settings.inbox_bodies_kept_days)


async def _run(hub: Hub, *, quiet: bool) -> Round | None:
    writer = Writer(hub.engine)
    gone = 0
    console = Console(stderr=True, quiet=quiet)
    try:
        with console.status("Looking for what is old ...") as status:

            def tell(table: str, rows: int) -> None:
                nonlocal gone
                gone += rows
                status.update(f"{gone:,} rows went, now of {table} ...")

            return await Retention(hub.engine, writer, SystemClock(), policy_of(hub)).round(tell)
    finally:
        writer.close()


def _values(share: Share) -> dict[str, object]:
    return {
        "table": share.table,
        "kept_days": None if share.kept_ms is None else share.kept_ms // DAY_MS,
        "oldest_ms": share.oldest_ms,
        "bytes": share.bytes,
        "old_rows": share.old_rows,
        "old_partitions": share.old_partitions,
    }


def _line(share: Share) -> str:
    if share.table == "sessions":
        kept = "until they end"
    else:
        kept = "for ever" if share.kept_ms is None else f"{share.kept_ms // DAY_MS} days"
    oldest = "" if share.oldest_ms is None else f", oldest of {_day(share.oldest_ms)}"
    size = "" if share.bytes is None else f", {share.bytes / 1e6:,.1f} MB"
    rows = f"{share.old_rows:,}{' or more' if share.old_rows >= COUNTED else ''}"
    goes = f"{rows} rows would go now" if share.old_rows or share.old_partitions else "nothing would go now"
    if share.old_partitions:
        goes += f", with the partitions {', '.join(share.old_partitions)}"
    return f"{share.table:14} kept {kept}{oldest}{size}: {goes}"


def _rebuilding(since_ms: int | None) -> str:
    if since_ms is None:
        return "The inbox has the bytes of all that came in: state can be rebuilt from its beginning."
    return (
        f"Bytes that came in before {_day(since_ms)} have aged out: state from before cannot be rebuilt from the inbox, "
        "only kept (back the database up) or asked of the stores again."
    )


def _done(done: Round) -> str:
    parts = [f"{rows:,} rows of {table}" for table, rows in done.rows.items()]
    parts += [f"the partition {name}" for name in done.dropped]
    text = f"Gone: {', '.join(parts)}." if parts else "Nothing is old enough to go."
    if done.put_off:
        text += f" In use all the time, so try again later: {', '.join(done.put_off)}."
    return text


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d}"
