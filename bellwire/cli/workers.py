"""`bellwire workers`: which processes run on the database."""

import click
import msgspec

from bellwire.cli.console import json_option, now_ms, open_hub, reading, show, table
from bellwire.db.workers import DEAD_AFTER_MS, heartbeat_ms, list_workers


@click.command("workers")
@json_option
def workers(as_json: bool) -> None:
    """List the processes that run on this database, oldest first, and when each was last heard of."""
    with open_hub() as hub, reading(hub) as connection:
        present_ms = heartbeat_ms(connection, now_ms())
        found = list_workers(connection)
    rows = [
        (
            one.id,
            one.role.value,
            one.host,
            str(one.pid),
            one.version,
            _ago(present_ms - one.started_at_ms),
            _ago(present_ms - one.seen_at_ms) + (" (silent)" if one.seen_at_ms <= present_ms - DEAD_AFTER_MS else ""),
        )
        for one in found
    ]
    headings = ("ID", "ROLE", "HOST", "PID", "VERSION", "RUNS FOR", "HEARD")
    show(as_json, {"workers": msgspec.to_builtins(found)}, table(headings, rows, none="No process runs."))


def _ago(ms: int) -> str:
    seconds = max(0, ms) // 1000
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
