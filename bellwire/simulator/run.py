"""`bellwire simulate`: fake stores and customers against an installation that runs already, such as a staging hub.

Must see the installation's database (same `BELLWIRE_` settings): it makes the project "Simulator" there, with apps that
trust the fakes and webhooks to the receivers here. With the hub's virtual clock (`BELLWIRE_DANGEROUS_CLOCK_FILE`) it
sets the pace; without one everything happens in real time. A scenario gets a project of its own.
"""

import asyncio
import contextlib
import json
import signal
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import click
import sqlalchemy as sa
import uvloop

from bellwire.db.apps import list_apps, update_app
from bellwire.db.engine import open_engine
from bellwire.db.migrate import pending
from bellwire.db.secrets import Sealer
from bellwire.kit.clock import SharedClock
from bellwire.settings import Settings, load_settings
from bellwire.simulator.people import Platform
from bellwire.simulator.play import UnknownScenario, find, play
from bellwire.simulator.setting_up import PROJECT_NAME, Connection, connect
from bellwire.simulator.ticker import Ticker
from bellwire.simulator.world import StoreName, World

PLATFORMS: dict[StoreName, Platform] = {"apple": Platform.IOS, "google": Platform.ANDROID}


class NotReady(Exception):
    """The installation is not one that can be simulated against; the message says what to do."""


def simulate(
    *,
    port: int,
    hub_url: str,
    store: str | None,
    scenario: str | None,
    speed: float,
    customers: int,
    seed: int,
    as_json: bool,
) -> int:
    """Play one scenario and compare, or keep a shop open until Ctrl-C. 0 = as expected, 1 = not, 2 = not possible."""
    try:
        settings = load_settings()
        _check_allowances(settings)
        with _clock(settings, speed if scenario is None else 0) as clock:
            world = World(clock, base_url=f"http://127.0.0.1:{port}", seed=seed)
            if scenario is None:
                work = _keep_shop(world, settings, hub_url, port, _named(store), customers, as_json=as_json)
            else:
                work = _play(world, clock, settings, hub_url, port, _named(store), scenario, as_json=as_json)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(work)
    except (NotReady, UnknownScenario, OSError) as error:
        click.echo(f"simulate: {error}", err=True)
        return 2


def _named(store: str | None) -> StoreName | None:
    for name in PLATFORMS:
        if name == store:
            return name
    if store is not None:
        raise NotReady(f"no fake of {store!r}; there are {', '.join(PLATFORMS)}")
    return None


@contextlib.contextmanager
def _clock(settings: Settings, speed: float) -> Iterator[SharedClock]:
    """The hub's virtual clock, or one that runs with the machine's where the hub has none."""
    if settings.dangerous_clock_file:
        clock = SharedClock(Path(settings.dangerous_clock_file))
        clock.set(rate=speed)
        try:
            yield clock
        finally:
            clock.close()
        return
    if speed == 0:
        raise NotReady(
            "a scenario moves time: start the hub with BELLWIRE_DANGEROUS_CLOCK_FILE, and this with the same"
        )
    if speed != 1:
        click.echo(
            "The hub has no virtual clock (BELLWIRE_DANGEROUS_CLOCK_FILE): everything runs in real time.", err=True
        )
    with tempfile.TemporaryDirectory() as folder:
        clock = SharedClock(Path(folder) / "clock")
        yield clock
        clock.close()


def _check_allowances(settings: Settings) -> None:
    """Raises NotReady when the hub would refuse the fakes."""
    if not (settings.allow_test_roots and settings.allow_private_addresses):
        raise NotReady(
            "the hub must run with BELLWIRE_ALLOW_TEST_ROOTS=true and BELLWIRE_ALLOW_PRIVATE_ADDRESSES=true, and this "
            "command with the same settings"
        )


async def _reach(hub_url: str) -> None:
    """Raises NotReady when no hub answers: without one, a simulation would wait for its events in vain."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.get(f"{hub_url.rstrip('/')}/readyz") as answer,
        ):
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise NotReady(f"no hub answers at {hub_url}: start `bellwire serve` with the same settings first") from error
    if status != 200:
        raise NotReady(f"what answers at {hub_url} is no hub that is ready: its /readyz says {status}")


def _connect(
    world: World,
    settings: Settings,
    hub_url: str,
    store: StoreName | None,
    *,
    project_name: str = PROJECT_NAME,
    tracked: bool = True,
) -> Connection:
    """See `setting_up.connect`. Raises NotReady when the database is not there."""
    engine = open_engine(settings.resolved_database_url())
    try:
        if not _up_to_date(engine):
            raise NotReady(
                f"{engine.url.render_as_string(hide_password=True)} is not the hub's database or not up to date: use "
                "the hub's BELLWIRE_DATA_DIR or BELLWIRE_DATABASE_URL"
            )
        sealer = Sealer.open_or_create(settings.data_dir, settings.secret_key, settings.secret_keys_old)
        platforms = tuple(Platform) if store is None else (PLATFORMS[store],)
        now_ms = time.time_ns() // 1_000_000
        with engine.begin() as connection:
            made = connect(
                connection,
                sealer,
                world,
                hub_url=hub_url.rstrip("/"),
                now_ms=now_ms,
                platforms=platforms,
                project_name=project_name,
            )
            for app in list_apps(connection, sealer, made.project_id):
                update_app(connection, sealer, made.project_id, app.id, track_new_purchases=tracked)
        return made
    finally:
        engine.dispose()


def _up_to_date(engine: sa.Engine) -> bool:
    try:
        return not pending(engine)
    except sa.exc.OperationalError:  # there is none
        return False


async def _play(
    world: World,
    clock: SharedClock,
    settings: Settings,
    hub_url: str,
    port: int,
    store: StoreName | None,
    name: str,
    *,
    as_json: bool,
) -> int:
    slug, story = find(store, name)
    await _reach(hub_url)
    # A project of its own: what earlier runs left behind goes on ageing, and would talk into this story.
    own = f"Scenario {name}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    await asyncio.to_thread(_connect, world, settings, hub_url, slug, project_name=own, tracked=story.tracked)
    async with world.served(port=port, alive=False):
        heard = await play(world, clock, slug, story)
    fits = heard == list(story.expected)
    if as_json:
        result = {"store": slug, "scenario": name, "fits": fits, "expected": list(story.expected), "received": heard}
        click.echo(json.dumps(result))
    else:
        click.echo(f"{slug} {name}: {story.description}")
        for event in heard:
            click.echo(f"  {event}")
        if not fits:
            click.echo("expected:\n" + "\n".join(f"  {event}" for event in story.expected))
    return 0 if fits else 1


async def _keep_shop(
    world: World,
    settings: Settings,
    hub_url: str,
    port: int,
    store: StoreName | None,
    customers: int,
    *,
    as_json: bool,
) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await _reach(hub_url)
    made = await asyncio.to_thread(_connect, world, settings, hub_url, store)
    async with world.served(port=port):
        world.open_shop(hub_url.rstrip("/"), made.public_keys, customers=customers)
        click.echo(f"Simulating for project {made.project_id} of {hub_url}. Ctrl-C ends it.", err=True)
        with Ticker(world, stderr=True) as ticker:
            while not stopping.is_set():
                ticker.show()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), timeout=ticker.interval_s)
    if as_json:
        counts = {name: receiver.counts() for name, receiver in world.sink.receivers.items()}
        click.echo(json.dumps({"project_id": made.project_id, "actions": world.shop_actions(), "receivers": counts}))
    return 0
