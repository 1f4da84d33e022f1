"""Trials, introductory prices, cancellations, prices, prepaid plans."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bellwire.simulator.google.calendar import DAY_MS
from bellwire.simulator.google.telling import BOUGHT, PREPAID, PRO, RENEWED, Story, buy, scenario, wait
from bellwire.simulator.scenario import Step

if TYPE_CHECKING:
    from bellwire.simulator.google.play import FakePlay


@scenario(
    "trial_converts",
    "A trial converts and renews twice.",
    "INITIAL_PURCHASE TRIAL 0",
    f"{RENEWED} CONVERSION",
    RENEWED,
    RENEWED,
)
def _trial_converts(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story, trial=True), wait(8), wait(31), wait(31)]


@scenario(
    "trial_cancelled",
    "A trial is cancelled and runs out.",
    "INITIAL_PURCHASE TRIAL 0",
    "CANCELLATION UNSUBSCRIBE",
    "EXPIRATION UNSUBSCRIBE",
)
def _trial_cancelled(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [
        buy(play, story, trial=True),
        story.then(lambda token: play.cancel(token, survey=("COST_RELATED", None)), 2),
        wait(6),
    ]


@scenario(
    "trial_cancelled_resubscribed",
    "Ten days after a cancelled trial ran out, its plan is bought again in Google Play.",
    "INITIAL_PURCHASE TRIAL 0",
    "CANCELLATION UNSUBSCRIBE",
    "EXPIRATION UNSUBSCRIBE",
    BOUGHT,
)
def _resubscribed(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [*_trial_cancelled(play, story), story.then(play.resubscribe, 10)]


@scenario(
    "cancel_and_restart",
    "Renewal is switched off and on again before the end.",
    BOUGHT,
    "CANCELLATION UNSUBSCRIBE",
    "UNCANCELLATION",
    RENEWED,
)
def _restarted(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story), story.then(play.cancel, 5), story.then(play.restart, 2), wait(25)]


@scenario(
    "cancelled_by_developer",
    "The developer stops the renewals.",
    BOUGHT,
    "CANCELLATION DEVELOPER_INITIATED",
    "EXPIRATION DEVELOPER_INITIATED",
)
def _developer(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story), story.then(play.cancel_by_developer, 5), wait(27)]


@scenario(
    "introductory_price",
    "Two months at an introductory price.",
    "INITIAL_PURCHASE INTRO 1.99",
    "RENEWAL INTRO 1.99",
    RENEWED,
)
def _intro(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story, intro=True), wait(31), wait(31)]


@scenario(
    "trial_then_introductory_price",
    "A trial, then two months at an introductory price.",
    "INITIAL_PURCHASE TRIAL 0",
    "RENEWAL INTRO 1.99 CONVERSION",
    "RENEWAL INTRO 1.99",
    RENEWED,
)
def _trial_intro(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story, trial=True, intro=True), wait(8), wait(31), wait(31)]


@scenario("offer_code", "A trial with a promotion code.", "INITIAL_PURCHASE TRIAL 0")
def _offer_code(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [story.then(lambda _: play.purchase(PRO, trial=True, promotion_code="SPRING")), wait(1)]


@scenario("sandbox", "A licence tester's purchase and renewal.", BOUGHT, RENEWED)
def _sandbox(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story, test=True), wait(32)]


@scenario("deferred_billing", "The developer moves the billing date.", BOUGHT, "SUBSCRIPTION_EXTENDED", RENEWED)
def _extended(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story), story.then(lambda token: play.defer(token, 10 * DAY_MS), 5), wait(37)]


@scenario(
    "price_increase_accepted",
    "A higher price that the customer agrees to.",
    BOUGHT,
    "PRICE_INCREASE_CONSENT_REQUIRED",
    "PRICE_INCREASE_CONSENT_APPROVED",
    "RENEWAL NORMAL 12.99",
)
def _price_accepted(play: "FakePlay", story: Story) -> Sequence[Step]:
    ask = story.then(lambda token: play.change_price(token, 12_990_000), 5)
    return [buy(play, story), ask, story.then(play.accept_price, 5), wait(22)]


@scenario(
    "price_increase_declined",
    "A higher price that the customer does not agree to.",
    BOUGHT,
    "PRICE_INCREASE_CONSENT_REQUIRED",
    "CANCELLATION PRICE_INCREASE",
    "EXPIRATION PRICE_INCREASE",
)
def _price_declined(play: "FakePlay", story: Story) -> Sequence[Step]:
    ask = story.then(lambda token: play.change_price(token, 12_990_000), 5)
    return [buy(play, story), ask, wait(27)]


@scenario(
    "installments_cancelled",
    "A plan with a commitment is cancelled: it runs to the end of the commitment.",
    "INITIAL_PURCHASE NORMAL 7.99",
    "CANCELLATION UNSUBSCRIBE",
)
def _installments(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story, "pro:installments"), story.then(play.cancel, 5), wait(1)]


@scenario(
    "prepaid_expires",
    "A prepaid plan runs out.",
    "INITIAL_PURCHASE PREPAID 9.99",
    "EXPIRATION UNSUBSCRIBE",
)
def _prepaid(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story, PREPAID), wait(32)]
