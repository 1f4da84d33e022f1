"""Stories that the fake App Store plays, each with the events it must lead to (spec: stores 13.2, 11.6b; events 6, 14).

A month is advanced as 31 days, so that one renewal lies in each step whatever the calendar says.
"""

from collections.abc import Callable, Sequence

from bellwire.simulator.apple.calendar import DAY_MS
from bellwire.simulator.apple.catalogue import OFFER_CODE, Discount, Offer
from bellwire.simulator.apple.records import SANDBOX
from bellwire.simulator.apple.store import FakeAppStore
from bellwire.simulator.notifier import Mode
from bellwire.simulator.scenario import Post, Scenario, Step

MONTH_MS = 31 * DAY_MS
WEEK_MS = 7 * DAY_MS

Act = Callable[["Story"], Post | None]


class Story:
    """One customer of a scenario: remembers the purchase that later steps speak of."""

    def __init__(self, store: FakeAppStore) -> None:
        self.store = store
        self.key = ""


def _story(*steps: tuple[int, Act]) -> Callable[[FakeAppStore], Sequence[Step]]:
    """Steps that share one `Story`."""

    def play(store: FakeAppStore) -> Sequence[Step]:
        story = Story(store)
        return [(advance_ms, _bound(act, story)) for advance_ms, act in steps]

    return play


def _bound(act: Act, story: Story) -> Callable[[], Post | None]:
    return lambda: act(story)


def _buy(
    product_id: str,
    *,
    trial: bool = False,
    intro: bool = False,
    offer: Offer | None = None,
    environment: str = "Production",
) -> Act:
    def act(story: Story) -> None:
        account = story.store.owner_of(story.key, environment)
        story.key = story.store.purchase(
            product_id,
            trial=trial,
            intro=intro,
            offer=offer,
            environment=environment,
            account=None if account is None else account.id,
        )

    return act


def _wait(_story: Story) -> None:
    """Only time goes by."""


def _cancel(story: Story) -> None:
    story.store.cancel(story.key)


def _reenable(story: Story) -> None:
    story.store.reenable(story.key)


def _recover(story: Story) -> None:
    story.store.recover(story.key)


def _fail(*, grace: bool) -> Act:
    return lambda story: story.store.fail_payment(story.key, grace=grace)


def _refund(story: Story) -> None:
    story.store.refund(story.key)


def _refund_half(story: Story) -> None:
    story.store.refund(story.key, percentage=50_000)


def _refund_first(story: Story) -> None:
    story.store.refund(story.key, transaction_id=story.key)


def _reverse(story: Story) -> None:
    story.store.reverse_refund(story.key)


def _resubscribe(story: Story) -> None:
    story.store.resubscribe(story.key)


def _upgrade(product_id: str) -> Act:
    def act(story: Story) -> None:
        story.store.upgrade(story.key, product_id)

    return act


def _downgrade(product_id: str) -> Act:
    return lambda story: story.store.downgrade(story.key, product_id)


def _keep(story: Story) -> None:
    story.store.keep_product(story.key)


def _share(story: Story) -> None:
    story.key = story.store.share_with_family(story.key)


def _unshare(story: Story) -> None:
    story.store.stop_sharing(story.key)


def _extend(story: Story) -> None:
    story.store.extend(story.key, 10)


def _raise_price(*, consent: bool) -> Act:
    return lambda story: story.store.raise_price(story.key, 12_990_000, consent=consent)


def _accept(story: Story) -> None:
    story.store.accept_price(story.key)


def _off_sale(story: Story) -> None:
    story.store.take_off_sale(story.key)


def _redeem(story: Story) -> None:
    story.store.redeem_offer(story.key, "WELCOME_BACK", price_micros=3_990_000)


def _wire(mode: Mode) -> Act:
    return lambda story: story.store.kernel.notifier.set_mode(mode)


def _post(story: Story) -> Post:
    return Post(story.key)


_SPRING = Offer(
    type=OFFER_CODE, discount=Discount.PAY_UP_FRONT, period="P1M", price_micros=4_990_000, identifier="SPRING"
)

_IP, _RN = "INITIAL_PURCHASE NORMAL 9.99", "RENEWAL NORMAL 9.99"
_TRIAL, _CONVERTED = "INITIAL_PURCHASE TRIAL 0", "RENEWAL NORMAL 9.99 CONVERSION"
_CANCELLED, _LAPSED = "CANCELLATION UNSUBSCRIBE", "EXPIRATION UNSUBSCRIBE"
_UNPAID, _UNPAID_END = "CANCELLATION BILLING_ERROR", "EXPIRATION BILLING_ERROR"
_COINS = "NON_RENEWING_PURCHASE NORMAL 1.99"


def _scenario(name: str, description: str, steps: Sequence[tuple[int, Act]], *expected: str) -> Scenario[FakeAppStore]:
    return Scenario(name=name, description=description, steps=_story(*steps), expected=expected)


_ALL: tuple[Scenario[FakeAppStore], ...] = (
    _scenario(
        "trial_converts",
        "A trial converts and renews twice.",
        [(0, _buy("pro_monthly", trial=True)), (WEEK_MS, _wait), (MONTH_MS, _wait), (MONTH_MS, _wait)],
        *(_TRIAL, _CONVERTED, _RN, _RN),
    ),
    _scenario(
        "trial_toggled",
        "A trial is cancelled and taken up again, then converts.",
        [
            (0, _buy("pro_monthly", trial=True)),
            (2 * DAY_MS, _cancel),
            (DAY_MS, _reenable),
            (4 * DAY_MS, _wait),
        ],
        *(_TRIAL, _CANCELLED, "UNCANCELLATION", _CONVERTED),
    ),
    _scenario(
        "trial_cancelled",
        "A trial is cancelled and lapses.",
        [(0, _buy("pro_monthly", trial=True)), (2 * DAY_MS, _cancel), (5 * DAY_MS, _wait)],
        *(_TRIAL, _CANCELLED, _LAPSED),
    ),
    _scenario(
        "trial_resubscribed",
        "A lapsed trial subscribes ten days later, in the same group.",
        [
            (0, _buy("pro_monthly", trial=True)),
            (2 * DAY_MS, _cancel),
            (5 * DAY_MS, _wait),
            (10 * DAY_MS, _resubscribe),
        ],
        *(_TRIAL, _CANCELLED, _LAPSED, _CONVERTED),
    ),
    _scenario(
        "trial_unpaid",
        "The first charge after a trial fails, without grace.",
        [(0, _buy("pro_monthly", trial=True)), (DAY_MS, _fail(grace=False)), (6 * DAY_MS, _wait)],
        *(_TRIAL, "BILLING_ISSUE", _UNPAID, _UNPAID_END),
    ),
    _scenario(
        "paid_intro",
        "Two months at an introductory price, then the regular one.",
        [(0, _buy("pro_monthly", intro=True)), (MONTH_MS, _wait), (MONTH_MS, _wait)],
        *("INITIAL_PURCHASE INTRO 1.99", "RENEWAL INTRO 1.99", _RN),
    ),
    _scenario(
        "cancel_and_lapse",
        "A subscription is cancelled and lapses.",
        [(0, _buy("pro_monthly")), (10 * DAY_MS, _cancel), (MONTH_MS, _wait)],
        *(_IP, _CANCELLED, _LAPSED),
    ),
    _scenario(
        "upgrade",
        "Ten days into the month the customer upgrades at once.",
        [(0, _buy("basic_monthly")), (10 * DAY_MS, _upgrade("pro_monthly"))],
        *("INITIAL_PURCHASE NORMAL 4.99", "PRODUCT_CHANGE basic_monthly pro_monthly", _RN),
    ),
    _scenario(
        "downgrade",
        "A downgrade is announced and takes effect at the renewal.",
        [(0, _buy("pro_monthly")), (10 * DAY_MS, _downgrade("basic_monthly")), (MONTH_MS - 10 * DAY_MS, _wait)],
        *(_IP, "PRODUCT_CHANGE pro_monthly basic_monthly", "RENEWAL NORMAL 4.99"),
    ),
    _scenario(
        "downgrade_reverted",
        "A downgrade is announced and taken back.",
        [
            (0, _buy("pro_monthly")),
            (10 * DAY_MS, _downgrade("basic_monthly")),
            (DAY_MS, _keep),
            (MONTH_MS - 11 * DAY_MS, _wait),
        ],
        *(
            _IP,
            "PRODUCT_CHANGE pro_monthly basic_monthly",
            "PRODUCT_CHANGE pro_monthly pro_monthly",
            _RN,
        ),
    ),
    _scenario(
        "grace_recovered",
        "A payment fails and succeeds ten days into the grace period.",
        [(0, _buy("pro_monthly")), (DAY_MS, _fail(grace=True)), (MONTH_MS, _wait), (9 * DAY_MS, _recover)],
        *(_IP, "BILLING_ISSUE GRACE", _UNPAID, _RN),
    ),
    _scenario(
        "grace_lost",
        "A payment fails for longer than the grace period, and for good.",
        [
            (0, _buy("pro_monthly")),
            (DAY_MS, _fail(grace=True)),
            (MONTH_MS, _wait),
            (20 * DAY_MS, _wait),
            (60 * DAY_MS, _wait),
        ],
        *(_IP, "BILLING_ISSUE GRACE", _UNPAID, _UNPAID_END),
    ),
    _scenario(
        "retry_recovered",
        "A payment fails without grace and succeeds five days later.",
        [(0, _buy("pro_monthly")), (DAY_MS, _fail(grace=False)), (MONTH_MS, _wait), (5 * DAY_MS, _recover)],
        *(_IP, "BILLING_ISSUE", _UNPAID, _UNPAID_END, _RN),
    ),
    _scenario(
        "retry_lost",
        "A payment fails without grace and Apple gives up after 60 days.",
        [(0, _buy("pro_monthly")), (DAY_MS, _fail(grace=False)), (MONTH_MS, _wait), (61 * DAY_MS, _wait)],
        *(_IP, "BILLING_ISSUE", _UNPAID, _UNPAID_END),
    ),
    _scenario(
        "cancelled_while_unpaid",
        "A customer cancels in the grace period: the failed payment has said so already.",
        [(0, _buy("pro_monthly")), (DAY_MS, _fail(grace=True)), (MONTH_MS, _wait), (DAY_MS, _cancel)],
        *(_IP, "BILLING_ISSUE GRACE", _UNPAID),
    ),
    _scenario(
        "refund_latest",
        "The running period is refunded.",
        [(0, _buy("pro_monthly")), (5 * DAY_MS, _refund)],
        *(_IP, "CANCELLATION CUSTOMER_SUPPORT -9.99", "EXPIRATION CUSTOMER_SUPPORT"),
    ),
    _scenario(
        "refund_half",
        "Half of the running period is refunded, which ends it all the same.",
        [(0, _buy("pro_monthly")), (5 * DAY_MS, _refund_half)],
        *(_IP, "CANCELLATION CUSTOMER_SUPPORT -4.995", "EXPIRATION CUSTOMER_SUPPORT"),
    ),
    _scenario(
        "refund_older",
        "An earlier period is refunded: no event.",
        [(0, _buy("pro_monthly")), (MONTH_MS, _wait), (DAY_MS, _refund_first)],
        *(_IP, _RN),
    ),
    _scenario(
        "refund_reversed",
        "A refund is taken back while the period still runs.",
        [(0, _buy("pro_monthly")), (5 * DAY_MS, _refund), (5 * DAY_MS, _reverse)],
        *(_IP, "CANCELLATION CUSTOMER_SUPPORT -9.99", "EXPIRATION CUSTOMER_SUPPORT", "REFUND_REVERSED 9.99"),
    ),
    _scenario(
        "family",
        "A subscription is shared with the family and the sharing ends.",
        [(0, _buy("pro_monthly")), (DAY_MS, _share), (5 * DAY_MS, _unshare)],
        *(_IP, "INITIAL_PURCHASE NORMAL 0", "CANCELLATION UNKNOWN", "EXPIRATION UNKNOWN"),
    ),
    _scenario(
        "extension",
        "The developer gives ten days more; then it renews.",
        [(0, _buy("pro_monthly")), (DAY_MS, _extend), (MONTH_MS + 10 * DAY_MS, _wait)],
        *(_IP, "SUBSCRIPTION_EXTENDED", _RN),
    ),
    _scenario(
        "price_accepted",
        "A higher price needs consent and gets it.",
        [
            (0, _buy("pro_monthly")),
            (5 * DAY_MS, _raise_price(consent=True)),
            (5 * DAY_MS, _accept),
            (MONTH_MS - 10 * DAY_MS, _wait),
        ],
        *(
            _IP,
            "PRICE_INCREASE_CONSENT_REQUIRED",
            "PRICE_INCREASE_CONSENT_APPROVED",
            "RENEWAL NORMAL 12.99",
        ),
    ),
    _scenario(
        "price_declined",
        "A higher price needs consent and does not get it.",
        [(0, _buy("pro_monthly")), (5 * DAY_MS, _raise_price(consent=True)), (MONTH_MS - 5 * DAY_MS, _wait)],
        *(
            _IP,
            "PRICE_INCREASE_CONSENT_REQUIRED",
            "CANCELLATION PRICE_INCREASE",
            "EXPIRATION PRICE_INCREASE",
        ),
    ),
    _scenario(
        "price_announced",
        "A higher price without need of consent: only the next renewal shows it.",
        [(0, _buy("pro_monthly")), (5 * DAY_MS, _raise_price(consent=False)), (MONTH_MS - 5 * DAY_MS, _wait)],
        *(_IP, "RENEWAL NORMAL 12.99"),
    ),
    _scenario(
        "off_sale",
        "The product is taken off sale and cannot renew.",
        [(0, _buy("pro_monthly")), (DAY_MS, _off_sale), (MONTH_MS, _wait)],
        *(_IP, "EXPIRATION DEVELOPER_INITIATED"),
    ),
    _scenario(
        "lifetime_refunded",
        "A product is bought for good, and refunded.",
        [(0, _buy("lifetime")), (DAY_MS, _refund)],
        *("NON_RENEWING_PURCHASE NORMAL 99.99", "CANCELLATION CUSTOMER_SUPPORT -99.99"),
    ),
    _scenario(
        "consumables",
        "A consumable is bought twice, the second one refunded.",
        [(0, _buy("coins_100")), (DAY_MS, _buy("coins_100")), (DAY_MS, _refund)],
        *(_COINS, _COINS, "CANCELLATION CUSTOMER_SUPPORT -1.99"),
    ),
    _scenario(
        "non_renewing",
        "A subscription that does not renew.",
        [(0, _buy("season_pass"))],
        "NON_RENEWING_PURCHASE NORMAL 19.99",
    ),
    _scenario(
        "offer_code",
        "A subscription starts with an offer code.",
        [(0, _buy("pro_monthly", offer=_SPRING)), (MONTH_MS, _wait)],
        *("INITIAL_PURCHASE INTRO 4.99", _RN),
    ),
    _scenario(
        "offer_redeemed",
        "A subscriber redeems an offer code for the next period.",
        [(0, _buy("pro_monthly")), (5 * DAY_MS, _redeem), (MONTH_MS - 5 * DAY_MS, _wait)],
        *(_IP, "RENEWAL INTRO 3.99"),
    ),
    _scenario(
        "sandbox",
        "A tester's subscription.",
        [(0, _buy("pro_monthly", environment=SANDBOX)), (MONTH_MS, _wait)],
        *(_IP, _RN),
    ),
    _scenario(
        "missed_notifications",
        "Nothing arrives for three days; the hub asks for what it missed.",
        [
            (0, _buy("pro_monthly")),
            (DAY_MS, _wire(Mode.DROP)),
            (DAY_MS, _cancel),
            (2 * DAY_MS, _wire(Mode.NORMAL)),
        ],
        *(_IP, _CANCELLED),
    ),
    _scenario(
        "duplicated_delivery",
        "Every notification arrives twice.",
        [
            (0, _wire(Mode.DUPLICATE)),
            (0, _buy("pro_monthly", trial=True)),
            (2 * DAY_MS, _cancel),
            (5 * DAY_MS, _wait),
            (0, _wire(Mode.NORMAL)),
        ],
        *(_TRIAL, _CANCELLED, _LAPSED),
    ),
    _scenario(
        "shuffled_delivery",
        "Notifications pile up and arrive in another order.",
        [
            (0, _wire(Mode.PAUSE)),
            *((1_000, _buy("coins_100")) for _ in range(4)),
            (0, _wire(Mode.SHUFFLE)),
            (0, _wait),
            (0, _wire(Mode.NORMAL)),
        ],
        *(_COINS, _COINS, _COINS, _COINS),
    ),
    _scenario(
        "historical_import",
        "A subscription of three years is first heard of from the customer's SDK.",
        [
            (0, _wire(Mode.DROP)),
            (0, _buy("pro_monthly")),
            (3 * 365 * DAY_MS + 2 * DAY_MS, _wait),
            (0, _wire(Mode.NORMAL)),
            (0, _post),
        ],
        _RN,
    ),
    _scenario(
        "sdk_races",
        "The SDK posts the purchase before its notification arrives.",
        [(0, _wire(Mode.PAUSE)), (0, _buy("pro_monthly")), (1_000, _post), (1_000, _wire(Mode.NORMAL)), (0, _wait)],
        _IP,
    ),
)

SCENARIOS: dict[str, Scenario[FakeAppStore]] = {scenario.name: scenario for scenario in _ALL}
