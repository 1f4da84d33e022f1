"""Failed charges, pauses, money that goes back."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bellwire.simulator.google.telling import BOUGHT, FAILED, RENEWED, Story, buy, scenario, wait
from bellwire.simulator.scenario import Step

if TYPE_CHECKING:
    from bellwire.simulator.google.play import FakePlay


@scenario(
    "grace_recovered",
    "A charge fails; it is mended in the grace period.",
    BOUGHT,
    "BILLING_ISSUE GRACE",
    FAILED,
    RENEWED,
)
def _grace_recovered(play: "FakePlay", story: Story) -> Sequence[Step]:
    fail = story.then(lambda token: play.fail_payment(token, "grace"), 1)
    return [buy(play, story), fail, wait(31), story.then(play.recover, 2), wait(1)]


@scenario(
    "grace_lost",
    "A charge fails and is never mended.",
    BOUGHT,
    "BILLING_ISSUE GRACE",
    FAILED,
    "EXPIRATION BILLING_ERROR",
)
def _grace_lost(play: "FakePlay", story: Story) -> Sequence[Step]:
    fail = story.then(lambda token: play.fail_payment(token, "grace"), 1)
    return [buy(play, story), fail, wait(31), wait(8), wait(31)]


@scenario(
    "hold_recovered",
    "A charge fails without a grace period; it is mended on account hold.",
    BOUGHT,
    "BILLING_ISSUE",
    FAILED,
    "EXPIRATION BILLING_ERROR",
    RENEWED,
)
def _hold_recovered(play: "FakePlay", story: Story) -> Sequence[Step]:
    fail = story.then(lambda token: play.fail_payment(token, "hold"), 1)
    return [buy(play, story), fail, wait(31), story.then(play.recover, 5), wait(1)]


@scenario(
    "pause_and_resume",
    "A pause of a month, and back.",
    BOUGHT,
    "SUBSCRIPTION_PAUSED",
    "EXPIRATION SUBSCRIPTION_PAUSED",
    RENEWED,
)
def _paused(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story), story.then(play.pause, 5), wait(27), wait(31)]


@scenario(
    "pause_and_hold",
    "The charge at the end of a pause fails.",
    BOUGHT,
    "SUBSCRIPTION_PAUSED",
    "EXPIRATION SUBSCRIPTION_PAUSED",
    "BILLING_ISSUE",
    FAILED,
)
def _pause_fails(play: "FakePlay", story: Story) -> Sequence[Step]:
    fail = story.then(lambda token: play.fail_payment(token, "hold"), 1)
    return [buy(play, story), story.then(play.pause, 5), wait(27), fail, wait(31)]


@scenario("pause_withdrawn", "A pause that is taken back before it begins.", BOUGHT, "SUBSCRIPTION_PAUSED", RENEWED)
def _pause_withdrawn(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story), story.then(play.pause, 5), story.then(play.withdraw_pause, 2), wait(25)]


@scenario(
    "revoked",
    "The latest order is refunded and access ends.",
    BOUGHT,
    "CANCELLATION CUSTOMER_SUPPORT -9.99",
    "EXPIRATION CUSTOMER_SUPPORT",
)
def _revoked(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story), story.then(play.revoke, 5), wait(1)]


@scenario("older_order_charged_back", "A bank takes back the money of an earlier period.", BOUGHT, RENEWED)
def _older(play: "FakePlay", story: Story) -> Sequence[Step]:
    charge_back = story.then(lambda token: play.charge_back(play.subscription(token).orders[0]), 2)
    return [buy(play, story), wait(32), charge_back, wait(1)]


@scenario("refund_without_revoke", "The latest order is refunded, the subscription goes on.", BOUGHT, RENEWED)
def _refund_only(play: "FakePlay", story: Story) -> Sequence[Step]:
    refund = story.then(lambda token: play.refund_order(play.subscription(token).orders[0], revoke=False), 5)
    return [buy(play, story), refund, wait(27)]
