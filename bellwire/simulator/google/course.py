"""The course that a subscription takes by itself: charges, grace, hold, pause, expiry, revocation."""

from bellwire.simulator.google.calendar import DAY_MS, add_period
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
    SYSTEM,
    USER,
    Item,
    OrderLine,
    PlayError,
    Subscription,
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


class Course(Ledger):
    """What the clock does to subscriptions. Each course is left by counting up `Subscription.generation`."""

    rolling_grace = False
    """Let `expiryTime` move on a day at a time during grace, instead of to its end at once."""

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
            if item.first_charge_micros is not None:
                price, item.first_charge_micros = item.first_charge_micros, None
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
        grace_days = min(item.plan.grace_days for item in subscription.items)
        subscription.generation += 1
        subscription.pending_order = f"{subscription.order_base}..{max(len(subscription.orders) - 1, 0)}"
        if way == "silent":
            self._extend_to(subscription, self.now_ms + SILENT_GRACE_MS)
            subscription.payment_fails = "hold"
            self.appoint(subscription, subscription.expiry_ms, self._period_end)
        elif way == "grace" and grace_days:
            subscription.state = IN_GRACE
            grace_end = self.now_ms + grace_days * DAY_MS
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
        hold_days = _hold_days(subscription)
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

    def _restart_now(self, subscription: Subscription) -> None:
        subscription.state, subscription.resume_ms, subscription.pause_for_ms = ACTIVE, None, None
        self.bill(subscription, self.now_ms)
        self.tell(subscription, RECOVERED)

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


def _hold_days(subscription: Subscription) -> int:
    """Of the items with the shortest grace, which is that of all, the longest hold."""
    plans = [item.plan for item in subscription.items]
    grace_days = min(plan.grace_days for plan in plans)
    return max(plan.hold_days for plan in plans if plan.grace_days == grace_days)


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
