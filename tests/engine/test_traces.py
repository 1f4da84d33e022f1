"""The worked traces of the specification (stores 11.6b), as tables in `tests/golden/traces/`."""

import pytest

from tests.support.story import Story, stories, tell
from tests.support.wire_rules import check_stream

TRACES = stories("traces")


@pytest.mark.parametrize("story", TRACES, ids=lambda story: story.name)
def test_trace(story: Story) -> None:
    world = tell(story)
    check_stream(world.records)


def test_every_trace_of_the_specification_is_there() -> None:
    per_store = {"Apple": 7, "Google": 4, "Stripe": 2, "Amazon": 1, "Roku": 1, "any": 2}
    wanted = [f"{store}-{number}" for store, count in per_store.items() for number in range(1, count + 1)]
    assert sorted(name for story in TRACES for name in story.covers) == sorted(wanted)
