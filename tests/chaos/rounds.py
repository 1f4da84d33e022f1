"""One round: a fresh hub, bursts of purchases with trouble in each, a drain, and the verdict."""

import asyncio
import contextlib
import random
import shutil
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from bellwire.db.engine import open_engine
from bellwire.db.outbox import State as RowState
from bellwire.db.secrets import KEY_FILE
from bellwire.db.tables import inbox, outbox
from bellwire.kit.clock import SharedClock
from tests.chaos.disk import Disk, own_disk
from tests.chaos.fleet import Cut, Fleet, Member, preloaded
from tests.chaos.postgres import ChaosPostgres, chaos_postgres
from tests.chaos.receiver import Receiver, running_receiver
from tests.chaos.trouble import JUMP_S, KILLS, Scene, Trouble, menu
from tests.chaos.verdict import Verdict, judge, read
from tests.chaos.wire import running_wire
from tests.chaos.world import RECEIVER_NAME, World
from tests.support.served import served

QUIET_WITHIN_S = 150.0
HURRY_AFTER_S = 2.0
TAKEN_FOR_DEAD_S = 60.0
"""So long before a process says that it was taken for dead may others have done so."""
ROLES = {"sqlite": ("all",), "postgres": ("web", "worker", "worker")}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a round is made of; the same plan does the same, as far as processes ever do."""

    seed: int
    database: str
    kills: int
    """The round ends with the burst in which so many SIGKILLs have been sent."""
    preload: bool
    """Give the processes a clock and names of their own; without, they run as on any machine."""
    only_kills: bool = False
    tell: Callable[[str], None] | None = None
    """Called with a line about each burst."""


@dataclass(kw_only=True)
class Result:
    """How it went."""

    plan: Plan
    verdict: Verdict = field(default_factory=Verdict)
    kills: int = 0
    on_the_wire: int = 0
    troubles: Counter[str] = field(default_factory=Counter)
    disk: str = ""
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


async def play(plan: Plan, folder: Path) -> Result:
    """Run a round in an empty folder. Trouble of the hub ends in `Result.faults`; an exception is trouble of the round."""
    began = time.monotonic()
    chance = random.Random(plan.seed)
    async with contextlib.AsyncExitStack() as stack:
        result = await _play(plan, folder, chance, stack)
    result.seconds = time.monotonic() - began
    return result


async def _play(plan: Plan, folder: Path, chance: random.Random, stack: contextlib.AsyncExitStack) -> Result:
    twin_folder, hub_folder = folder / "twin", folder / "hub"
    twin_folder.mkdir(mode=0o700)
    postgres: ChaosPostgres | None = None
    disk: Disk | None = None
    if plan.database == "postgres":
        hub_folder.mkdir(mode=0o700)
        postgres = stack.enter_context(chaos_postgres())
        url = postgres.url
    else:
        disk = stack.enter_context(own_disk(hub_folder))
        url = f"sqlite:///{hub_folder / 'bellwire.db'}"
    clock = SharedClock(folder / "clock")
    stack.callback(clock.close)
    receiver = await stack.enter_async_context(running_receiver(random.Random(plan.seed + 1)))
    ports = [_free_port() for _ in (*ROLES[plan.database], "twin")]
    to_hub = await stack.enter_async_context(running_wire(ports[0]))
    world = World(clock, chance, hub_url=to_hub.url, twin_url=f"http://127.0.0.1:{ports[-1]}")
    stack.push_async_callback(world.close)
    stores_url = await stack.enter_async_context(served(world.stores))
    to_stores = await stack.enter_async_context(running_wire(int(stores_url.rpartition(":")[2])))
    name = RECEIVER_NAME if plan.preload else "127.0.0.1"
    world.set_up(twin_folder, stores_url=to_stores.url, receiver=f"{name}:{receiver.port}")
    engine = open_engine(url)
    stack.callback(engine.dispose)
    world.copy_to(engine, twin_folder)
    (hub_folder / KEY_FILE).write_bytes((twin_folder / KEY_FILE).read_bytes())
    (hub_folder / KEY_FILE).chmod(0o600)
    fleet = _fleet(plan, folder, hub_folder, url, ports)
    twin = _twin(folder, twin_folder, ports[-1])
    twin_engine = open_engine(f"sqlite:///{twin_folder / 'bellwire.db'}")
    stack.callback(twin_engine.dispose)
    stack.push_async_callback(fleet.end)
    stack.push_async_callback(Fleet([twin], folder / "hosts").end)
    await twin.launch()
    await fleet.revive()
    await twin.until_listening()
    living = asyncio.create_task(world.kernel.run())
    scene = Scene(
        chance=chance,
        world=world,
        fleet=fleet,
        receiver=receiver,
        to_hub=to_hub,
        to_stores=to_stores,
        disk=disk,
        postgres=postgres,
        preloaded=plan.preload,
    )
    result = Result(plan=plan, disk="" if disk is None else disk.kind)
    await _bursts(plan, scene, result, engine, twin_engine)
    result.faults += await _drain(scene, engine, twin_engine)
    world.kernel.stop()
    await living
    codes = await fleet.stop()
    hub, unharmed = await asyncio.to_thread(read, engine), await asyncio.to_thread(read, twin_engine)
    mistaken = [
        Cut(name="a slow process was taken for dead", began=at - TAKEN_FOR_DEAD_S, ended=at + 5.0, fences=True)
        for member in fleet.members
        for at in member.taken_for_dead
    ]
    cuts = [*fleet.cuts, *mistaken]
    result.verdict = judge(hub, unharmed, world.told, receiver.heard, cuts, jumped=scene.jumped)
    result.faults += result.verdict.faults
    if any(codes):
        result.faults.append(f"an orderly stop ended with {codes}: {fleet.members[0].log[-3:]}")
    result.faults += fleet.died
    if plan.database == "sqlite":
        result.faults += await asyncio.to_thread(_integrity, engine)
    result.kills = fleet.kills
    result.on_the_wire = sum(cut.on_the_wire for cut in fleet.cuts)
    if result.faults:
        _keep(folder, hub_folder, [*fleet.members, twin])
    return result


async def _bursts(plan: Plan, scene: Scene, result: Result, engine: sa.Engine, twin_engine: sa.Engine) -> None:
    fleet, chance = scene.fleet, scene.chance
    while fleet.kills < plan.kills:
        scene.receiver.rudeness = chance.choice((0.0, 0.0, 0.1, 0.3))
        scene.world.act()
        trouble: Trouble = chance.choice(KILLS if plan.only_kills else menu(scene))
        result.troubles[trouble.__name__.replace("_", " ")] += 1
        began = time.monotonic()
        await trouble(scene)
        await asyncio.sleep(chance.uniform(0.0, 0.3))
        await fleet.revive()
        if not await _until_quiet(scene, engine, twin_engine):
            result.faults.append(
                f"the hub did not come to rest after: {trouble.__name__}{_open(scene, engine, twin_engine)}"
            )
            return
        if plan.tell is not None:
            plan.tell(f"{time.monotonic() - began:5.1f} s  {trouble.__name__}")


async def _until_quiet(scene: Scene, engine: sa.Engine, twin_engine: sa.Engine) -> bool:
    """Everything that was said is accepted and worked through by both hubs; deliveries may still go on."""
    began = last = time.monotonic()
    while time.monotonic() - began < QUIET_WITHIN_S:
        try:
            if scene.world.quiet and not await asyncio.to_thread(_unread, engine, twin_engine):
                return True
            if time.monotonic() - last > HURRY_AFTER_S:
                last = time.monotonic()
                await scene.fleet.revive()
                await asyncio.to_thread(_hurry, engine)
                await asyncio.to_thread(_hurry, twin_engine)
        except sa.exc.OperationalError:
            pass  # a backend was killed, and the server hangs up on everybody while it recovers
        await asyncio.sleep(0.05)
    return False


def _unread(*engines: sa.Engine) -> int:
    found = 0
    for engine in engines:
        with engine.execution_options(bellwire_read_only=True).connect() as connection:
            query = sa.select(sa.func.count()).select_from(inbox).where(inbox.c.status == "received")
            found += connection.execute(query).scalar_one()
    return found


def _hurry(engine: sa.Engine) -> None:
    """Whatever waits for another try is due now: nobody wants to wait for half a minute here."""
    now_ms = time.time_ns() // 1_000_000
    with engine.begin() as connection:
        connection.execute(
            sa.update(inbox)
            .where(inbox.c.status == "received", inbox.c.next_attempt_at_ms > now_ms)
            .values(next_attempt_at_ms=now_ms)
        )
        connection.execute(
            sa.update(outbox)
            .where(outbox.c.state == RowState.DUE.value, outbox.c.due_at_ms > now_ms)
            .values(due_at_ms=now_ms)
        )


async def _drain(scene: Scene, engine: sa.Engine, twin_engine: sa.Engine) -> list[str]:
    """No more trouble; everything must arrive. Leases of the dead run out by the clock, nobody takes them away."""
    scene.receiver.rudeness = 0.0
    scene.world.kernel.faults.clear()
    for attempt in range(8):
        if not await _until_quiet(scene, engine, twin_engine):
            return [f"the hub does not come to rest{_open(scene, engine, twin_engine)}"]
        began = time.monotonic()
        while time.monotonic() - began < 3.0 + 3.0 * attempt:
            if not await asyncio.to_thread(_waiting, engine):
                return []
            await asyncio.sleep(0.1)
        if scene.preloaded:
            for member in scene.fleet.members:
                member.set_clock(JUMP_S * (attempt + 1))
            scene.jumped = True
            now = time.monotonic()
            scene.window("leases run out", fences=True).ended = now + 2.0
        await asyncio.to_thread(_hurry, engine)
        if scene.preloaded or attempt < 4:
            await scene.fleet.stop()
            await scene.fleet.revive()
        else:
            await asyncio.sleep(30.0)  # without a clock of their own the leases of the dead take their time
    return [] if not _waiting(engine) else ["the outbox does not run empty"]


def _waiting(engine: sa.Engine) -> int:
    with engine.execution_options(bellwire_read_only=True).connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one()


def _open(scene: Scene, engine: sa.Engine, twin_engine: sa.Engine) -> str:
    """What it waits for, in words."""
    told = [sent.message.url for sent in scene.world.notifier.history if sent.open]
    return f" (unread {_unread(engine)}, twin's {_unread(twin_engine)}, untold {told[:3]}, quiet {scene.world.quiet})"


def _integrity(engine: sa.Engine) -> list[str]:
    with engine.execution_options(bellwire_read_only=True).connect() as connection:
        found = connection.exec_driver_sql("PRAGMA integrity_check").scalar_one()
    return [] if found == "ok" else [f"SQLite's integrity check says: {found}"]


def _fleet(plan: Plan, folder: Path, hub_folder: Path, url: str, ports: list[int]) -> Fleet:
    members: list[Member] = []
    hosts = folder / "hosts"
    for number, role in enumerate(ROLES[plan.database]):
        clock_file = folder / f"wall-{number}"
        environment = _environment(folder, hub_folder) | {"BELLWIRE_DATABASE_URL": url}
        if plan.preload:
            environment |= preloaded(clock_file, hosts)
        member = Member(
            name=f"{role} {number}", role=role, port=ports[number], environment=environment, clock_file=clock_file
        )
        member.set_clock(0.0)
        members.append(member)
    fleet = Fleet(members, hosts)
    fleet.set_hosts({RECEIVER_NAME: "127.0.0.1"})
    return fleet


def _twin(folder: Path, twin_folder: Path, port: int) -> Member:
    return Member(
        name="twin", role="all", port=port, environment=_environment(folder, twin_folder), clock_file=folder / "wall"
    )


def _environment(folder: Path, data: Path) -> dict[str, str]:
    return {
        "BELLWIRE_DATA_DIR": str(data),
        "BELLWIRE_ALLOW_PRIVATE_ADDRESSES": "true",
        "BELLWIRE_ALLOW_TEST_ROOTS": "true",
        "BELLWIRE_DANGEROUS_CLOCK_FILE": str(folder / "clock"),
        "BELLWIRE_TIMER_INTERVAL_S": "0.2",
        "BELLWIRE_DELIVERY_TIMEOUT_S": "10",
        "BELLWIRE_DRAIN_S": "0",
    }


def _keep(folder: Path, data: Path, members: list[Member]) -> None:
    """Logs, and SQLite's files before their disk goes."""
    for file in data.glob("bellwire.db*"):
        shutil.copy(file, folder / f"kept-{file.name}")
    for member in members:
        (folder / f"{member.name}.log").write_text("\n".join(member.log))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


__all__ = ["Plan", "Receiver", "Result", "play"]
