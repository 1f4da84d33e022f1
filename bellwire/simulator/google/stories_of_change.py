"""Another plan, another token: replacements of all kinds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bellwire.simulator.google.telling import BASIC, BOUGHT, PREPAID, PRO, RENEWED, Story, buy, scenario, wait
from bellwire.simulator.scenario import Step

if TYPE_CHECKING:
    from bellwire.simulator.google.play import FakePlay


@scenario(
    "signed_up_again",
    "The same plan is bought again in the app while the cancelled one still runs.",
    BOUGHT,
    "CANCELLATION UNSUBSCRIBE",
    BOUGHT,
)
def _signed_up_again(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story), story.then(play.cancel, 5), story.then(play.sign_up_again, 5), wait(1)]


@scenario(
    "upgrade_full_price",
    "An upgrade that is charged in full at once.",
    "INITIAL_PURCHASE NORMAL 4.99",
    "PRODUCT_CHANGE basic:monthly",
    BOUGHT,
)
def _upgrade_full(play: "FakePlay", story: Story) -> Sequence[Step]:
    change = story.then(lambda token: play.change_plan(token, PRO, "CHARGE_FULL_PRICE"), 10)
    return [buy(play, story, BASIC), change, wait(5)]


@scenario(
    "upgrade_without_proration",
    "An upgrade now that is charged from the next billing date on.",
    "INITIAL_PURCHASE NORMAL 4.99",
    "PRODUCT_CHANGE basic:monthly",
    "INITIAL_PURCHASE NORMAL 0",
    RENEWED,
)
def _upgrade_free(play: "FakePlay", story: Story) -> Sequence[Step]:
    change = story.then(lambda token: play.change_plan(token, PRO, "WITHOUT_PRORATION"), 10)
    return [buy(play, story, BASIC), change, wait(22)]


@scenario(
    "upgrade_with_time_proration",
    "An upgrade whose first days are paid with what is left of the old plan.",
    "INITIAL_PURCHASE NORMAL 4.99",
    "PRODUCT_CHANGE basic:monthly",
    "INITIAL_PURCHASE NORMAL 0",
)
def _upgrade_time(play: "FakePlay", story: Story) -> Sequence[Step]:
    change = story.then(lambda token: play.change_plan(token, PRO, "WITH_TIME_PRORATION"), 10)
    return [buy(play, story, BASIC), change, wait(5)]


@scenario(
    "deferred_downgrade",
    "A downgrade at the end of the period.",
    BOUGHT,
    "PRODUCT_CHANGE pro:monthly basic:monthly",
    "RENEWAL NORMAL 4.99",
)
def _deferred(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story), story.then(lambda token: play.change_plan(token, BASIC, "DEFERRED"), 10), wait(23)]


@scenario(
    "deferred_downgrade_withdrawn",
    "A downgrade at the end of the period that is taken back.",
    BOUGHT,
    "PRODUCT_CHANGE pro:monthly basic:monthly",
    "PRODUCT_CHANGE pro:monthly pro:monthly",
    RENEWED,
)
def _withdrawn(play: "FakePlay", story: Story) -> Sequence[Step]:
    change = story.then(lambda token: play.change_plan(token, BASIC, "DEFERRED"), 10)
    return [buy(play, story), change, story.then(play.withdraw_change, 5), wait(17)]


@scenario(
    "prepaid_top_up",
    "A prepaid plan is bought again before it ends.",
    "INITIAL_PURCHASE PREPAID 9.99",
    "EXPIRATION UNSUBSCRIBE",
    "INITIAL_PURCHASE PREPAID 9.99",
)
def _top_up(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story, PREPAID), story.then(play.top_up, 20), wait(20)]
