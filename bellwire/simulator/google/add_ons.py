"""Subscriptions with add-ons: bought together by `purchase`, joined and left later by these."""

from bellwire.simulator.google.calendar import add_period
from bellwire.simulator.google.course import ACKNOWLEDGE_WITHIN_MS, CANCELLED, ENDED, ITEMS_CHANGED, KEPT, PURCHASED
from bellwire.simulator.google.records import ACTIVE, Item, PlayError, Subscription
from bellwire.simulator.google.replacements import Replacements, named, whole_cents


class AddOns(Replacements):
    """The first item of a purchase is the base product, the others are add-ons of the same billing period."""

    def add_on(self, token: str, key: str) -> str:
        """Add an add-on to a running subscription: a new token with all items, those there were kept as they are.

        It is charged at once for the rest of the running period.
        """
        old, plan = self._replaceable(token), self.plan(key)
        if plan.period != old.base.plan.period or plan.prepaid:
            raise PlayError(400, "invalid", "all items renew by themselves and have the same billing period")
        full_ms = max(add_period(self.now_ms, plan.period) - self.now_ms, 1)
        share = plan.price_micros * max(old.expiry_ms - self.now_ms, 0) // full_ms
        added = Item(plan=plan, price_micros=plan.price_micros, first_charge_micros=whole_cents(share))
        kept = [Item(plan=item.plan, price_micros=item.price_micros, replaced=named(item, KEPT)) for item in old.items]
        return self._take_over(old, [*kept, added], end_ms=old.expiry_ms, price_micros=0)

    def remove_add_on(self, token: str, key: str) -> None:
        """Drop an add-on at the end of the running period, in Google Play itself."""
        subscription = self._in_state(token, ACTIVE)
        _add_on_of(subscription, key).removal_scheduled = True
        self.tell(subscription, ITEMS_CHANGED)

    def leave_out(self, token: str, key: str) -> str:
        """Drop an add-on at the end of the running period, in the app: a new token, for which nothing is charged."""
        old = self._in_state(token, ACTIVE)
        dropped = _add_on_of(old, key)
        items = [
            Item(
                plan=item.plan,
                price_micros=item.price_micros,
                expiry_ms=item.expiry_ms,
                order_id=item.order_id,
                phase=item.phase,
                removal_scheduled=item is dropped,
                replaced=None if item is dropped else named(item, KEPT),
            )
            for item in old.items
        ]
        new = self.open(items, test=old.test, account_id=old.account_id, linked=old.token)
        new.state, new.start_ms, new.paid_until_ms = ACTIVE, old.start_ms, old.paid_until_ms
        self.replaced_by(old)
        self.appoint(new, new.expiry_ms, self._period_end)
        self.kernel.at(self.now_ms + ACKNOWLEDGE_WITHIN_MS, lambda: self._check_acknowledged(new))
        self.tell(new, PURCHASED)
        self.tell(old, CANCELLED)
        self.tell(old, ENDED)
        return new.token


def _add_on_of(subscription: Subscription, key: str) -> Item:
    found = next((item for item in subscription.items[1:] if item.plan.key == key), None)
    if found is None:
        raise PlayError(400, "invalid", f"the subscription has no add-on {key}")
    return found
