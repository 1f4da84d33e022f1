"""The shop's till for the fake App Store."""

from bellwire.simulator.apple import FakeAppStore
from bellwire.simulator.apple.records import ACTIVE, GRACE, RETRY, Transaction
from bellwire.simulator.till import Item, Plan, Receipt, Standing

PRODUCTS = {Plan.MONTHLY: "pro_monthly", Plan.YEARLY: "pro_yearly", Plan.BASIC: "basic_monthly"}


class AppleTill:
    """Keys are original transaction ids (of one-time purchases: transaction ids)."""

    def __init__(self, store: FakeAppStore) -> None:
        self._store = store

    def subscribe(self, plan: Plan, *, trial: bool, account: str, country: str) -> str:
        product = PRODUCTS[plan]
        trial = trial and self._store.products[product].trial is not None
        return self._store.purchase(product, trial=trial, account=account, storefront=country)

    def resubscribe(self, key: str, plan: Plan) -> str:
        self._store.resubscribe(key, PRODUCTS[plan])
        return key

    def buy(self, item: Item, *, account: str, country: str) -> str:
        return self._store.purchase(item, account=account, storefront=country)

    def receipt(self, key: str) -> Receipt:
        transaction = self._transaction(key)
        return {
            "fetch_token": self._store.signed_transaction(key),
            "product_id": transaction.product.id,
            "transaction_id": transaction.id,
            "price": f"{transaction.product.price_micros / 1_000_000:.2f}",
            "currency": transaction.product.currency,
            "store_country": transaction.storefront,
        }

    def finish(self, key: str) -> None:
        """Nothing: the App Store takes nothing back from apps that are late."""

    def standing(self, key: str) -> Standing:
        subscription = self._store.subscriptions[key]
        if subscription.status in (GRACE, RETRY):
            return Standing.TROUBLED
        if subscription.status != ACTIVE:
            return Standing.OVER
        return Standing.RENEWING if subscription.auto_renew else Standing.CANCELLED

    def cancel(self, key: str) -> None:
        self._store.cancel(key)

    def reenable(self, key: str) -> None:
        self._store.reenable(key)

    def fail_next_payment(self, key: str, *, grace: bool) -> None:
        self._store.fail_payment(key, grace=grace)

    def recover(self, key: str) -> None:
        self._store.recover(key)

    def refund(self, key: str) -> None:
        self._store.refund(key)

    def change(self, key: str, plan: Plan) -> str | None:
        wanted, running = self._store.products[PRODUCTS[plan]], self._transaction(key).product
        if wanted.level < running.level:
            self._store.upgrade(key, wanted.id)
            return key
        self._store.downgrade(key, wanted.id)
        return None

    def pause(self, key: str) -> bool:
        """The App Store knows no pauses."""
        return False

    def _transaction(self, key: str) -> Transaction:
        return self._store.one_time[key] if key in self._store.one_time else self._store.subscriptions[key].latest
