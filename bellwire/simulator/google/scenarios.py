"""Stories of one Google Play customer and the events each must lead to (spec: stores 13.2, events 6)."""

from bellwire.simulator.google import (
    stories_of_add_ons,
    stories_of_change,
    stories_of_renewal,
    stories_of_the_rest,
    stories_of_trouble,
)
from bellwire.simulator.google.telling import SCENARIOS

STORIES = (stories_of_renewal, stories_of_change, stories_of_add_ons, stories_of_trouble, stories_of_the_rest)
"""Each module registers its stories when it is imported."""

__all__ = ["SCENARIOS", "STORIES"]
