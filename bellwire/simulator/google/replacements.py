"""Purchases that take the place of another one: plan changes, top-ups, conversions, re-signup."""

from bellwire.simulator.google.calendar import add_period
from bellwire.simulator.google.catalogue import Plan
from bellwire.simulator.google.course import ACKNOWLEDGE_WITHIN_MS, CANCELLED, ENDED, ITEMS_CHANGED, PURCHASED
from bellwire.simulator.google.lifecycle import Subscriptions
from bellwire.simulator.google.records import ACTIVE, CANCELED, IN_GRACE, Item, PlayError, Subscription

MODES = ("WITHOUT_PRORATION", "WITH_TIME_PRORATION", "CHARGE_PRORATED_PRICE", "CHARGE_FULL_PRICE", "DEFERRED")


class Replacements(Subscriptions):
    """Each of these makes a new token that is linked to the old one."""

    def change_plan(self, token: str, key: str, mode: str = "WITHOUT_PRORATION") -> str:
        """Move to another product or base plan; the new token."""
        old, plan = self._replaceable(token), self.plan(key)
        if mode not in MODES:
            raise PlayError(400, "invalid", f"mode is one of {', '.join(MODES)}")
        if mode == "DEFERRED":
            return self._defer_change(old, plan)
        now, left_ms = self.now_ms, max(old.expiry_ms - self.now_ms, 0)
        full_ms = max(add_period(now, old.base.plan.period) - now, 1)
        unused = old.base.price_micros * left_ms // full_ms
        price: int | None = None
        end_ms: int | None = None
        match mode:
            case "WITHOUT_PRORATION":
                price, end_ms = 0, old.expiry_ms
            case "CHARGE_PRORATED_PRICE":
                share = plan.price_micros * left_ms // max(add_period(now, plan.period) - now, 1)
                price, end_ms = whole_cents(max(share - unused, 0)), old.expiry_ms
            case "WITH_TIME_PRORATION":
                bought_ms = unused * (add_period(now, plan.period) - now) // plan.price_micros
                price, end_ms = 0, now + bought_ms
            case _:
                price, end_ms = plan.price_micros, add_period(now, plan.period) + left_ms
        item = Item(plan=plan, price_micros=plan.price_micros, replaced=named(old.base, mode))
        return self._take_over(old, [item], end_ms=end_ms, price_micros=price)

    def top_up(self, token: str) -> str:
        """Buy a prepaid plan again before it ends: the new end is the old one plus a period."""
        old = self._replaceable(token)
        plan = old.base.plan
        if not plan.prepaid:
            raise PlayError(400, "invalid", "only prepaid plans are topped up")
        end_ms = add_period(old.expiry_ms, plan.period)
        item = Item(plan=plan, price_micros=plan.price_micros, replaced=named(old.base, "WITHOUT_PRORATION"))
        return self._take_over(old, [item], end_ms=end_ms, price_micros=plan.price_micros)

    def convert(self, token: str, key: str) -> str:
        """Move from a prepaid plan to an auto-renewing one, or back."""
        old, plan = self._replaceable(token), self.plan(key)
        item = Item(plan=plan, price_micros=plan.price_micros, replaced=named(old.base, "CHARGE_FULL_PRICE"))
        return self._take_over(old, [item])

    def sign_up_again(self, token: str) -> str:
        """Buy the same plan again in the app while the cancelled one still runs: the rest of it is added."""
        old = self.subscription(token)
        if old.state != CANCELED:
            raise PlayError(400, "itemAlreadyOwned", "the subscription is not cancelled")
        plan = old.base.plan
        end_ms = add_period(self.now_ms, plan.period) + max(old.expiry_ms - self.now_ms, 0)
        item = Item(plan=plan, price_micros=plan.price_micros)
        return self._take_over(old, [item], end_ms=end_ms, price_micros=plan.price_micros)

    def _take_over(
        self, old: Subscription, items: list[Item], *, end_ms: int | None = None, price_micros: int | None = None
    ) -> str:
        new = self.open(items, test=old.test, account_id=old.account_id, linked=old.token)
        self.replaced_by(old)
        self.begin(new, end_ms=end_ms, price_micros=price_micros)
        self.tell(new, PURCHASED)
        self.tell(old, CANCELLED)
        self.tell(old, ENDED)
        return new.token

    def _defer_change(self, old: Subscription, plan: Plan) -> str:
        """The old item stays until its period ends; the new one has no order until then."""
        base = old.base
        kept = Item(
            plan=base.plan,
            price_micros=base.price_micros,
            expiry_ms=base.expiry_ms,
            order_id=base.order_id,
            phase=base.phase,
            offer_id=base.offer_id,
            deferred_to=plan,
        )
        coming = Item(plan=plan, price_micros=plan.price_micros, replaced=named(base, "DEFERRED"))
        new = self.open([kept, coming], test=old.test, account_id=old.account_id, linked=old.token)
        new.state, new.start_ms, new.paid_until_ms = ACTIVE, old.start_ms, old.paid_until_ms
        expiry_ms = old.expiry_ms
        self.replaced_by(old)
        self.appoint(new, expiry_ms, self._period_end)
        self.kernel.at(self.now_ms + ACKNOWLEDGE_WITHIN_MS, lambda: self._check_acknowledged(new))
        self.tell(new, PURCHASED)
        self.tell(old, CANCELLED)
        self.tell(old, ENDED)
        return new.token

    def withdraw_change(self, token: str) -> None:
        """Take a deferred change back before it takes effect."""
        subscription = self.subscription(token)
        subscription.items = [item for item in subscription.items if item.order_id is not None]
        for item in subscription.items:
            item.deferred_to = None
        self.tell(subscription, ITEMS_CHANGED)

    def _replaceable(self, token: str) -> Subscription:
        old = self.subscription(token)
        if old.state not in (ACTIVE, CANCELED, IN_GRACE):
            raise PlayError(400, "subscriptionInvalid", f"a subscription that is {old.state} cannot be replaced")
        return old


def named(item: Item, mode: str) -> tuple[str, str, str]:
    """What an item takes the place of, and how."""
    return item.plan.product_id, item.plan.plan_id, mode


def whole_cents(micros: int) -> int:
    return micros // 10_000 * 10_000
