"""`bellwire move-database`: from SQLite to PostgreSQL."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bellwire.cli.console import json_option, now_ms, open_database, show, table
from bellwire.db.engine import claim_file, open_engine
from bellwire.db.move import Compared, MoveRefused, Tell, move
from bellwire.db.postgres import place
from bellwire.settings import load_settings

_LINE_EVERY_S = 10.0


@click.command("move-database")
@click.option(
    "--to", "url", required=True, metavar="URL", help="postgresql://user:password@host/name; - reads it from stdin."
)
@click.option("--overwrite", is_flag=True, help="Throw away what an earlier move or hub has left in the target.")
@json_option
def move_database(url: str, overwrite: bool, as_json: bool) -> None:
    """Copy the SQLite installation into an empty PostgreSQL database, and compare both.

    The hub must be stopped. Nothing is changed in the SQLite file, and the sealing key stays where it is. Ends with
    status 1 when a comparison finds a difference; no hub starts on the target then.
    """
    settings = load_settings()
    source = open_database(settings, create=False)
    if source.dialect.name != "sqlite":
        raise click.ClickException("the installation is not on SQLite: unset BELLWIRE_DATABASE_URL for this command")
    if url == "-":
        url = sys.stdin.readline().strip()
    if not url.startswith(("postgresql", "postgres")):
        raise click.UsageError("--to must begin with postgresql://")
    target = open_engine(url, application="bellwire move-database")
    claim = claim_file(source)
    try:
        with _progress() as tell:
            compared = move(source, target, overwrite=overwrite, now_ms=now_ms(), tell=tell)
    except MoveRefused as error:
        raise click.ClickException(str(error)) from error
    finally:
        if claim is not None:
            claim.release()
        source.dispose()
        target.dispose()
    wrong = [one for one in compared if one.differences]
    show(as_json, {"tables": msgspec.to_builtins(compared), "same": not wrong}, _report(compared))
    if wrong:
        click.echo(
            f"Error: {len(wrong)} table(s) differ. {place(target.url)} is left as it is for you to look at; no hub starts on "
            "it. Try again with --overwrite.",
            err=True,
        )
        raise click.exceptions.Exit(1)
    click.echo(
        f"Everything is in {place(target.url)}. Set BELLWIRE_DATABASE_URL to it, keep the sealing key "
        f"({settings.data_dir / 'sealing.key'} or BELLWIRE_SECRET_KEY), start the hub there and never again on "
        f"{Path(source.url.database or '')}.",
        err=True,
    )


def _report(compared: list[Compared]) -> list[str]:
    rows = [
        (
            one.table,
            f"{one.rows:,}",
            f"{one.moved:,}",
            "every value" if one.whole else "counts and sums",
            "; ".join(one.differences) or "same",
        )
        for one in compared
    ]
    return table(("TABLE", "SQLITE", "POSTGRESQL", "COMPARED", "RESULT"), rows, none="Nothing to move.")


@contextmanager
def _progress() -> Iterator[Tell]:
    """A bar on a terminal, else a line for each table and now and then in a long one; both on stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as bars:
        known: dict[str, TaskID] = {}

        def tell(name: str, done: int, total: int) -> None:
            if not total:
                return
            if name not in known:
                known[name] = bars.add_task(name, total=total)
            bars.update(known[name], completed=done)

        yield tell


def _lines() -> Tell:
    spoke_s = 0.0

    def tell(name: str, done: int, total: int) -> None:
        nonlocal spoke_s
        if total and (done == total or time.monotonic() - spoke_s >= _LINE_EVERY_S):
            spoke_s = time.monotonic()
            click.echo(f"{name}: {done:,} of {total:,}", err=True)

    return tell
