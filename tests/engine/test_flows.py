"""The event flows (specification, events 6) that the statements do not tell already, as tables in `tests/golden/flows/`."""

import pytest

from tests.support.story import Story, stories, tell
from tests.support.wire_rules import check_stream

FLOWS = stories("flows")
DECIDED_HERE = [*range(1, 23), *range(28, 38), *range(42, 46), *range(51, 54), 63, 64, *range(66, 75)]


@pytest.mark.parametrize("story", FLOWS, ids=lambda story: story.name)
def test_flow(story: Story) -> None:
    world = tell(story)
    check_stream(world.records)


def test_no_flow_is_forgotten() -> None:
    told = {name for folder in ("flows", "statements", "traces") for story in stories(folder) for name in story.covers}
    assert {f"F{number}" for number in DECIDED_HERE} - told == set()
