"""How stories of one Google Play customer are told."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bellwire.simulator.google.calendar import DAY_MS
from bellwire.simulator.scenario import Scenario, Step

if TYPE_CHECKING:
    from bellwire.simulator.google.play import FakePlay

PRO, BASIC, EXTRA, PREPAID = "pro:monthly", "basic:monthly", "extra:monthly", "prepaid:month"
BOUGHT = "INITIAL_PURCHASE NORMAL 9.99"
RENEWED = "RENEWAL NORMAL 9.99"
FAILED = "CANCELLATION BILLING_ERROR"

SCENARIOS: "dict[str, Scenario[FakePlay]]" = {}

Act = Callable[[str], object]
"""Something done to the purchase token that the last act gave, or the first one made; a text result is the new one."""


class Story:
    """The token that a story is about, handed from step to step."""

    def __init__(self) -> None:
        self.token = ""

    def then(self, act: Act, after_days: float = 0) -> Step:
        def run() -> None:
            result = act(self.token)
            if isinstance(result, str):
                self.token = result

        return int(after_days * DAY_MS), run


def wait(days: float) -> Step:
    """Let the clock run."""
    return int(days * DAY_MS), _nothing


def _nothing() -> None:
    return None


Telling = Callable[["FakePlay", Story], Sequence[Step]]


def scenario(name: str, description: str, *expected: str) -> Callable[[Telling], Telling]:
    def register(telling: Telling) -> Telling:
        SCENARIOS[name] = Scenario(
            name=name, description=description, steps=lambda play: telling(play, Story()), expected=expected
        )
        return telling

    return register


def buy(
    play: "FakePlay",
    story: Story,
    key: str = PRO,
    *,
    trial: bool = False,
    intro: bool = False,
    pending: bool = False,
    test: bool = False,
) -> Step:
    return story.then(lambda _: play.purchase(key, trial=trial, intro=intro, pending=pending, test=test))
