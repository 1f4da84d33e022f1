"""The shop's till for the fake Google Play."""

from bellwire.simulator.google import FakePlay
from bellwire.simulator.google.records import ACTIVE, CANCELED, EXPIRED, IN_GRACE, ON_HOLD, PAUSED
from bellwire.simulator.till import Item, Plan, Receipt, Standing

PLANS = {Plan.MONTHLY: "pro:monthly", Plan.YEARLY: "pro:yearly", Plan.BASIC: "basic:monthly"}
STANDINGS = {
    ACTIVE: Standing.RENEWING,
    CANCELED: Standing.CANCELLED,
    IN_GRACE: Standing.TROUBLED,
    ON_HOLD: Standing.TROUBLED,
    PAUSED: Standing.PAUSED,
    EXPIRED: Standing.OVER,
}


class PlayTill:
    """Keys are purchase tokens. The fake does without accounts and sells in one country."""

    def __init__(self, play: FakePlay) -> None:
        self._play = play

    def subscribe(self, plan: Plan, *, trial: bool, account: str, country: str) -> str:
        return self._play.purchase(PLANS[plan], trial=trial and plan is not Plan.BASIC)

    def resubscribe(self, key: str, plan: Plan) -> str:
        return self._play.purchase(PLANS[plan])

    def buy(self, item: Item, *, account: str, country: str) -> str:
        return self._play.buy(item)

    def receipt(self, key: str) -> Receipt:
        if key in self._play.one_time:
            product = self._play.one_time[key].product
            return _receipt(key, product.product_id, None, product.price_micros, product.currency)
        plan = self._play.subscription(key).base.plan
        return _receipt(key, plan.product_id, plan.plan_id, plan.price_micros, plan.currency)

    def finish(self, key: str) -> None:
        bought = self._play.one_time.get(key) or self._play.subscription(key)
        bought.acknowledged = True

    def standing(self, key: str) -> Standing:
        return STANDINGS.get(self._play.subscription(key).state, Standing.OVER)

    def cancel(self, key: str) -> None:
        self._play.cancel(key)

    def reenable(self, key: str) -> None:
        self._play.restart(key)

    def fail_next_payment(self, key: str, *, grace: bool) -> None:
        self._play.fail_payment(key, "grace" if grace else "hold")

    def recover(self, key: str) -> None:
        self._play.recover(key)

    def refund(self, key: str) -> None:
        self._play.revoke(key)

    def change(self, key: str, plan: Plan) -> str | None:
        upgrade = plan is Plan.YEARLY
        return self._play.change_plan(key, PLANS[plan], "CHARGE_FULL_PRICE" if upgrade else "DEFERRED")

    def pause(self, key: str) -> bool:
        self._play.pause(key)
        return True


def _receipt(token: str, product_id: str, plan_id: str | None, price_micros: int, currency: str) -> Receipt:
    return {
        "fetch_token": token,
        "product_ids": [product_id],
        "platform_product_ids": [{"product_id": product_id, "base_plan_id": plan_id, "offer_id": None}],
        "price": price_micros / 1_000_000,
        "currency": currency,
    }
