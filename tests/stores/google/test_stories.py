"""Every story of the fake Google Play, from signed push over verification and pull to the events of the engine."""

import random

import msgspec
import pytest

from bellwire.engine.access import has_access
from bellwire.model.projects import App
from bellwire.simulator.google import SCENARIOS
from bellwire.simulator.google.records import Subscription
from bellwire.simulator.wording import short
from bellwire.stores.base import RecoveredKey
from tests.support.play import DAY_MS, PlayBench, on_bench
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


@pytest.mark.parametrize("name", SCENARIOS)
def test_in_any_order_the_hub_ends_up_knowing_what_the_store_knows(name: str) -> None:
    """All pushes of a story come at its end, shuffled and twice (spec: stores 13.3 b)."""
    story = SCENARIOS[name]

    async def tell(bench: PlayBench) -> None:
        play, app = bench.play, bench.app()
        for advance_ms, act in story.steps(play):
            await bench.advance(advance_ms / DAY_MS)
            act()
            await bench.kernel.flush()
            for token in play.subscriptions:
                play.acknowledge(token)
            for bought in play.one_time.values():
                bought.acknowledged = True
        pushes = bench.pushes * 2
        for seed in range(3):
            world = World()
            bench.pushes = random.Random(seed).sample(pushes, len(pushes))
            await _live(bench, world, app)
            _knows_what_the_store_knows(bench, world)

    on_bench(tell)


def _knows_what_the_store_knows(bench: PlayBench, world: World) -> None:
    now_ms = bench.clock.now_ms()
    for token, sub in bench.play.subscriptions.items():
        if token not in world.keys or sub.replaced:
            continue
        chain = world.chain(token)
        running = sub.state in ("ACTIVE", "CANCELED", "IN_GRACE_PERIOD") and sub.expiry_ms > now_ms
        assert has_access(chain, now_ms) is running
        assert (chain.latest is None) is (sub.start_ms is None)
        assert chain.paused is (sub.state == "PAUSED")
        assert chain.billing_retry is (sub.state == "ON_HOLD")
        if chain.latest is not None:
            assert chain.latest.period_key == sub.base.order_id
            assert chain.auto_renew is (None if sub.base.plan.prepaid else _renews(sub))
    for token, bought in bench.play.one_time.items():
        if token in world.keys:
            assert has_access(world.chain(token), now_ms) is (bought.state == "PURCHASED")


def _renews(sub: Subscription) -> bool:
    return sub.auto_renew and not sub.pending_cancellation


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
