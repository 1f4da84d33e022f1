"""Pending payments, one-time products, and a wire that misbehaves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bellwire.simulator.google.telling import BASIC, BOUGHT, PRO, RENEWED, Story, buy, scenario, wait
from bellwire.simulator.notifier import Mode
from bellwire.simulator.scenario import Step

if TYPE_CHECKING:
    from bellwire.simulator.google.play import FakePlay


@scenario("pending_completed", "A purchase whose payment arrives two days later.", BOUGHT)
def _pending(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story, pending=True), story.then(play.complete_pending, 2), wait(1)]


@scenario("pending_given_up", "A purchase whose payment never arrives.")
def _given_up(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [buy(play, story, pending=True), story.then(play.give_up_pending, 2), wait(1)]


@scenario(
    "consumable_twice",
    "A consumable, bought twice.",
    "NON_RENEWING_PURCHASE NORMAL 1.99",
    "NON_RENEWING_PURCHASE NORMAL 1.99",
)
def _consumable(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [story.then(lambda _: play.buy("coins_100")), story.then(lambda _: play.buy("coins_100"), 1), wait(1)]


@scenario(
    "lifetime_refunded",
    "A one-time product is refunded.",
    "NON_RENEWING_PURCHASE NORMAL 99.99",
    "CANCELLATION CUSTOMER_SUPPORT -99.99",
)
def _lifetime(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [story.then(lambda _: play.buy("lifetime")), story.then(play.refund_product, 2), wait(1)]


@scenario(
    "quantity_refunded_in_parts",
    "One of three is refunded, then the rest.",
    "NON_RENEWING_PURCHASE NORMAL 5.97",
    "CANCELLATION CUSTOMER_SUPPORT -5.97",
)
def _quantity(play: "FakePlay", story: Story) -> Sequence[Step]:
    part = story.then(lambda token: play.refund_product(token, quantity=1), 1)
    return [story.then(lambda _: play.buy("coins_100", quantity=3)), part, story.then(play.refund_product, 1), wait(1)]


@scenario(
    "missed_notifications",
    "Three days of notifications are lost, a revocation among them; the voided purchases tell.",
    BOUGHT,
    "CANCELLATION CUSTOMER_SUPPORT -9.99",
    "EXPIRATION CUSTOMER_SUPPORT",
)
def _missed(play: "FakePlay", story: Story) -> Sequence[Step]:
    notifier = play.kernel.notifier
    lose = story.then(lambda _: notifier.set_mode(Mode.DROP), 5)
    return [
        buy(play, story),
        lose,
        story.then(play.revoke, 1),
        story.then(lambda _: notifier.set_mode(Mode.NORMAL), 2),
        wait(1),
    ]


@scenario("duplicated_delivery", "Every notification comes twice.", BOUGHT, RENEWED)
def _duplicated(play: "FakePlay", story: Story) -> Sequence[Step]:
    notifier = play.kernel.notifier
    return [
        story.then(lambda _: notifier.set_mode(Mode.DUPLICATE)),
        buy(play, story),
        wait(32),
        story.then(lambda _: notifier.set_mode(Mode.NORMAL), 0.1),
    ]


@scenario(
    "replacement_before_original",
    "Purchase and upgrade are told together and in any order: only what is true now is dispatched.",
    BOUGHT,
)
def _any_order(play: "FakePlay", story: Story) -> Sequence[Step]:
    notifier = play.kernel.notifier
    return [
        story.then(lambda _: notifier.set_mode(Mode.PAUSE)),
        buy(play, story, BASIC),
        story.then(lambda token: play.change_plan(token, PRO, "CHARGE_FULL_PRICE"), 1),
        story.then(lambda _: notifier.set_mode(Mode.SHUFFLE), 0.1),
        story.then(lambda _: notifier.set_mode(Mode.NORMAL), 0.1),
    ]


@scenario(
    "three_years_of_history", "Nobody listened for three years; then it is cancelled.", "CANCELLATION UNSUBSCRIBE"
)
def _history(play: "FakePlay", story: Story) -> Sequence[Step]:
    notifier = play.kernel.notifier
    return [
        story.then(lambda _: notifier.set_mode(Mode.DROP)),
        buy(play, story),
        story.then(play.acknowledge, 1),
        *[wait(31) for _ in range(36)],
        story.then(lambda _: notifier.set_mode(Mode.NORMAL), 1),
        story.then(play.cancel, 1),
        wait(0.1),
    ]
