"""What happens to subscriptions by themselves as time goes by: renewal, grace, billing retry, expiry."""

from collections.abc import Callable

from bellwire.simulator.apple.calendar import DAY_MS, add_period, day_of_month
from bellwire.simulator.apple.catalogue import Offer, Product
from bellwire.simulator.apple.mailer import Mailer
from bellwire.simulator.apple.records import (
    ACTIVE,
    BILLING_ERROR,
    CANCELLED,
    EXPIRED,
    GRACE,
    NO_CONSENT,
    NOT_FOR_SALE,
    RETRY,
    Subscription,
    Transaction,
)
from bellwire.simulator.kernel import Kernel

Appointment = Callable[[Subscription], None]

RETRY_MS = 60 * DAY_MS
_FIRST_ID = 2_000_000_000_000_000


class Lifecycle:
    """Keeps the appointments of all subscriptions of one fake App Store."""

    def __init__(self, kernel: Kernel, mailer: Mailer) -> None:
        self._kernel = kernel
        self._mailer = mailer
        # Grows with the clock, so that a restarted simulator does not hand out the same ids again.
        self._next_id = _FIRST_ID + kernel.now_ms * 100

    def new_id(self) -> str:
        self._next_id += 1
        return str(self._next_id)

    def begin(
        self,
        subscription: Subscription,
        product: Product,
        *,
        at_ms: int,
        offer: Offer | None = None,
        price_micros: int | None = None,
        reason: str = "PURCHASE",
    ) -> Transaction:
        """A new paid (or free) period of an existing chain, and the appointment at its end."""
        before = subscription.latest
        after_trial = before.offer is not None and before.offer.period != before.product.period
        if reason == "PURCHASE" or after_trial:
            subscription.anchor_day = day_of_month(at_ms)
        price = offer.price_micros if offer is not None else price_micros
        transaction = Transaction(
            id=self.new_id(),
            original_id=subscription.original_id,
            product=product,
            account=before.account,
            environment=before.environment,
            purchased_ms=at_ms,
            original_purchased_ms=before.original_purchased_ms,
            expires_ms=self.end_of(subscription, product, offer, at_ms),
            price_micros=product.price_micros if price is None else price,
            reason=reason,
            shared=before.shared,
            storefront=before.storefront,
            offer=offer,
            app_account_token=before.app_account_token,
        )
        subscription.transactions.append(transaction)
        subscription.status = ACTIVE
        subscription.grace_until_ms = None
        subscription.expiration_intent = None
        subscription.next_product = None
        self.schedule(subscription)
        return transaction

    def end_of(self, subscription: Subscription, product: Product, offer: Offer | None, at_ms: int) -> int:
        period = product.period if offer is None else offer.period
        return add_period(at_ms, period, anchor_day=subscription.anchor_day)

    def schedule(self, subscription: Subscription) -> None:
        """Meet the subscription again at the end of its running period; earlier appointments lapse."""
        subscription.epoch += 1
        expires = subscription.latest.expires_ms
        if expires is not None:
            self._at(subscription, expires, self._period_end)

    def settle(self, subscription: Subscription) -> None:
        """The customer has paid what was open: the period begins where grace kept it, or now."""
        expires = subscription.latest.expires_ms
        kept = subscription.status == GRACE and expires is not None
        subscription.payment_works = True
        if not kept:
            subscription.anchor_day = day_of_month(self._kernel.now_ms)
        self._renew(subscription, expires if kept and expires is not None else self._kernel.now_ms, "BILLING_RECOVERY")

    def _at(self, subscription: Subscription, when_ms: int, what: Appointment) -> None:
        epoch = subscription.epoch

        def keep() -> None:
            if subscription.epoch == epoch:
                what(subscription)

        self._kernel.at(when_ms, keep)

    def _period_end(self, subscription: Subscription) -> None:
        increase = subscription.price_increase
        refused = increase is not None and increase.needs_consent and not increase.accepted
        if not subscription.auto_renew:
            self._expire(subscription, CANCELLED, "VOLUNTARY")
        elif refused:
            self._expire(subscription, NO_CONSENT, "PRICE_INCREASE")
        elif subscription.off_sale:
            self._expire(subscription, NOT_FOR_SALE, "PRODUCT_NOT_FOR_SALE")
        elif subscription.payment_works:
            self._renew(subscription, subscription.latest.expires_ms or self._kernel.now_ms, None)
        else:
            self._fail(subscription)

    def _renew(self, subscription: Subscription, at_ms: int, subtype: str | None) -> None:
        product = subscription.renewal_product
        offer, price = subscription.next_offer, None
        running = subscription.latest.offer
        if offer is None and running is not None and subscription.offer_left > 0 and subscription.next_product is None:
            offer = running
            subscription.offer_left -= 1
        elif subscription.next_product is None:
            if subscription.price_increase is not None and offer is None:
                subscription.price_micros = subscription.price_increase.price_micros
                subscription.price_increase = None
            price = subscription.price_micros
        subscription.next_offer = None
        self.begin(subscription, product, at_ms=at_ms, offer=offer, price_micros=price, reason="RENEWAL")
        self._mailer.about(subscription, "DID_RENEW", subtype)

    def _fail(self, subscription: Subscription) -> None:
        now = self._kernel.now_ms
        self._at(subscription, now + RETRY_MS, self._retry_end)
        if subscription.grace_days:
            subscription.status = GRACE
            subscription.grace_until_ms = now + subscription.grace_days * DAY_MS
            self._at(subscription, subscription.grace_until_ms, self._grace_end)
            self._mailer.about(subscription, "DID_FAIL_TO_RENEW", "GRACE_PERIOD")
        else:
            subscription.status = RETRY
            subscription.expiration_intent = BILLING_ERROR
            self._mailer.about(subscription, "DID_FAIL_TO_RENEW")

    def _grace_end(self, subscription: Subscription) -> None:
        subscription.status = RETRY
        subscription.grace_until_ms = None
        subscription.expiration_intent = BILLING_ERROR
        self._mailer.about(subscription, "GRACE_PERIOD_EXPIRED")

    def _retry_end(self, subscription: Subscription) -> None:
        self._expire(subscription, BILLING_ERROR, "BILLING_RETRY")

    def _expire(self, subscription: Subscription, intent: int, subtype: str) -> None:
        subscription.status = EXPIRED
        subscription.auto_renew = False
        subscription.expiration_intent = intent
        subscription.price_increase = None
        subscription.epoch += 1
        self._mailer.about(subscription, "EXPIRED", subtype)
