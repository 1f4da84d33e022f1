"""Every story that the fake stores can play, walked from the signed notification to the webhook."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bellwire.simulator.apple import SCENARIOS as APPLE
from bellwire.simulator.google import SCENARIOS as GOOGLE
from bellwire.simulator.scenario import Post, Scenario
from bellwire.simulator.wording import short
from tests.support.world import World, world

STORIES = [pytest.param("apple", story, id=f"apple-{name}") for name, story in APPLE.items()]
STORIES += [pytest.param("google", story, id=f"google-{name}") for name, story in GOOGLE.items()]


@pytest.mark.parametrize(("store", "story"), STORIES)
def test_scenario_reaches_the_webhook_as_expected(store: str, story: Scenario[Any], tmp_path: Path) -> None:
    async def run() -> list[dict[str, Any]]:
        async with world(tmp_path, track_new_purchases=story.tracked) as it:
            await play(it, it.apple if store == "apple" else it.google, story)
            assert [event["id"] for event in it.received] == [event["id"] for event in it.events()]
            return it.received

    received = asyncio.run(run())
    assert [short(event) for event in received] == list(story.expected)


async def play(it: World, fake: Any, story: Scenario[Any]) -> None:
    """Take the steps of a story, living through the time between them."""
    for wait_ms, act in story.steps(fake):
        await it.advance(wait_ms)
        posted = act()
        if isinstance(posted, Post):
            await it.post(fake, posted.store_key)
        await it.settle()
    await it.recover()
