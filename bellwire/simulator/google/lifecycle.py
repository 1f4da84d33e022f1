"""What shoppers and developers do with subscriptions; the clock does the rest."""

from bellwire.simulator.google.calendar import DAY_MS
from bellwire.simulator.google.catalogue import Plan
from bellwire.simulator.google.course import (
    BY_DEVELOPER,
    BY_USER,
    CANCELLATION_SCHEDULED,
    CANCELLED,
    CHARGEBACK,
    DEFERRED,
    OTHER,
    PAUSE_CHANGED,
    PENDING_GIVEN_UP,
    PRICE_CHANGED,
    PURCHASED,
    RENEWED,
    RESTARTED,
    STEP_UP_CHANGED,
    Course,
)
from bellwire.simulator.google.records import (
    ACTIVE,
    CANCELED,
    DEVELOPER,
    EXPIRED,
    IN_GRACE,
    ON_HOLD,
    PAUSED,
    PENDING,
    PENDING_CANCELED,
    SYSTEM,
    USER,
    Item,
    PlayError,
    PriceChange,
    StepUp,
    Subscription,
    Term,
)


class Subscriptions(Course):
    """Buying, mending, pausing, cancelling, refunding, repricing. Tokens name purchases."""

    def purchase(
        self,
        key: str,
        *,
        trial: bool = False,
        intro: bool = False,
        pending: bool = False,
        test: bool = False,
        account_id: str | None = None,
        promotion_code: str | None = None,
        add_ons: tuple[str, ...] = (),
    ) -> str:
        """Buy a subscription plan (with add-ons of the same period); the purchase token."""
        plan = self.plan(key)
        items = [Item(plan=plan, price_micros=plan.price_micros, promotion_code=promotion_code)]
        items += [Item(plan=extra, price_micros=extra.price_micros) for extra in map(self.plan, add_ons)]
        items[0].upcoming = _terms(plan, trial=trial, intro=intro)
        items[0].offer_id = "welcome" if items[0].upcoming else None
        subscription = self.open(items, test=test, account_id=account_id)
        if not pending:
            self.begin(subscription)
        self.tell(subscription, PURCHASED)
        return subscription.token

    def complete_pending(self, token: str) -> None:
        """The pending payment arrived."""
        subscription = self._in_state(token, PENDING)
        self.begin(subscription)
        self.tell(subscription, PURCHASED)

    def give_up_pending(self, token: str) -> None:
        """The pending payment will not come."""
        subscription = self._in_state(token, PENDING)
        subscription.state = PENDING_CANCELED
        self.tell(subscription, PENDING_GIVEN_UP)

    def acknowledge(self, token: str) -> None:
        """What an app does that completes its purchases itself."""
        self.subscription(token).acknowledged = True

    def resubscribe(self, token: str) -> str:
        """Buy an expired subscription again in Google Play itself: a new token that names the old one."""
        old = self._in_state(token, EXPIRED)
        plan = old.base.plan
        subscription = self.open([Item(plan=plan, price_micros=plan.price_micros)], test=old.test, account_id=None)
        subscription.expired_token, subscription.expired_account_id = old.token, old.account_id
        self.begin(subscription)
        self.tell(subscription, PURCHASED)
        return subscription.token

    def fail_payment(self, token: str, way: str = "grace") -> None:
        """Let the next charge fail, into `grace`, `hold` or `silent` (a day's grace that nobody is told of)."""
        self.subscription(token).payment_fails = way

    def recover(self, token: str) -> None:
        """The customer mended the payment: in grace the billing date stays, after it a new cycle begins."""
        subscription = self.subscription(token)
        subscription.payment_fails = None
        if subscription.state == IN_GRACE:
            subscription.state = ACTIVE
            self.bill(subscription, subscription.paid_until_ms)
            self.tell(subscription, RENEWED)
        elif subscription.state in (ON_HOLD, PAUSED):
            self._restart_now(subscription)

    def pause(self, token: str, for_ms: int = 30 * DAY_MS) -> None:
        """Ask for a pause of that length at the end of the running period."""
        subscription = self._in_state(token, ACTIVE)
        subscription.pause_for_ms = for_ms
        self.tell(subscription, PAUSE_CHANGED)

    def withdraw_pause(self, token: str) -> None:
        """Take a pause back before it begins."""
        subscription = self._in_state(token, ACTIVE)
        subscription.pause_for_ms = None
        self.tell(subscription, PAUSE_CHANGED)

    def resume(self, token: str) -> None:
        """End a pause by hand; fails into account hold when the payment does."""
        self._end_pause(self._in_state(token, PAUSED))

    def cancel(self, token: str, *, survey: tuple[str, str | None] | None = None, by: str = USER) -> None:
        """Switch renewal off. Installments run to the end of the commitment; hold and pause end at once."""
        subscription = self.subscription(token)
        if subscription.state not in (ACTIVE, IN_GRACE, ON_HOLD, PAUSED):
            raise PlayError(400, "subscriptionInvalid", f"a subscription that is {subscription.state} does not renew")
        if subscription.payments_left and by == USER:
            subscription.pending_cancellation = True
            self.tell(subscription, CANCELLATION_SCHEDULED)
            return
        subscription.cancelled_by, subscription.cancelled_ms = by, self.now_ms
        subscription.survey, subscription.auto_renew, subscription.pause_for_ms = survey, False, None
        if subscription.state in (ON_HOLD, PAUSED):
            self._expire(subscription, also=CANCELLED)
            return
        subscription.state = CANCELED
        self.tell(subscription, CANCELLED)

    def cancel_by_developer(self, token: str) -> None:
        """The developer stops the renewals."""
        self.cancel(token, by=DEVELOPER)

    def restart(self, token: str) -> None:
        """Switch renewal on again before the end (in Google Play)."""
        subscription = self._in_state(token, CANCELED)
        subscription.state, subscription.auto_renew = ACTIVE, True
        subscription.cancelled_by = subscription.cancelled_ms = subscription.survey = None
        self.tell(subscription, RESTARTED)

    def refund_order(self, order_id: str, *, revoke: bool) -> None:
        """Refund one order. Without `revoke` nobody is told and nothing else changes."""
        order = self.order(order_id)
        self.refund(order)
        if revoke:
            subscription = self.subscriptions.get(order.token)
            if subscription is not None and subscription.base.order_id == order_id:
                self.end_revoked(subscription, by=DEVELOPER)
            self.void(order, reason=OTHER, source=BY_DEVELOPER)

    def charge_back(self, order_id: str) -> None:
        """A bank takes an order's money back; only the latest order's chargeback ends access."""
        order = self.order(order_id)
        self.refund(order, reason="CHARGEBACK")
        subscription = self.subscriptions.get(order.token)
        if subscription is not None and subscription.base.order_id == order_id and subscription.state != EXPIRED:
            self.end_revoked(subscription, by=SYSTEM)
        self.void(order, reason=CHARGEBACK, source=BY_USER)

    def defer(self, token: str, by_ms: int) -> int:
        """Move the next charge, as developers may; the new expiry."""
        subscription = self._in_state(token, ACTIVE)
        subscription.generation += 1
        self._extend_to(subscription, subscription.expiry_ms + by_ms)
        subscription.paid_until_ms = subscription.expiry_ms
        self.appoint(subscription, subscription.expiry_ms, self._period_end)
        self.tell(subscription, DEFERRED)
        return subscription.expiry_ms

    def change_price(self, token: str, new_price_micros: int, *, needs_consent: bool = True) -> None:
        """Announce another price for the next charge."""
        subscription = self.subscription(token)
        item = subscription.base
        item.price_change = PriceChange(
            new_price_micros=new_price_micros,
            needs_consent=needs_consent and new_price_micros > item.price_micros,
            decrease=new_price_micros < item.price_micros,
            charge_at_ms=subscription.paid_until_ms,
        )
        self.tell(subscription, PRICE_CHANGED)

    def accept_price(self, token: str) -> None:
        """The customer agrees to the announced price, or to the step."""
        subscription = self.subscription(token)
        item = subscription.base
        if item.step_up is not None and item.step_up.state == "PENDING":
            item.step_up.state = "CONFIRMED"
            self.tell(subscription, STEP_UP_CHANGED)
        elif item.price_change is not None and item.price_change.state == "OUTSTANDING":
            item.price_change.state = "CONFIRMED"
            self.tell(subscription, PRICE_CHANGED)
        else:
            raise PlayError(400, "noPriceChange", "no price change waits for consent")

    def step_up_price(self, token: str, new_price_micros: int) -> None:
        """Ask for consent to a step of the price."""
        subscription = self.subscription(token)
        subscription.base.step_up = StepUp(new_price_micros=new_price_micros, deadline_ms=subscription.paid_until_ms)
        self.tell(subscription, STEP_UP_CHANGED)

    def _in_state(self, token: str, state: str) -> Subscription:
        subscription = self.subscription(token)
        if subscription.state != state:
            raise PlayError(400, "subscriptionInvalid", f"the subscription is {subscription.state}, not {state}")
        return subscription


def _terms(plan: Plan, *, trial: bool, intro: bool) -> list[Term]:
    terms: list[Term] = []
    if trial and plan.trial is not None:
        terms.append(Term(phase="trial", period=plan.trial, price_micros=0))
    if intro and plan.intro is not None:
        offer = plan.intro
        terms += [Term(phase="intro", period=offer.period, price_micros=offer.price_micros)] * offer.count
    return terms
