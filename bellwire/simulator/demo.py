"""`bellwire demo`: a hub, fake stores, customers and receivers, from nothing, on this machine alone."""

import asyncio
import contextlib
import logging
import secrets
import shutil
import signal
import time
from asyncio.subprocess import Process
from pathlib import Path

import click
import structlog
import uvloop

from bellwire.db.engine import open_engine
from bellwire.db.migrate import upgrade
from bellwire.db.secrets import Sealer
from bellwire.db.users import change_password, create_user, hash_password, list_users
from bellwire.kit.clock import SharedClock
from bellwire.simulator.hub_process import HubFailed, choose_port, running_hub
from bellwire.simulator.setting_up import Connection, connect
from bellwire.simulator.ticker import Ticker
from bellwire.simulator.world import World

EMAIL = "demo@example.com"
SIMULATOR_PORT = 8475
BACK_MS = 365 * 86_400_000
"""The virtual clock starts a year ago, so that a long demo does not run far into the future."""
FLAKINESS = 0.06


def run(*, port: int, data_dir: Path, speed: float, customers: int, keep: bool) -> int:
    """Run until Ctrl-C. `speed` is virtual seconds in one real second; without `keep` the data folder starts empty."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(port=port, data_dir=data_dir, speed=speed, customers=customers, keep=keep))
    except KeyboardInterrupt:
        return 0
    except HubFailed as error:
        click.echo(f"demo: {error}", err=True)
        return 1
    return 0


async def _run(*, port: int, data_dir: Path, speed: float, customers: int, keep: bool) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    click.echo("Bellwire demo: making database and keys ...")
    _prepare(data_dir, keep=keep)
    clock = _clock(data_dir)
    hub_port, world_port = choose_port(port), choose_port(SIMULATOR_PORT)
    hub_url, world_url = f"http://127.0.0.1:{hub_port}", f"http://127.0.0.1:{world_port}"
    world = World(clock, base_url=world_url, flakiness=FLAKINESS, seed=secrets.randbelow(10**6))
    connection, password = await asyncio.to_thread(_set_up, data_dir, world, hub_url)
    click.echo("Bellwire demo: starting the hub and the fake stores ...")
    log_file = data_dir / "bellwire.log"
    hub = running_hub(_settings(data_dir, hub_url), port=hub_port, log_file=log_file, stopping=stopping)
    async with world.served(port=world_port), hub as process:
        if not stopping.is_set():
            _welcome(hub_url, password, data_dir, speed, customers)
            clock.set(rate=speed)
            world.open_shop(hub_url, connection.public_keys, customers=customers)
            await _until_stopped(world, process, stopping, log_file)
        clock.set(rate=0)
        click.echo("Bellwire demo: stopping ...")
    click.echo(
        f"Stopped. What happened is in {data_dir}/ and goes when the next demo starts (unless it starts with --keep)."
    )


async def _until_stopped(world: World, hub: Process, stopping: asyncio.Event, log_file: Path) -> None:
    with Ticker(world) as ticker:
        while not stopping.is_set():
            ticker.show()
            await _wait(stopping, ticker.interval_s)
            if hub.returncode is not None:
                await _wait(stopping, 1)  # the same Ctrl-C may have reached the hub first
                if not stopping.is_set():
                    raise HubFailed(f"the hub ended with status {hub.returncode}; see {log_file}")


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), timeout=seconds)


def _prepare(data_dir: Path, *, keep: bool) -> None:
    """An empty folder, or the last demo's. Refuses to wipe a folder that no demo made."""
    marker = data_dir / "made-by-bellwire-demo"
    if data_dir.exists() and not keep:
        if any(data_dir.iterdir()) and not marker.exists():
            raise HubFailed(f"{data_dir} holds something else than a demo; name another folder with --data-dir")
        shutil.rmtree(data_dir)
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    marker.touch()


def _clock(data_dir: Path) -> SharedClock:
    """The virtual clock, standing still until everybody is there."""
    file = data_dir / "clock"
    known = file.exists()
    clock = SharedClock(file)
    clock.set(rate=0, virtual_ms=None if known else time.time_ns() // 1_000_000 - BACK_MS)
    return clock


def _settings(data_dir: Path, hub_url: str) -> dict[str, str]:
    return {
        "BELLWIRE_DATA_DIR": str(data_dir),
        "BELLWIRE_PUBLIC_URL": hub_url,
        "BELLWIRE_ALLOW_PRIVATE_ADDRESSES": "true",
        "BELLWIRE_ALLOW_TEST_ROOTS": "true",
        "BELLWIRE_DANGEROUS_CLOCK_FILE": str(data_dir / "clock"),
        "BELLWIRE_TIMER_INTERVAL_S": "1",
    }


def _set_up(data_dir: Path, world: World, hub_url: str) -> tuple[Connection, str]:
    """Database, project, apps, webhooks, and a login with a new password."""
    sealer = Sealer.open_or_create(data_dir, "")
    engine = open_engine(f"sqlite:///{data_dir / 'bellwire.db'}")
    password = secrets.token_urlsafe(9)
    password_hash = hash_password(password)
    now_ms = time.time_ns() // 1_000_000
    try:
        upgrade(engine)
        with engine.begin() as connection:
            connected = connect(connection, sealer, world, hub_url=hub_url, now_ms=now_ms)
            known = [user for user in list_users(connection) if user.email == EMAIL]
            if known:
                change_password(connection, known[0].id, password_hash)
            else:
                create_user(connection, email=EMAIL, password_hash=password_hash, now_ms=now_ms)
    finally:
        engine.dispose()
    return connected, password


def _welcome(hub_url: str, password: str, data_dir: Path, speed: float, customers: int) -> None:
    click.echo(
        f"""
  Dashboard   {hub_url}
  E-mail      {EMAIL}
  Password    {password}

  {customers} customers live through their subscriptions; a month passes in {30 * 86_400 / speed:.0f} s.
  The hub's log is {data_dir / "bellwire.log"}. Ctrl-C ends the demo.
"""
    )
