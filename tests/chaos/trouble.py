"""What is done to the hub while it works. Each kind of trouble lasts a moment and leaves things as they were."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.chaos.disk import Disk
from tests.chaos.fleet import FAKETIME, NAMES, Cut, Fleet, Member
from tests.chaos.postgres import ChaosPostgres
from tests.chaos.receiver import Receiver
from tests.chaos.wire import Wire
from tests.chaos.world import RECEIVER_NAME, World

JUMP_S = 180.0
"""Longer than a lease of these hubs lasts."""
BEHIND_S = 45.0
"""So far behind may a clock stay: with more, Google's tokens are not yet valid and are refused."""


@dataclass(kw_only=True)
class Scene:
    """All that trouble can get at."""

    chance: random.Random
    world: World
    fleet: Fleet
    receiver: Receiver
    to_hub: Wire
    to_stores: Wire
    disk: Disk | None
    postgres: ChaosPostgres | None
    preloaded: bool
    jumped: bool = False
    """The wall clock was moved in this round."""

    def kill(self, members: list[Member], name: str) -> Cut:
        return self.fleet.kill(members, name, len(self.receiver.open))

    def some(self) -> list[Member]:
        """One process, at times all of them."""
        members = self.fleet.members
        if len(members) == 1 or self.chance.random() < 0.2:
            return list(members)
        return [self.chance.choice(members)]

    def window(self, name: str, *, fences: bool = False) -> Cut:
        """Trouble without a kill begins now; the caller ends it."""
        now = time.monotonic()
        cut = Cut(name=name, began=now, ended=now, on_the_wire=len(self.receiver.open), fences=fences)
        self.fleet.cuts.append(cut)
        return cut


async def kill_at_an_instant(scene: Scene) -> None:
    """SIGKILL after a random time."""
    await asyncio.sleep(scene.chance.uniform(0.0, 0.8))
    scene.kill(scene.some(), "SIGKILL at a random instant")


async def kill_when_a_request_comes(scene: Scene) -> None:
    """SIGKILL with requests on the wire."""
    await _kill_on(scene, scene.receiver.when_came, "SIGKILL with a request on the wire")


async def kill_when_an_answer_left(scene: Scene) -> None:
    """SIGKILL before the hub can have written down that its request was answered."""
    await _kill_on(scene, scene.receiver.when_answered, "SIGKILL just after an answer")


async def _kill_on(scene: Scene, moment: list[Callable[[], None]], name: str) -> None:
    members = scene.some()
    came = asyncio.Event()

    def strike() -> None:
        if scene.chance.random() < 0.4:
            moment.append(strike)  # not this one
            return
        scene.kill(members, name)
        came.set()

    moment.append(strike)
    with suppress(TimeoutError):
        await asyncio.wait_for(came.wait(), timeout=2.0)
    if not came.is_set():
        if strike in moment:
            moment.remove(strike)
        scene.kill(members, "SIGKILL at a random instant")


async def kill_while_accepting(scene: Scene) -> None:
    """SIGKILL when a store has just been told that its message was accepted."""
    sent = scene.world.notifier.to_hub()
    accepted = sum(one.delivered for one in sent) + scene.chance.randint(1, 3)
    until = time.monotonic() + 1.5
    while time.monotonic() < until and sum(one.delivered for one in scene.world.notifier.to_hub()) < accepted:
        await asyncio.sleep(0)
    scene.kill(scene.some(), "SIGKILL just after accepting")


async def kill_while_starting(scene: Scene) -> None:
    """SIGKILL, and again before the process is up."""
    members = scene.some()
    scene.kill(members, "SIGKILL at a random instant")
    for member in members:
        await member.gone()
        await member.launch()
    await asyncio.sleep(scene.chance.uniform(0.2, 1.5))
    scene.kill(members, "SIGKILL while starting")


async def stop_and_continue(scene: Scene) -> None:
    """SIGSTOP for longer than a lease where the clock of others can say so, else for a second or two."""
    members = scene.some()
    beyond = _skews(scene, members)
    cut = scene.window("SIGSTOP beyond the lease" if beyond else "SIGSTOP", fences=beyond)
    for member in members:
        member.signal(signal.SIGSTOP)
    try:
        if beyond:
            scene.jumped = True
            others = [member for member in scene.fleet.members if member not in members]
            for other in others:
                other.set_clock(JUMP_S)
            await asyncio.sleep(3.0)
            for member in members:
                member.set_clock(JUMP_S)
        else:
            await asyncio.sleep(scene.chance.uniform(0.3, 2.0))
    finally:
        for member in members:
            member.signal(signal.SIGCONT)
    await asyncio.sleep(1.5)
    for member in scene.fleet.members:
        member.set_clock(0.0)
    cut.ended = time.monotonic() + 1.5


def _skews(scene: Scene, members: list[Member]) -> bool:
    return scene.preloaded and FAKETIME is not None and len(members) < len(scene.fleet.members)


async def jump_the_clock(scene: Scene) -> None:
    """The wall clock goes forwards or backwards by more than a lease, and comes back or stays behind a little."""
    scene.jumped = True
    cut = scene.window("wall clock jumps", fences=True)
    offset_s = scene.chance.choice((JUMP_S, -JUMP_S))
    for member in scene.fleet.members:
        member.set_clock(offset_s)
    await asyncio.sleep(scene.chance.uniform(1.2, 2.5))
    if scene.chance.random() < 0.5:
        scene.kill(scene.some(), "SIGKILL in another time")
        await scene.fleet.revive()
        await asyncio.sleep(0.5)
    left_s = scene.chance.choice((0.0, -BEHIND_S))
    for member in scene.fleet.members:
        member.set_clock(left_s)
    await asyncio.sleep(1.2)
    cut.ended = time.monotonic()


async def fill_the_disk(scene: Scene) -> None:
    """No byte fits any more, and then they do again."""
    if scene.disk is None:
        return
    cut = scene.window("disk full")
    scene.disk.fill(scene.fleet.members)
    await asyncio.sleep(scene.chance.uniform(0.5, 2.5))
    if scene.chance.random() < 0.3:
        scene.kill(scene.some(), "SIGKILL with a full disk")
    scene.disk.drain(scene.fleet.members)
    cut.ended = time.monotonic() + 1.5


async def flap_names(scene: Scene) -> None:
    """The receiver's name does not resolve, then resolves to another address."""
    scene.fleet.set_hosts({})
    await asyncio.sleep(scene.chance.uniform(0.5, 2.0))
    scene.fleet.set_hosts({RECEIVER_NAME: "127.0.0.2"})
    await asyncio.sleep(scene.chance.uniform(0.2, 0.5))
    scene.fleet.set_hosts({RECEIVER_NAME: "127.0.0.1"})


async def break_wires(scene: Scene) -> None:
    """Connections between stores, shoppers and hub are reset, half closed, or hang."""
    for _ in range(scene.chance.randint(2, 6)):
        await asyncio.sleep(scene.chance.uniform(0.0, 0.25))
        wire = scene.chance.choice((scene.to_hub, scene.to_stores))
        match scene.chance.randrange(3):
            case 0:
                wire.cut()
            case 1:
                wire.half_close()
            case _:
                await wire.stall(scene.chance.uniform(0.2, 1.0))


async def fail_the_stores(scene: Scene) -> None:
    """The stores' APIs answer with errors."""
    for path in ("/apple", "/androidpublisher", "/token"):
        if scene.chance.random() < 0.6:
            scene.world.kernel.faults.add(path, scene.chance.choice((500, 503, 429)), times=scene.chance.randint(1, 3))
    await asyncio.sleep(0.5)


async def crash_the_database(scene: Scene) -> None:
    """SIGKILL of every process of PostgreSQL; it comes back from its log."""
    assert scene.postgres is not None
    await asyncio.sleep(scene.chance.uniform(0.0, 0.8))
    cut = scene.window("SIGKILL of PostgreSQL")
    cut.kills = 1
    await asyncio.to_thread(scene.postgres.crash)
    if scene.chance.random() < 0.3:
        scene.kill(scene.some(), "SIGKILL without a database")
    await asyncio.sleep(scene.chance.uniform(0.0, 1.0))
    await asyncio.to_thread(scene.postgres.start)
    cut.ended = time.monotonic() + 2.0


async def restart_the_database(scene: Scene) -> None:
    """pg_ctl restart -m immediate."""
    assert scene.postgres is not None
    await asyncio.sleep(scene.chance.uniform(0.0, 0.8))
    cut = scene.window("PostgreSQL restarts")
    await asyncio.to_thread(scene.postgres.restart)
    cut.ended = time.monotonic() + 2.0


async def kill_a_backend(scene: Scene) -> None:
    """SIGKILL of one process of PostgreSQL that serves the hub: the server then throws out everybody."""
    assert scene.postgres is not None
    await asyncio.sleep(scene.chance.uniform(0.0, 0.5))
    cut = scene.window("SIGKILL of a database process")
    cut.kills = 1
    await asyncio.to_thread(scene.postgres.kill_a_backend, scene.chance)
    await asyncio.to_thread(scene.postgres.until_ready)
    cut.ended = time.monotonic() + 2.0


Trouble = Callable[[Scene], Awaitable[None]]

KILLS: tuple[Trouble, ...] = (
    kill_at_an_instant,
    kill_at_an_instant,
    kill_when_a_request_comes,
    kill_when_an_answer_left,
    kill_when_an_answer_left,
    kill_while_accepting,
    kill_while_starting,
)


def menu(scene: Scene) -> tuple[Trouble, ...]:
    """What can be done here, the more often the better."""
    found: list[Trouble] = [*KILLS, stop_and_continue, break_wires, fail_the_stores]
    if scene.disk is not None:
        found += [*KILLS, fill_the_disk]
    if scene.preloaded and FAKETIME is not None:
        found += [jump_the_clock]
    if scene.preloaded and NAMES is not None:
        found.append(flap_names)
    if scene.postgres is not None:
        found += [crash_the_database, crash_the_database, restart_the_database, kill_a_backend, stop_and_continue]
    return tuple(found)
