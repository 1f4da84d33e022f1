"""`bellwire serve`, `demo`, `simulate` and `migrate`: what runs, and what prepares it."""

from collections.abc import Callable
from pathlib import Path

import click
import msgspec
import sqlalchemy as sa

from bellwire.cli.console import json_option, open_database, say
from bellwire.db.migrate import current, finish_upgrade, pending, upgrade, upgrade_at_start
from bellwire.db.postgres import check_server
from bellwire.db.workers import Role
from bellwire.settings import load_settings


@click.command()
@click.option("--host", help="Address to listen on; otherwise BELLWIRE_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on, 0 = any free; otherwise BELLWIRE_PORT.")
@click.option(
    "--role",
    type=click.Choice(["all", "web", "worker"]),
    default="all",
    show_default=True,
    help="What this process does: `web` serves doors and dashboard, `worker` delivers and asks the stores, `all` both. "
    "Several processes need PostgreSQL.",
)
def serve(host: str | None, port: int | None, role: str) -> None:
    """Run the hub: doors, timers, delivery and dashboard. Stops in order on Ctrl-C or SIGTERM.

    With PostgreSQL any number of processes may run, on any number of hosts, in any mix of roles. A worker serves only
    health and metrics on its port.
    """
    from bellwire.serve import serve as serve_hub  # only now: other commands start without it

    settings = load_settings()
    if host is not None:
        settings = msgspec.structs.replace(settings, host=host)
    if port is not None:
        settings = msgspec.structs.replace(settings, port=port)
    raise click.exceptions.Exit(serve_hub(settings, Role(role)))


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8474, show_default=True, help="Port of the dashboard.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-data"),
    show_default=True,
    help="Folder for the demo's database and keys.",
)
@click.option("--speed", type=float, default=57_600.0, show_default=True, help="Virtual seconds in one real second.")
@click.option("--customers", type=click.IntRange(min=1), default=300, show_default=True, help="How many live in it.")
@click.option("--keep", is_flag=True, help="Go on with the data of the last demo instead of starting afresh.")
def demo(port: int, data_dir: Path, speed: float, customers: int, keep: bool) -> None:
    """Show the hub at work: fake stores, customers living through their subscriptions, a receiver, the dashboard.

    Prints the dashboard's address and a login. Nothing leaves this machine.
    """
    from bellwire.simulator.demo import run

    raise click.exceptions.Exit(run(port=port, data_dir=data_dir, speed=speed, customers=customers, keep=keep))


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8475, show_default=True, help="Port of the fake stores.")
@click.option("--hub-url", required=True, help="Address of the hub that is to be notified.")
@click.option("--store", type=click.Choice(["apple", "google"]), help="Only this store; otherwise both.")
@click.option("--scenario", help="Play this one scenario and end; otherwise a shop full of customers.")
@click.option("--speed", type=float, default=3600.0, show_default=True, help="Virtual seconds in one real second.")
@click.option("--customers", type=click.IntRange(min=1), default=100, show_default=True, help="How many shop there.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same purchases.")
@json_option
def simulate(
    port: int,
    hub_url: str,
    store: str | None,
    scenario: str | None,
    speed: float,
    customers: int,
    seed: int,
    as_json: bool,
) -> None:
    """Run fake stores and customers against a hub of yours, such as a staging installation.

    Hub and command need the same settings, BELLWIRE_ALLOW_TEST_ROOTS=true and BELLWIRE_ALLOW_PRIVATE_ADDRESSES=true
    among them: a project "Simulator" with its apps and webhooks is made in the hub's database. With
    BELLWIRE_DANGEROUS_CLOCK_FILE time is virtual and --speed counts; --scenario needs that. Ends with status 0 when
    the hub did as expected, 1 when not, 2 when it could not be tried.
    """
    from bellwire.simulator.run import simulate as run

    status = run(
        port=port,
        hub_url=hub_url,
        store=store,
        scenario=scenario,
        speed=speed,
        customers=customers,
        seed=seed,
        as_json=as_json,
    )
    raise click.exceptions.Exit(status)


@click.command()
@click.option("--pre", "how", flag_value="pre", help="Apply only what is safe while the version before this one runs.")
@click.option("--post", "how", flag_value="post", help="Apply everything; only when every process runs this version.")
@click.option("--check", "how", flag_value="check", help="Change nothing; status 1 when something waits.")
@json_option
def migrate(how: str | None, as_json: bool) -> None:
    """Make the database, or bring its schema up to date. Does nothing where it is.

    Without an option everything is applied where no process runs, and beside running ones only what is safe for them.
    """
    engine = open_database(load_settings(), create=how != "check")
    try:
        check_server(engine)
        waiting = pending(engine)
        applied: list[str] = [] if how == "check" else _APPLY[how](engine)
        at = current(engine)
    finally:
        engine.dispose()
    left = [revision for revision in waiting if revision not in applied]
    name = engine.url.render_as_string(hide_password=True)
    done = f"applied {', '.join(applied)}" if applied else "nothing applied" if left else "was up to date"
    rest = f"; {', '.join(left)} wait" + ("" if how == "check" else " for `bellwire migrate --post`") if left else ""
    values = {"database": name, "applied": applied, "waiting": left, "revision": at}
    say(as_json, values, f"{name}: {done}; at revision {at}{rest}.")
    if how == "check" and left:
        raise click.exceptions.Exit(1)


_APPLY: dict[str | None, Callable[[sa.Engine], list[str]]] = {
    None: upgrade_at_start,
    "pre": lambda engine: upgrade(engine, post=False),
    "post": finish_upgrade,
}
