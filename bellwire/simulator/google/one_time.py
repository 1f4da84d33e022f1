"""One-time purchases: products that are bought, kept or consumed, and refunded."""

from bellwire.simulator.google.calendar import DAY_MS
from bellwire.simulator.google.ledger import Ledger
from bellwire.simulator.google.records import OneTimePurchase, OrderLine, PlayError

PURCHASED, CANCELLED = 1, 2
ACKNOWLEDGE_WITHIN_MS = 3 * DAY_MS


class OneTimePurchases(Ledger):
    """Shopper's and developer's actions on one-time purchases."""

    def buy(
        self,
        product_id: str,
        *,
        quantity: int = 1,
        pending: bool = False,
        promo: bool = False,
        test: bool = False,
        account_id: str | None = None,
    ) -> str:
        """Buy a one-time product; the purchase token. A `promo` purchase has no order."""
        bought = OneTimePurchase(
            token=self.new_token(),
            product=self.one_time_product(product_id),
            region=self.region,
            state="PENDING",
            created_ms=self.now_ms,
            quantity=quantity,
            promo=promo,
            test=test,
            account_id=account_id,
        )
        self.one_time[bought.token] = bought
        if pending:
            self._tell_product(bought, PURCHASED)
        else:
            self.complete_payment(bought.token)
        return bought.token

    def complete_payment(self, token: str) -> None:
        """The payment arrived."""
        bought = self._waiting(token)
        bought.state, bought.completed_ms = "PURCHASED", self.now_ms
        if not bought.promo:
            bought.order_id = self.new_order_base()
            line = OrderLine(
                product_id=bought.product.product_id,
                price_micros=bought.product.price_micros * bought.quantity,
                quantity=bought.quantity,
            )
            self.new_order(bought.order_id, token, bought.product.currency, [line])
        self.kernel.at(self.now_ms + ACKNOWLEDGE_WITHIN_MS, lambda: self._check_one_time(bought))
        self._tell_product(bought, PURCHASED)

    def give_up_payment(self, token: str) -> None:
        """The pending payment will not come."""
        bought = self._waiting(token)
        bought.state = "CANCELLED"
        self._tell_product(bought, CANCELLED)

    def refund_product(self, token: str, *, quantity: int | None = None, reason: int = 0, source: int = 1) -> None:
        """Refund a purchase, or some of its quantity."""
        bought = self.one_time_purchase(token)
        if bought.order_id is None:
            raise PlayError(400, "orderNotFound", "the purchase has no order")
        order = self.order(bought.order_id)
        left = bought.quantity - bought.refunded_quantity
        if quantity is None or quantity >= left:
            bought.refunded_quantity, bought.state = bought.quantity, "CANCELLED"
            self.refund(order)
            self.void(order, reason=reason, source=source)
        else:
            bought.refunded_quantity += quantity
            self.refund_part(order, 1_000_000 * quantity // bought.quantity)
            self.void(order, reason=reason, source=source, quantity=quantity)

    def _check_one_time(self, bought: OneTimePurchase) -> None:
        if bought.state == "PURCHASED" and not (bought.acknowledged or bought.consumed or bought.promo):
            self.kernel.record("google.unacknowledged", token=bought.token)
            self.refund_product(bought.token, reason=8, source=2)

    def _waiting(self, token: str) -> OneTimePurchase:
        bought = self.one_time_purchase(token)
        if bought.state != "PENDING":
            raise PlayError(400, "invalid", f"the purchase is {bought.state}")
        return bought

    def _tell_product(self, bought: OneTimePurchase, notification_type: int) -> None:
        self._tell(
            {
                "oneTimeProductNotification": {
                    "version": "1.0",
                    "notificationType": notification_type,
                    "purchaseToken": bought.token,
                    "sku": bought.product.product_id,
                }
            }
        )
