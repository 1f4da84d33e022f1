"""Several products in one purchase (spec: events 6.6, stores 3.4)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bellwire.simulator.google.telling import BOUGHT, EXTRA, FAILED, PRO, RENEWED, Story, buy, scenario, wait
from bellwire.simulator.scenario import Step

if TYPE_CHECKING:
    from bellwire.simulator.google.play import FakePlay

BUNDLE = "INITIAL_PURCHASE NORMAL 12.98 + extra:monthly"


def _buy_bundle(play: "FakePlay", story: Story) -> Step:
    return story.then(lambda _: play.purchase(PRO, add_ons=(EXTRA,)))


@scenario(
    "addon_bundle_purchase",
    "A subscription with an add-on, bought together.",
    BUNDLE,
    "RENEWAL NORMAL 12.98 + extra:monthly",
    "CANCELLATION UNSUBSCRIBE + extra:monthly",
    "EXPIRATION UNSUBSCRIBE + extra:monthly",
)
def _bundle(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy_bundle(play, story), story.then(play.cancel, 35), wait(25)]


@scenario(
    "addon_added",
    "An add-on joins a running subscription and is charged for the rest of the period.",
    BOUGHT,
    "PRODUCT_CHANGE pro:monthly + extra:monthly",
    "INITIAL_PURCHASE NORMAL 2.5 + extra:monthly",
    "RENEWAL NORMAL 12.98 + extra:monthly",
)
def _added(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story), story.then(lambda token: play.add_on(token, EXTRA), 5), wait(27)]


@scenario(
    "addon_removed_at_renewal",
    "An add-on is dropped in Google Play; it is there until the period ends.",
    BUNDLE,
    RENEWED,
)
def _removed(play: "FakePlay", story: Story) -> Sequence[Step]:
    remove = story.then(lambda token: play.remove_add_on(token, EXTRA), 5)
    return [_buy_bundle(play, story), remove, wait(27)]


@scenario(
    "addon_left_out_in_app",
    "An add-on is dropped in the app, which makes a new purchase token; it is there until the period ends.",
    BUNDLE,
    RENEWED,
)
def _left_out(play: "FakePlay", story: Story) -> Sequence[Step]:
    leave_out = story.then(lambda token: play.leave_out(token, EXTRA), 5)
    return [_buy_bundle(play, story), leave_out, wait(27)]


@scenario(
    "addon_declined",
    "The charge of a bundle fails: the shortest grace of its items is that of all.",
    BUNDLE,
    "BILLING_ISSUE GRACE + extra:monthly",
    f"{FAILED} + extra:monthly",
    "EXPIRATION BILLING_ERROR + extra:monthly",
)
def _declined(play: "FakePlay", story: Story) -> Sequence[Step]:
    fail = story.then(lambda token: play.fail_payment(token, "grace"), 1)
    return [_buy_bundle(play, story), fail, wait(31), wait(4)]
