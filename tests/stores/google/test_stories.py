"""Every story of the fake Google Play, from signed push over verification and pull to the events of the engine."""

import msgspec
import pytest

from bellwire.model.projects import App
from bellwire.simulator.google import SCENARIOS
from bellwire.stores.base import RecoveredKey
from tests.support.play import DAY_MS, PlayBench, on_bench
from tests.support.short import short
from tests.support.story import World


@pytest.mark.parametrize("name", SCENARIOS)
def test_story_leads_to_its_events(name: str) -> None:
    story = SCENARIOS[name]

    async def tell(bench: PlayBench) -> list[str]:
        world, app = World(), bench.app()
        for advance_ms, act in story.steps(bench.play):
            target = bench.clock.now_ms() + advance_ms
            while (due := bench.kernel.next_due_ms()) is not None and due <= target:
                bench.clock.set_ms(max(due, bench.clock.now_ms()))
                await _live(bench, world, app)
            bench.clock.set_ms(target)
            act()
            await _live(bench, world, app)
        now_ms = bench.clock.now_ms()
        async for found in bench.adapter.recover(app, now_ms - 20 * DAY_MS, now_ms):
            assert isinstance(found, RecoveredKey)
            await _look(bench, world, app, found.store_key, found.hints)
        return [short(msgspec.to_builtins(r.event)) for r in world.records if r.dispatch]

    assert on_bench(tell) == list(story.expected)


async def _live(bench: PlayBench, world: World, app: App) -> None:
    """What a hub does with the pushes that have come."""
    await bench.kernel.flush()
    pushes = list(bench.pushes)
    bench.pushes.clear()
    for headers, raw in pushes:
        await bench.adapter.verify(app, headers, raw, now_ms=bench.clock.now_ms())
        notification = bench.adapter.decode(app, raw)
        for key in notification.store_keys:
            await _look(bench, world, app, key, notification.hints)


async def _look(bench: PlayBench, world: World, app: App, store_key: str, hints: dict[str, str]) -> None:
    known = world.chain(store_key) if store_key in world.keys else None
    for snapshot in await bench.adapter.pull(app, store_key, known=known, hints=hints):
        world.apply(snapshot, bench.clock.now_ms())
        await bench.adapter.finish(app, snapshot)
