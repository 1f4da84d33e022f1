"""Watching replays until they have ended: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Sequence

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bellwire.cli.console import Hub, now_ms, reading
from bellwire.db.replays import Replay, load_replay

_LOOK_EVERY_S = 0.2
_SAY_EVERY_S = 5.0


def counts(one: Replay) -> str:
    """How far it is, in words."""
    parts = [
        (one.delivered, "delivered"),
        (one.skipped, "skipped"),
        (one.failed, "failed"),
        (one.retrying, "to be tried again"),
        (one.waiting, "waiting"),
        (one.passed_over, "waiting anyhow"),
    ]
    return ", ".join(f"{count:,} {word}" for count, word in parts if count) or "0 delivered"


def follow(hub: Hub, project_id: str, ids: Sequence[str], *, bar: bool) -> list[Replay]:
    """Look until all have ended. Ctrl-C ends the watching, not the replays."""
    try:
        if bar and sys.stderr.isatty():
            return _with_bar(hub, project_id, ids)
        return _with_lines(hub, project_id, ids)
    except KeyboardInterrupt:
        click.echo(f"Not watching any more; it goes on. `bellwire replay cancel {ids[0]}` stops it.", err=True)
        raise click.exceptions.Exit(130) from None


def _look(hub: Hub, project_id: str, ids: Sequence[str]) -> list[Replay]:
    with reading(hub) as connection:
        found = [load_replay(connection, project_id, one, now_ms=now_ms()) for one in ids]
    return [one for one in found if one is not None]


def _settled(one: Replay) -> int:
    return one.delivered + one.skipped + one.failed + one.passed_over


def _with_bar(hub: Hub, project_id: str, ids: Sequence[str]) -> list[Replay]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks = {one: progress.add_task(one, total=None, counts="") for one in ids}
        while True:
            found = _look(hub, project_id, ids)
            for one in found:
                progress.update(tasks[one.id], total=one.total, completed=_settled(one), counts=counts(one))
            if all(one.ended_at_ms is not None for one in found):
                return found
            time.sleep(_LOOK_EVERY_S)


def _with_lines(hub: Hub, project_id: str, ids: Sequence[str]) -> list[Replay]:
    said: dict[str, str] = {}
    next_s = time.monotonic()
    while True:
        found = _look(hub, project_id, ids)
        ended = all(one.ended_at_ms is not None for one in found)
        if ended or time.monotonic() >= next_s:
            next_s = time.monotonic() + _SAY_EVERY_S
            for one in found:
                line = f"{one.id}: {counts(one)} of {one.total:,}"
                if said.get(one.id) != line:
                    said[one.id] = line
                    click.echo(line, err=True)
        if ended:
            return found
        time.sleep(_LOOK_EVERY_S)
