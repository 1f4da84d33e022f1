"""The checkable statements (specification, events 14) that the engine decides alone, as tables in `tests/golden/`.

Left to tests of the whole walk, since they need doors, customers, delivery or other stores: 11, 18, 30-39, 44-55,
58-60, 63, 68, 70; 71 holds for every event of every story and is checked with each.
"""

import pytest

from tests.support.story import Story, stories, tell
from tests.support.wire_rules import check_stream, check_wire

STATEMENTS = stories("statements")
DECIDED_HERE = [*range(1, 11), *range(12, 17), *range(19, 30), *range(40, 44), 56, 57, 61, 62, 64, 65, 66, 67, 69]


@pytest.mark.parametrize("story", STATEMENTS, ids=lambda story: story.name)
def test_statement(story: Story) -> None:
    world = tell(story)
    check_stream(world.records)


def test_17_and_71_hold_for_every_event_of_every_story() -> None:
    records = [
        record for story in [*STATEMENTS, *stories("traces"), *stories("flows")] for record in tell(story).records
    ]
    assert len(records) > 200
    for record in records:
        check_wire(record.event)


def test_no_statement_is_forgotten() -> None:
    covered = {name for story in STATEMENTS for name in story.covers}
    assert {f"S{number}" for number in DECIDED_HERE} <= covered


def test_20_and_24_money_nets_to_the_purchase_once_the_refund_is_reversed() -> None:
    story = next(story for story in STATEMENTS if "S24" in story.covers)
    prices = [record.event.price for record in tell(story).records]
    assert round(sum(price for price in prices if isinstance(price, float)), 4) == 9.99
