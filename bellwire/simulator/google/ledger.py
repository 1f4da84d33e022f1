"""The books of the fake store and what every entry needs: ids, charges, refunds, notifications."""

from collections.abc import Callable

from bellwire.simulator.google.catalogue import DEFAULT_CATALOGUE, OneTimeProduct, Plan, Product
from bellwire.simulator.google.records import (
    REPLACEMENT,
    Item,
    OneTimePurchase,
    Order,
    OrderLine,
    PlayError,
    Subscription,
    Voided,
)
from bellwire.simulator.kernel import Kernel

FEE_PPM = 150_000
TOKEN_ALPHABET = "abcdefghijklmnopqrstuvwxyz"  # noqa: S105 - letters
TAIL_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

Tell = Callable[[dict[str, object]], None]
"""Sends one DeveloperNotification member to the hub."""


class Ledger:
    """Everything sold so far. `tax_ppm` is a rate on the net price, inside the price if `tax_inclusive`."""

    def __init__(
        self,
        kernel: Kernel,
        *,
        catalogue: dict[str, Product] | None = None,
        region: str = "US",
        tax_ppm: int = 0,
        tax_inclusive: bool = True,
    ) -> None:
        self.kernel = kernel
        self.catalogue = dict(DEFAULT_CATALOGUE if catalogue is None else catalogue)
        self.region = region
        self.tax_ppm = tax_ppm
        self.tax_inclusive = tax_inclusive
        self.subscriptions: dict[str, Subscription] = {}
        self.one_time: dict[str, OneTimePurchase] = {}
        self.orders: dict[str, Order] = {}
        self.voided: list[Voided] = []
        self._tell: Tell = lambda member: None

    @property
    def now_ms(self) -> int:
        return self.kernel.now_ms

    def plan(self, key: str) -> Plan:
        product = self.catalogue.get(key)
        if not isinstance(product, Plan):
            raise PlayError(404, "notFound", f"there is no subscription plan {key}")
        return product

    def one_time_product(self, key: str) -> OneTimeProduct:
        product = self.catalogue.get(key)
        if not isinstance(product, OneTimeProduct):
            raise PlayError(404, "notFound", f"there is no one-time product {key}")
        return product

    def subscription(self, token: str) -> Subscription:
        found = self.subscriptions.get(token)
        if found is None:
            raise PlayError(404, "purchaseTokenNotFound", "The purchase token was not found.")
        return found

    def one_time_purchase(self, token: str) -> OneTimePurchase:
        found = self.one_time.get(token)
        if found is None:
            raise PlayError(404, "purchaseTokenNotFound", "The purchase token was not found.")
        return found

    def order(self, order_id: str) -> Order:
        found = self.orders.get(order_id)
        if found is None:
            raise PlayError(404, "orderNotFound", "The order was not found.")
        return found

    def new_token(self) -> str:
        """A purchase token in Google's shape: 24 letters, `.AO-J1O`, a long tail."""
        head = "".join(self.kernel.random.choices(TOKEN_ALPHABET, k=24))
        return f"{head}.AO-J1O{''.join(self.kernel.random.choices(TAIL_ALPHABET, k=40))}"

    def new_order_base(self) -> str:
        digits = "".join(self.kernel.random.choices("0123456789", k=17))
        return f"GPA.{digits[:4]}-{digits[4:8]}-{digits[8:12]}-{digits[12:]}"

    def new_order(self, order_id: str, token: str, currency: str, lines: list[OrderLine]) -> Order:
        """Book a charge for all of `lines` together."""
        price = sum(line.price_micros for line in lines)
        for line in lines:
            line.tax_micros = line.price_micros * self.tax_ppm // (1_000_000 + self.tax_ppm * self.tax_inclusive)
        tax = sum(line.tax_micros for line in lines)
        net = price - tax if self.tax_inclusive else price
        order = Order(
            id=order_id,
            token=token,
            created_ms=self.now_ms,
            currency=currency,
            region=self.region,
            lines=lines,
            total_micros=price if self.tax_inclusive else price + tax,
            tax_micros=tax,
            tax_inclusive=self.tax_inclusive,
            revenue_micros=net - net * FEE_PPM // 1_000_000,
            last_event_ms=self.now_ms,
        )
        self.orders[order_id] = order
        return order

    def charge(self, subscription: Subscription, items: list[Item], lines: list[OrderLine]) -> Order:
        """The next order of a subscription: the first has the bare id, renewals count up from `..0`."""
        if subscription.order_base is None:
            subscription.order_base = self.new_order_base()
        index = len(subscription.orders)
        order_id = subscription.order_base if index == 0 else f"{subscription.order_base}..{index - 1}"
        order = self.new_order(order_id, subscription.token, items[0].plan.currency, lines)
        subscription.orders.append(order_id)
        for item in items:
            item.order_id = order_id
        return order

    def refund(self, order: Order, *, reason: str = "OTHER") -> None:
        """Give all money of an order back."""
        if order.state == "REFUNDED":
            raise PlayError(400, "orderAlreadyRefunded", "The order has been refunded already.")
        order.state, order.refund_reason, order.revenue_micros = "REFUNDED", reason, 0
        order.refunded_ms = order.last_event_ms = self.now_ms

    def refund_part(self, order: Order, part_ppm: int) -> None:
        """Give a share of an order's money back."""
        total = order.total_micros * part_ppm // 1_000_000
        tax = order.tax_micros * part_ppm // 1_000_000
        order.state = "PARTIALLY_REFUNDED"
        order.partial_refunds.append((self.now_ms, total, tax))
        order.revenue_micros -= order.revenue_micros * part_ppm // 1_000_000
        order.last_event_ms = self.now_ms

    def void(self, order: Order, *, reason: int, source: int, quantity: int | None = None) -> None:
        """List an order as voided and tell the hub."""
        subscription = order.token in self.subscriptions
        self.voided.append(
            Voided(
                token=order.token,
                order_id=order.id,
                purchased_ms=order.created_ms,
                voided_ms=self.now_ms,
                seen_ms=self.now_ms,
                reason=reason,
                source=source,
                subscription=subscription,
                quantity=quantity,
            )
        )
        member: dict[str, object] = {
            "purchaseToken": order.token,
            "orderId": order.id,
            "productType": 1 if subscription else 2,
            "refundType": 1 if quantity is None else 2,
        }
        self._tell({"voidedPurchaseNotification": member})

    def tell(self, subscription: Subscription, notification_type: int) -> None:
        """Push a subscription notification."""
        subscription.version += 1
        self._tell(
            {
                "subscriptionNotification": {
                    "version": "1.0",
                    "notificationType": notification_type,
                    "purchaseToken": subscription.token,
                    "subscriptionId": subscription.base.plan.product_id,
                }
            }
        )

    def appoint(self, subscription: Subscription, when_ms: int, action: Callable[[Subscription], None]) -> None:
        """Do `action` then, unless the subscription has taken another course by then."""
        generation = subscription.generation

        def keep() -> None:
            if subscription.generation == generation:
                action(subscription)

        self.kernel.at(when_ms, keep)

    def replaced_by(self, old: Subscription) -> None:
        """Close the purchase that another one takes the place of."""
        old.generation += 1
        old.state, old.cancelled_by, old.cancelled_ms = "EXPIRED", REPLACEMENT, self.now_ms
        old.auto_renew, old.replaced, old.ended_ms = False, True, self.now_ms
        for item in old.items:
            item.expiry_ms = min(item.expiry_ms or self.now_ms, self.now_ms)
