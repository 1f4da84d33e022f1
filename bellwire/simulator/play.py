"""Playing one scenario against a hub that runs elsewhere, and hearing what it makes of it."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from bellwire.kit.clock import SharedClock
from bellwire.simulator.apple import SCENARIOS as APPLE
from bellwire.simulator.google import SCENARIOS as GOOGLE
from bellwire.simulator.scenario import Scenario
from bellwire.simulator.wording import short
from bellwire.simulator.world import SIGNED, StoreName, World

QUIET_S = 1.0
"""How long the hub must say nothing before it counts as done with a step."""
LAST_QUIET_S = 12.0
"""The same at the end, if something is missing: longer than the hub's timers and first retries wait."""


class UnknownScenario(Exception):
    """No fake store plays this; the message lists what they play."""


def find(store: StoreName | None, name: str) -> tuple[StoreName, Scenario[Any]]:  # pyrefly: ignore[explicit-any]
    """The scenario and its store, which only needs naming where both have one of that name. Raises UnknownScenario."""
    books: dict[StoreName, dict[str, Scenario[Any]]] = {"apple": dict(APPLE), "google": dict(GOOGLE)}
    found = [(slug, book[name]) for slug, book in books.items() if name in book and store in (None, slug)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownScenario(f"both stores play {name!r}: name one with --store")
    known = "\n".join(f"  {slug}  {one}: {book[one].description}" for slug, book in books.items() for one in book)
    raise UnknownScenario(f"no scenario {name!r}; there are:\n{known}")


async def play(world: World, clock: SharedClock, store: StoreName, story: Scenario[Any]) -> list[str]:
    """Take the story's steps with the time between them; what the signed receiver got, in short words, in order."""
    heard: list[str] = []
    world.sink.receivers[SIGNED].on_event = lambda body: heard.append(short(json.loads(body)["event"]))
    fake = world.apple if store == "apple" else world.play
    steps: Sequence[tuple[int, Any]] = story.steps(fake)
    for wait_ms, act in steps:
        await _live_through(world, clock, wait_ms, heard)
        act()
        await _settle(world, heard, quiet_s=QUIET_S)
    if len(heard) < len(story.expected):
        await _settle(world, heard, quiet_s=LAST_QUIET_S)
    return heard


async def _live_through(world: World, clock: SharedClock, wait_ms: int, heard: list[str]) -> None:
    """Move the clock from appointment to appointment, so that the hub lives through what happens in order."""
    end_ms = clock.now_ms() + wait_ms
    while True:
        due_ms = world.kernel.next_due_ms()
        if due_ms is None or due_ms > end_ms:
            break
        clock.set(virtual_ms=max(due_ms, clock.now_ms()))
        await _settle(world, heard, quiet_s=QUIET_S)
    clock.set(virtual_ms=end_ms)


async def _settle(world: World, heard: list[str], *, quiet_s: float) -> None:
    """Until everything is sent and the hub has had nothing to say for a while."""
    loop = asyncio.get_running_loop()
    count, since = len(heard), loop.time()
    while loop.time() - since < quiet_s:
        await world.kernel.flush()
        await asyncio.sleep(0.05)
        if len(heard) != count:
            count, since = len(heard), loop.time()
