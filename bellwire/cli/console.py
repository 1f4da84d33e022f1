"""What all commands share: opening the hub's database, choosing the project, saying what was done, plain errors.

Exit status: 0 done, 1 it did not work, 2 the command was not used right. With `--json` one object goes to stdout and
messages to stderr.
"""

import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
import msgspec
import sqlalchemy as sa

from bellwire.db import migrate
from bellwire.db.catalogue import UnknownEntry
from bellwire.db.engine import DatabaseBusy, open_engine, reader
from bellwire.db.integrations import IntegrationRefused
from bellwire.db.keys import KeyRefused
from bellwire.db.parked import DiscardRefused
from bellwire.db.postgres import DatabaseUnusable, in_words, is_away, lacks_rights
from bellwire.db.projects import list_projects
from bellwire.db.sealing_keys import SealingKeyError
from bellwire.db.secrets import SealBroken, Sealer
from bellwire.db.users import UserRefused
from bellwire.delivery.replay_orders import ReplayRefused
from bellwire.kit.listening import CannotListen
from bellwire.model.projects import App, Integration
from bellwire.settings import Settings, SettingsError, load_settings, make_data_dir

F = TypeVar("F", bound=Callable[..., object])

EXPECTED = (
    CannotListen,
    DatabaseBusy,
    DatabaseUnusable,
    DiscardRefused,
    IntegrationRefused,
    KeyRefused,
    ReplayRefused,
    SealBroken,
    SealingKeyError,
    SettingsError,
    UnknownEntry,
    UserRefused,
    migrate.MigrationRefused,
)
"""Trouble that its message explains: one line instead of a traceback."""


class Commands(click.Group):
    """A group whose commands end expected trouble with one line that says what to do."""

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except EXPECTED as error:
            raise click.ClickException(str(error)) from error
        except sa.exc.DBAPIError as error:
            raise _explained(error) from error
        except sa.exc.ArgumentError as error:
            raise click.ClickException(f"BELLWIRE_DATABASE_URL is not usable: {error}") from error
        except UnicodeError as error:
            raise click.ClickException("an argument or input is not valid UTF-8 text") from error
        except OSError as error:
            raise click.ClickException(f"{error.strerror}: {error.filename}") from error


def _explained(error: sa.exc.DBAPIError) -> Exception:
    """A database that is away or closed to us in one line; what only a fault of ours explains as it is."""
    if isinstance(error.orig, sqlite3.OperationalError):
        reason = str(error.orig).strip().splitlines()[0]
        return click.ClickException(
            f"the database cannot be used: {reason} (see BELLWIRE_DATABASE_URL, BELLWIRE_DATA_DIR)"
        )
    if is_away(error) or lacks_rights(error):
        return click.ClickException(in_words(error, sa.make_url(load_settings().database_url)))
    return error


class Hub(msgspec.Struct, frozen=True):
    """An opened installation, for the length of one command."""

    settings: Settings
    engine: sa.Engine
    sealer: Sealer


@contextmanager
def open_hub(*, create: bool = False) -> Iterator[Hub]:
    """Open the installation that the environment names; `create` makes the database where there is none."""
    settings = load_settings()
    engine = open_database(settings, create=create)
    try:
        _check_schema(engine, create=create)
        yield Hub(
            settings, engine, Sealer.open_or_create(settings.data_dir, settings.secret_key, settings.secret_keys_old)
        )
    finally:
        engine.dispose()


def open_database(settings: Settings, *, create: bool) -> sa.Engine:
    """The engine of these settings; for SQLite `create` makes the folder, without it the file must be there."""
    url = sa.make_url(settings.resolved_database_url())
    if url.get_backend_name() == "sqlite" and url.database:
        file = Path(url.database)
        if not create and not file.exists():
            raise click.ClickException(
                f"there is no database {file}: run `bellwire migrate` to make it, or set BELLWIRE_DATA_DIR"
            )
        make_data_dir(file.parent)
    return open_engine(settings.resolved_database_url())


def _check_schema(engine: sa.Engine, *, create: bool) -> None:
    waiting = migrate.needed(engine)
    if not waiting:
        return
    name = engine.url.render_as_string(hide_password=True)
    if not create or migrate.current(engine) is not None:
        raise click.ClickException(f"{name} needs {len(waiting)} migration(s): run `bellwire migrate`")
    migrate.upgrade(engine)
    click.echo(f"Made the database {name}.", err=True)


def reading(hub: Hub) -> sa.Connection:
    """A connection for reading; use it in a `with`."""
    return reader(hub.engine).connect()


def choose_project(connection: sa.Connection, project_id: str | None) -> str:
    """The project that `--project` names, or the only one there is."""
    known = [project.id for project in list_projects(connection)]
    if project_id is None and len(known) == 1:
        return known[0]
    if not known:
        raise click.UsageError("there is no project yet: run `bellwire project create NAME`")
    if project_id is None:
        raise click.UsageError(f"there are {len(known)} projects: say which with --project ({', '.join(known)})")
    if project_id not in known:
        raise click.UsageError(f"there is no project {project_id}; there are: {', '.join(known)}")
    return project_id


def project_option(command: F) -> F:
    """`--project ID`, to go through `choose_project`."""
    return click.option("--project", "project_id", metavar="ID", help="Project; not needed where there is only one.")(
        command
    )


def json_option(command: F) -> F:
    """`--json`, to go to `say` or `show`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object (messages go to stderr).")(
        command
    )


def say(as_json: bool, values: Mapping[str, object], message: str) -> None:
    """Tell what a command did: the message, with `--json` also the values."""
    click.echo(message, err=as_json)
    if as_json:
        click.echo(msgspec.json.encode(dict(values)))


def show(as_json: bool, values: Mapping[str, object], lines: Sequence[str]) -> None:
    """Print what a command found: the lines for people, or with `--json` the values."""
    if as_json:
        click.echo(msgspec.json.encode(dict(values)))
    else:
        click.echo("\n".join(lines))


def complain(found: Sequence[App | Integration]) -> None:
    """Say on stderr which of these cannot work because their secrets do not open, and why."""
    for one in found:
        if one.unreadable:
            click.echo(f"{one.id}: {one.unreadable}", err=True)


def table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, none: str) -> list[str]:
    """Rows in aligned columns under their headings; `none` when there are no rows."""
    if not rows:
        return [none]
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [headings, *rows]
    ]


def confirmed(question: str, *, yes: bool) -> None:
    """Go on only when somebody says yes; where nobody can be asked, `--yes` must have been given."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Say --yes where nobody can be asked.")
    click.confirm(question, abort=True, err=True)


def now_ms() -> int:
    """The real time: rows that operators make carry it."""
    return time.time_ns() // 1_000_000
