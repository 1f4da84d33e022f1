"""Subscriptions that live on the virtual clock: charges, grace, hold, pause, cancellation, revocation."""

from bellwire.simulator.google.calendar import DAY_MS, add_period
from bellwire.simulator.google.catalogue import Plan
from bellwire.simulator.google.ledger import Ledger
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
    OrderLine,
    PlayError,
    PriceChange,
    StepUp,
    Subscription,
    Term,
)

RECOVERED, RENEWED, CANCELLED, PURCHASED, HELD, GRACE, RESTARTED = 1, 2, 3, 4, 5, 6, 7
DEFERRED, PAUSE_BEGAN, PAUSE_CHANGED, REVOKED, ENDED, ITEMS_CHANGED = 9, 10, 11, 12, 13, 17
CANCELLATION_SCHEDULED, PRICE_CHANGED, PENDING_GIVEN_UP, STEP_UP_CHANGED = 18, 19, 20, 22

ACKNOWLEDGE_WITHIN_MS = 3 * DAY_MS
SILENT_GRACE_MS = DAY_MS
RUNNING = (ACTIVE, CANCELED, IN_GRACE)
KEPT = "KEEP_EXISTING"
UNACKNOWLEDGED, CHARGEBACK, OTHER = 8, 7, 0
BY_USER, BY_DEVELOPER, BY_GOOGLE = 0, 1, 2


class Subscriptions(Ledger):
    """Shopper's, developer's and Google's actions on subscriptions; the clock does the rest."""

    rolling_grace = False
    """Let `expiryTime` move on a day at a time during grace, instead of to its end at once."""

    # -- buying

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

    def open(self, items: list[Item], *, test: bool, account_id: str | None, linked: str | None = None) -> Subscription:
        """A new purchase whose payment is still to come."""
        subscription = Subscription(
            token=self.new_token(),
            items=items,
            region=self.region,
            state=PENDING,
            created_ms=self.now_ms,
            test=test,
            account_id=account_id,
            linked=linked,
        )
        subscription.payments_left = items[0].plan.installments
        self.subscriptions[subscription.token] = subscription
        return subscription

    def begin(self, subscription: Subscription, *, end_ms: int | None = None, price_micros: int | None = None) -> None:
        """The first charge worked. A plan change names its own end and amount."""
        subscription.state, subscription.start_ms = ACTIVE, self.now_ms
        self.bill(subscription, self.now_ms, end_ms=end_ms, price_micros=price_micros)
        self.kernel.at(self.now_ms + ACKNOWLEDGE_WITHIN_MS, lambda: self._check_acknowledged(subscription))

    # -- charging

    def bill(
        self, subscription: Subscription, start_ms: int, *, end_ms: int | None = None, price_micros: int | None = None
    ) -> None:
        """Charge for the next period from `start_ms` on and make the appointment at its end."""
        subscription.items = [item for item in subscription.items if not item.removal_scheduled]
        items = [item for item in subscription.items if item.deferred_to is None]
        lead = items[0]
        for item in items:
            _apply_new_price(item)
        term = lead.upcoming.pop(0) if lead.upcoming else None
        phase = "base" if term is None else term.phase
        if end_ms is not None:
            phase, subscription.anchor_ms, subscription.charges = "proration", end_ms, 0
        elif term is not None:
            end_ms = add_period(start_ms, term.period)
            subscription.anchor_ms, subscription.charges = end_ms, 0
        else:
            expected = add_period(subscription.anchor_ms, lead.plan.period, subscription.charges)
            if subscription.anchor_ms == 0 or expected != start_ms:
                subscription.anchor_ms, subscription.charges = start_ms, 0
            subscription.charges += 1
            end_ms = add_period(subscription.anchor_ms, lead.plan.period, subscription.charges)
        lines: list[OrderLine] = []
        for item in items:
            price = item.price_micros if term is None or item is not lead else term.price_micros
            if price_micros is not None and (item is lead or (item.replaced or ("",))[-1] == KEPT):
                price = price_micros
            item.phase, item.expiry_ms = phase if item is lead else "base", end_ms
            lines.append(
                OrderLine(
                    product_id=item.plan.product_id,
                    plan_id=item.plan.plan_id,
                    offer_id=item.offer_id if phase in ("trial", "intro") and item is lead else None,
                    phase=item.phase,
                    start_ms=start_ms,
                    end_ms=end_ms,
                    price_micros=price,
                )
            )
        self.charge(subscription, items, lines)
        subscription.items = items
        subscription.paid_until_ms = end_ms
        subscription.pending_order = None
        subscription.payments_left = max(subscription.payments_left - 1, 0)
        subscription.generation += 1
        self.appoint(subscription, end_ms, self._period_end)

    def _period_end(self, subscription: Subscription) -> None:
        if subscription.base.plan.prepaid:
            self._expire(subscription)
        elif subscription.state == CANCELED or (subscription.pending_cancellation and not subscription.payments_left):
            subscription.cancelled_by = subscription.cancelled_by or USER
            self._expire(subscription)
        elif subscription.pause_for_ms is not None:
            self._begin_pause(subscription)
        elif _consent_is_missing(subscription):
            self._end_by_system(subscription)
        elif subscription.payment_fails is not None:
            self._decline(subscription, subscription.payment_fails)
        else:
            self._renew(subscription)

    def _renew(self, subscription: Subscription) -> None:
        for item in list(subscription.items):
            if item.deferred_to is not None:
                subscription.items.remove(item)
        self.bill(subscription, subscription.paid_until_ms)
        self.tell(subscription, RENEWED)

    def _decline(self, subscription: Subscription, way: str) -> None:
        """The charge at the period's end failed."""
        plan = subscription.base.plan
        subscription.generation += 1
        subscription.pending_order = f"{subscription.order_base}..{max(len(subscription.orders) - 1, 0)}"
        if way == "silent":
            self._extend_to(subscription, self.now_ms + SILENT_GRACE_MS)
            subscription.payment_fails = "hold"
            self.appoint(subscription, subscription.expiry_ms, self._period_end)
        elif way == "grace" and plan.grace_days:
            subscription.state = IN_GRACE
            grace_end = self.now_ms + plan.grace_days * DAY_MS
            if self.rolling_grace:
                self._roll_grace(subscription, grace_end)
            else:
                self._extend_to(subscription, grace_end)
            self.appoint(subscription, grace_end, self._grace_end)
            self.tell(subscription, GRACE)
        else:
            self._hold(subscription)

    def _roll_grace(self, subscription: Subscription, grace_end: int) -> None:
        self._extend_to(subscription, min(self.now_ms + DAY_MS, grace_end))
        if subscription.expiry_ms < grace_end:
            self.appoint(subscription, subscription.expiry_ms, lambda s: self._roll_grace(s, grace_end))

    def _grace_end(self, subscription: Subscription) -> None:
        subscription.generation += 1
        if subscription.state == CANCELED:
            self._expire(subscription)
        else:
            self._hold(subscription)

    def _hold(self, subscription: Subscription) -> None:
        subscription.generation += 1
        hold_days = subscription.base.plan.hold_days
        if not hold_days:
            self._end_by_system(subscription)
            return
        subscription.state = ON_HOLD
        self._extend_to(subscription, min(subscription.expiry_ms, self.now_ms))
        self.appoint(subscription, self.now_ms + hold_days * DAY_MS, self._end_by_system)
        self.tell(subscription, HELD)

    def _end_by_system(self, subscription: Subscription) -> None:
        subscription.cancelled_by, subscription.cancelled_ms = SYSTEM, self.now_ms
        self._expire(subscription, also=CANCELLED)

    def _expire(self, subscription: Subscription, *, also: int | None = None) -> None:
        subscription.generation += 1
        subscription.state, subscription.auto_renew, subscription.ended_ms = EXPIRED, False, self.now_ms
        subscription.resume_ms = subscription.pause_for_ms = None
        self._extend_to(subscription, min(subscription.expiry_ms, self.now_ms))
        if also is not None:
            self.tell(subscription, also)
        self.tell(subscription, ENDED)

    def _extend_to(self, subscription: Subscription, expiry_ms: int) -> None:
        for item in subscription.items:
            if item.order_id is not None:
                item.expiry_ms = expiry_ms
        subscription.version += 1

    # -- trouble and recovery

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

    def _restart_now(self, subscription: Subscription) -> None:
        subscription.state, subscription.resume_ms, subscription.pause_for_ms = ACTIVE, None, None
        self.bill(subscription, self.now_ms)
        self.tell(subscription, RECOVERED)

    # -- pausing

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

    def _begin_pause(self, subscription: Subscription) -> None:
        subscription.generation += 1
        subscription.state = PAUSED
        subscription.resume_ms = self.now_ms + (subscription.pause_for_ms or 0)
        subscription.pause_for_ms = None
        self.appoint(subscription, subscription.resume_ms, self._end_pause)
        self.tell(subscription, PAUSE_BEGAN)

    def _end_pause(self, subscription: Subscription) -> None:
        subscription.generation += 1
        subscription.resume_ms = None
        if subscription.payment_fails is not None:
            self._hold(subscription)
        else:
            self._restart_now(subscription)

    # -- cancelling

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

    # -- money back

    def revoke(
        self, token: str, *, part_ppm: int | None = None, reason: int = OTHER, source: int = BY_DEVELOPER
    ) -> None:
        """Refund the latest order (or a share of it) and end access at once."""
        subscription = self.subscription(token)
        if subscription.state not in (*RUNNING, ON_HOLD, PAUSED):
            raise PlayError(400, "subscriptionInvalid", "the subscription is over")
        order = self.order(subscription.base.order_id or "")
        if part_ppm is None:
            self.refund(order, reason="CHARGEBACK" if reason == CHARGEBACK else "OTHER")
        else:
            self.refund_part(order, part_ppm)
        self.end_revoked(subscription, by=SYSTEM if source == BY_GOOGLE else DEVELOPER)
        self.void(order, reason=reason, source=source)

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

    def end_revoked(self, subscription: Subscription, *, by: str) -> None:
        """Access ends now since the money went back."""
        subscription.generation += 1
        subscription.state, subscription.auto_renew, subscription.ended_ms = EXPIRED, False, self.now_ms
        subscription.cancelled_by, subscription.cancelled_ms = by, self.now_ms
        self._extend_to(subscription, min(subscription.expiry_ms, self.now_ms))
        self.tell(subscription, REVOKED)

    def _check_acknowledged(self, subscription: Subscription) -> None:
        if not subscription.acknowledged and subscription.state in (*RUNNING, ON_HOLD, PAUSED):
            self.kernel.record("google.unacknowledged", token=subscription.token)
            self.revoke(subscription.token, reason=UNACKNOWLEDGED, source=BY_GOOGLE)

    # -- what the developer may change

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

    def remove_add_on(self, token: str, key: str) -> None:
        """Drop an add-on at the end of the running period."""
        subscription = self._in_state(token, ACTIVE)
        for item in subscription.items[1:]:
            if item.plan.key == key:
                item.removal_scheduled = True
        self.tell(subscription, ITEMS_CHANGED)

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


def _apply_new_price(item: Item) -> None:
    change, step = item.price_change, item.step_up
    if change is not None and (
        change.state == "CONFIRMED" or (change.state == "OUTSTANDING" and not change.needs_consent)
    ):
        item.price_micros, change.state, change.charge_at_ms = change.new_price_micros, "APPLIED", None
    if step is not None and step.state == "CONFIRMED":
        item.price_micros, step.state = step.new_price_micros, "COMPLETED"


def _consent_is_missing(subscription: Subscription) -> bool:
    change, step = subscription.base.price_change, subscription.base.step_up
    asked = change is not None and change.needs_consent and change.state == "OUTSTANDING"
    return asked or (step is not None and step.state == "PENDING")
