"""Stories of one Google Play customer and the events each must lead to (spec: stores 13.2, events 6)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bellwire.simulator.google.calendar import DAY_MS
from bellwire.simulator.notifier import Mode
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


def _scenario(name: str, description: str, *expected: str) -> Callable[[Telling], Telling]:
    def register(telling: Telling) -> Telling:
        SCENARIOS[name] = Scenario(
            name=name, description=description, steps=lambda play: telling(play, Story()), expected=expected
        )
        return telling

    return register


def _buy(
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


@_scenario(
    "trial_converts",
    "A trial converts and renews twice.",
    "INITIAL_PURCHASE TRIAL 0",
    f"{RENEWED} CONVERSION",
    RENEWED,
    RENEWED,
)
def _trial_converts(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story, trial=True), wait(8), wait(31), wait(31)]


@_scenario(
    "trial_cancelled",
    "A trial is cancelled and runs out.",
    "INITIAL_PURCHASE TRIAL 0",
    "CANCELLATION UNSUBSCRIBE",
    "EXPIRATION UNSUBSCRIBE",
)
def _trial_cancelled(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [
        _buy(play, story, trial=True),
        story.then(lambda token: play.cancel(token, survey=("COST_RELATED", None)), 2),
        wait(6),
    ]


@_scenario(
    "trial_cancelled_resubscribed",
    "Ten days after a cancelled trial ran out, its plan is bought again in Google Play.",
    "INITIAL_PURCHASE TRIAL 0",
    "CANCELLATION UNSUBSCRIBE",
    "EXPIRATION UNSUBSCRIBE",
    BOUGHT,
)
def _resubscribed(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [*_trial_cancelled(play, story), story.then(play.resubscribe, 10)]


@_scenario(
    "cancel_and_restart",
    "Renewal is switched off and on again before the end.",
    BOUGHT,
    "CANCELLATION UNSUBSCRIBE",
    "UNCANCELLATION",
    RENEWED,
)
def _restarted(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story), story.then(play.cancel, 5), story.then(play.restart, 2), wait(25)]


@_scenario(
    "cancelled_by_developer",
    "The developer stops the renewals.",
    BOUGHT,
    "CANCELLATION DEVELOPER_INITIATED",
    "EXPIRATION DEVELOPER_INITIATED",
)
def _developer(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story), story.then(play.cancel_by_developer, 5), wait(27)]


@_scenario(
    "signed_up_again",
    "The same plan is bought again in the app while the cancelled one still runs.",
    BOUGHT,
    "CANCELLATION UNSUBSCRIBE",
    BOUGHT,
)
def _signed_up_again(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story), story.then(play.cancel, 5), story.then(play.sign_up_again, 5), wait(1)]


@_scenario(
    "introductory_price",
    "Two months at an introductory price.",
    "INITIAL_PURCHASE INTRO 1.99",
    "RENEWAL INTRO 1.99",
    RENEWED,
)
def _intro(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story, intro=True), wait(31), wait(31)]


@_scenario(
    "trial_then_introductory_price",
    "A trial, then two months at an introductory price.",
    "INITIAL_PURCHASE TRIAL 0",
    "RENEWAL INTRO 1.99 CONVERSION",
    "RENEWAL INTRO 1.99",
    RENEWED,
)
def _trial_intro(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story, trial=True, intro=True), wait(8), wait(31), wait(31)]


@_scenario("offer_code", "A trial with a promotion code.", "INITIAL_PURCHASE TRIAL 0")
def _offer_code(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [story.then(lambda _: play.purchase(PRO, trial=True, promotion_code="SPRING")), wait(1)]


@_scenario("sandbox", "A licence tester's purchase and renewal.", BOUGHT, RENEWED)
def _sandbox(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story, test=True), wait(32)]


@_scenario(
    "upgrade_full_price",
    "An upgrade that is charged in full at once.",
    "INITIAL_PURCHASE NORMAL 4.99",
    "PRODUCT_CHANGE basic:monthly",
    BOUGHT,
)
def _upgrade_full(play: "FakePlay", story: Story) -> Sequence[Step]:
    change = story.then(lambda token: play.change_plan(token, PRO, "CHARGE_FULL_PRICE"), 10)
    return [_buy(play, story, BASIC), change, wait(5)]


@_scenario(
    "upgrade_without_proration",
    "An upgrade now that is charged from the next billing date on.",
    "INITIAL_PURCHASE NORMAL 4.99",
    "PRODUCT_CHANGE basic:monthly",
    "INITIAL_PURCHASE NORMAL 0",
    RENEWED,
)
def _upgrade_free(play: "FakePlay", story: Story) -> Sequence[Step]:
    change = story.then(lambda token: play.change_plan(token, PRO, "WITHOUT_PRORATION"), 10)
    return [_buy(play, story, BASIC), change, wait(22)]


@_scenario(
    "upgrade_with_time_proration",
    "An upgrade whose first days are paid with what is left of the old plan.",
    "INITIAL_PURCHASE NORMAL 4.99",
    "PRODUCT_CHANGE basic:monthly",
    "INITIAL_PURCHASE NORMAL 0",
)
def _upgrade_time(play: "FakePlay", story: Story) -> Sequence[Step]:
    change = story.then(lambda token: play.change_plan(token, PRO, "WITH_TIME_PRORATION"), 10)
    return [_buy(play, story, BASIC), change, wait(5)]


@_scenario(
    "deferred_downgrade",
    "A downgrade at the end of the period.",
    BOUGHT,
    "PRODUCT_CHANGE pro:monthly basic:monthly",
    "RENEWAL NORMAL 4.99",
)
def _deferred(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story), story.then(lambda token: play.change_plan(token, BASIC, "DEFERRED"), 10), wait(23)]


@_scenario(
    "deferred_downgrade_withdrawn",
    "A downgrade at the end of the period that is taken back.",
    BOUGHT,
    "PRODUCT_CHANGE pro:monthly basic:monthly",
    "PRODUCT_CHANGE pro:monthly pro:monthly",
    RENEWED,
)
def _withdrawn(play: "FakePlay", story: Story) -> Sequence[Step]:
    change = story.then(lambda token: play.change_plan(token, BASIC, "DEFERRED"), 10)
    return [_buy(play, story), change, story.then(play.withdraw_change, 5), wait(17)]


@_scenario(
    "grace_recovered",
    "A charge fails; it is mended in the grace period.",
    BOUGHT,
    "BILLING_ISSUE GRACE",
    FAILED,
    RENEWED,
)
def _grace_recovered(play: "FakePlay", story: Story) -> Sequence[Step]:
    fail = story.then(lambda token: play.fail_payment(token, "grace"), 1)
    return [_buy(play, story), fail, wait(31), story.then(play.recover, 2), wait(1)]


@_scenario(
    "grace_lost",
    "A charge fails and is never mended.",
    BOUGHT,
    "BILLING_ISSUE GRACE",
    FAILED,
    "EXPIRATION BILLING_ERROR",
)
def _grace_lost(play: "FakePlay", story: Story) -> Sequence[Step]:
    fail = story.then(lambda token: play.fail_payment(token, "grace"), 1)
    return [_buy(play, story), fail, wait(31), wait(8), wait(31)]


@_scenario(
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
    return [_buy(play, story), fail, wait(31), story.then(play.recover, 5), wait(1)]


@_scenario(
    "pause_and_resume",
    "A pause of a month, and back.",
    BOUGHT,
    "SUBSCRIPTION_PAUSED",
    "EXPIRATION SUBSCRIPTION_PAUSED",
    RENEWED,
)
def _paused(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story), story.then(play.pause, 5), wait(27), wait(31)]


@_scenario(
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
    return [_buy(play, story), story.then(play.pause, 5), wait(27), fail, wait(31)]


@_scenario("pause_withdrawn", "A pause that is taken back before it begins.", BOUGHT, "SUBSCRIPTION_PAUSED", RENEWED)
def _pause_withdrawn(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story), story.then(play.pause, 5), story.then(play.withdraw_pause, 2), wait(25)]


@_scenario(
    "revoked",
    "The latest order is refunded and access ends.",
    BOUGHT,
    "CANCELLATION CUSTOMER_SUPPORT -9.99",
    "EXPIRATION CUSTOMER_SUPPORT",
)
def _revoked(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story), story.then(play.revoke, 5), wait(1)]


@_scenario("older_order_charged_back", "A bank takes back the money of an earlier period.", BOUGHT, RENEWED)
def _older(play: "FakePlay", story: Story) -> Sequence[Step]:
    charge_back = story.then(lambda token: play.charge_back(play.subscription(token).orders[0]), 2)
    return [_buy(play, story), wait(32), charge_back, wait(1)]


@_scenario("refund_without_revoke", "The latest order is refunded, the subscription goes on.", BOUGHT, RENEWED)
def _refund_only(play: "FakePlay", story: Story) -> Sequence[Step]:
    refund = story.then(lambda token: play.refund_order(play.subscription(token).orders[0], revoke=False), 5)
    return [_buy(play, story), refund, wait(27)]


@_scenario("deferred_billing", "The developer moves the billing date.", BOUGHT, "SUBSCRIPTION_EXTENDED", RENEWED)
def _extended(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story), story.then(lambda token: play.defer(token, 10 * DAY_MS), 5), wait(37)]


@_scenario(
    "price_increase_accepted",
    "A higher price that the customer agrees to.",
    BOUGHT,
    "PRICE_INCREASE_CONSENT_REQUIRED",
    "PRICE_INCREASE_CONSENT_APPROVED",
    "RENEWAL NORMAL 12.99",
)
def _price_accepted(play: "FakePlay", story: Story) -> Sequence[Step]:
    ask = story.then(lambda token: play.change_price(token, 12_990_000), 5)
    return [_buy(play, story), ask, story.then(play.accept_price, 5), wait(22)]


@_scenario(
    "price_increase_declined",
    "A higher price that the customer does not agree to.",
    BOUGHT,
    "PRICE_INCREASE_CONSENT_REQUIRED",
    "CANCELLATION PRICE_INCREASE",
    "EXPIRATION PRICE_INCREASE",
)
def _price_declined(play: "FakePlay", story: Story) -> Sequence[Step]:
    ask = story.then(lambda token: play.change_price(token, 12_990_000), 5)
    return [_buy(play, story), ask, wait(27)]


@_scenario(
    "installments_cancelled",
    "A plan with a commitment is cancelled: it runs to the end of the commitment.",
    "INITIAL_PURCHASE NORMAL 7.99",
    "CANCELLATION UNSUBSCRIBE",
)
def _installments(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story, "pro:installments"), story.then(play.cancel, 5), wait(1)]


@_scenario(
    "prepaid_expires",
    "A prepaid plan runs out.",
    "INITIAL_PURCHASE PREPAID 9.99",
    "EXPIRATION UNSUBSCRIBE",
)
def _prepaid(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story, PREPAID), wait(32)]


@_scenario(
    "prepaid_top_up",
    "A prepaid plan is bought again before it ends.",
    "INITIAL_PURCHASE PREPAID 9.99",
    "EXPIRATION UNSUBSCRIBE",
    "INITIAL_PURCHASE PREPAID 9.99",
)
def _top_up(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story, PREPAID), story.then(play.top_up, 20), wait(20)]


@_scenario(
    "add_on_added",
    "An add-on joins a running subscription.",
    BOUGHT,
    "PRODUCT_CHANGE pro:monthly",
    "INITIAL_PURCHASE NORMAL 2.99",
)
def _add_on(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story), story.then(lambda token: play.add_item(token, EXTRA), 5), wait(1)]


@_scenario("bundle", "A subscription with an add-on, bought together.", "INITIAL_PURCHASE NORMAL 12.98")
def _bundle(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [story.then(lambda _: play.purchase(PRO, add_ons=(EXTRA,))), wait(1)]


@_scenario("pending_completed", "A purchase whose payment arrives two days later.", BOUGHT)
def _pending(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story, pending=True), story.then(play.complete_pending, 2), wait(1)]


@_scenario("pending_given_up", "A purchase whose payment never arrives.")
def _given_up(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [_buy(play, story, pending=True), story.then(play.give_up_pending, 2), wait(1)]


@_scenario(
    "consumable_twice",
    "A consumable, bought twice.",
    "NON_RENEWING_PURCHASE NORMAL 1.99",
    "NON_RENEWING_PURCHASE NORMAL 1.99",
)
def _consumable(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [story.then(lambda _: play.buy("coins_100")), story.then(lambda _: play.buy("coins_100"), 1), wait(1)]


@_scenario(
    "lifetime_refunded",
    "A one-time product is refunded.",
    "NON_RENEWING_PURCHASE NORMAL 99.99",
    "CANCELLATION CUSTOMER_SUPPORT -99.99",
)
def _lifetime(play: "FakePlay", story: Story) -> Sequence[Step]:
    return [story.then(lambda _: play.buy("lifetime")), story.then(play.refund_product, 2), wait(1)]


@_scenario(
    "quantity_refunded_in_parts",
    "One of three is refunded, then the rest.",
    "NON_RENEWING_PURCHASE NORMAL 5.97",
    "CANCELLATION CUSTOMER_SUPPORT -5.97",
)
def _quantity(play: "FakePlay", story: Story) -> Sequence[Step]:
    part = story.then(lambda token: play.refund_product(token, quantity=1), 1)
    return [story.then(lambda _: play.buy("coins_100", quantity=3)), part, story.then(play.refund_product, 1), wait(1)]


@_scenario(
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
        _buy(play, story),
        lose,
        story.then(play.revoke, 1),
        story.then(lambda _: notifier.set_mode(Mode.NORMAL), 2),
        wait(1),
    ]


@_scenario("duplicated_delivery", "Every notification comes twice.", BOUGHT, RENEWED)
def _duplicated(play: "FakePlay", story: Story) -> Sequence[Step]:
    notifier = play.kernel.notifier
    return [
        story.then(lambda _: notifier.set_mode(Mode.DUPLICATE)),
        _buy(play, story),
        wait(32),
        story.then(lambda _: notifier.set_mode(Mode.NORMAL), 0.1),
    ]


@_scenario(
    "replacement_before_original",
    "Purchase and upgrade are told together and in any order: only what is true now is dispatched.",
    BOUGHT,
)
def _any_order(play: "FakePlay", story: Story) -> Sequence[Step]:
    notifier = play.kernel.notifier
    return [
        story.then(lambda _: notifier.set_mode(Mode.PAUSE)),
        _buy(play, story, BASIC),
        story.then(lambda token: play.change_plan(token, PRO, "CHARGE_FULL_PRICE"), 1),
        story.then(lambda _: notifier.set_mode(Mode.SHUFFLE), 0.1),
        story.then(lambda _: notifier.set_mode(Mode.NORMAL), 0.1),
    ]


@_scenario(
    "three_years_of_history", "Nobody listened for three years; then it is cancelled.", "CANCELLATION UNSUBSCRIBE"
)
def _history(play: "FakePlay", story: Story) -> Sequence[Step]:
    notifier = play.kernel.notifier
    return [
        story.then(lambda _: notifier.set_mode(Mode.DROP)),
        _buy(play, story),
        story.then(play.acknowledge, 1),
        *[wait(31) for _ in range(36)],
        story.then(lambda _: notifier.set_mode(Mode.NORMAL), 1),
        story.then(play.cancel, 1),
        wait(0.1),
    ]
