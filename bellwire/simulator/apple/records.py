"""What the fake App Store remembers, and how it words it: transactions, subscriptions, notifications."""

from dataclasses import dataclass, field

from bellwire.simulator.apple.catalogue import Kind, Offer, Product
from bellwire.simulator.notifier import Sent

PRODUCTION, SANDBOX = "Production", "Sandbox"

ACTIVE, EXPIRED, RETRY, GRACE, REVOKED = 1, 2, 3, 4, 5
"""`status` of a subscription."""

CANCELLED, BILLING_ERROR, NO_CONSENT, NOT_FOR_SALE, OTHER = 1, 2, 3, 4, 5
"""`expirationIntent`."""


@dataclass(kw_only=True)
class Transaction:
    """One purchase or renewal. Times in milliseconds."""

    id: str
    original_id: str
    product: Product
    account: str
    environment: str
    purchased_ms: int
    original_purchased_ms: int
    expires_ms: int | None
    price_micros: int
    reason: str = "PURCHASE"
    shared: bool = False
    quantity: int = 1
    storefront: str = "USA"
    offer: Offer | None = None
    app_account_token: str | None = None
    revoked_ms: int | None = None
    revocation_type: str | None = None
    revocation_percentage: int | None = None
    revocation_reason: int = 0
    upgraded: bool = False
    order_id: str = ""

    def payload(self, *, bundle_id: str, signed_ms: int) -> dict[str, object]:
        """JWSTransactionDecodedPayload."""
        offer = self.offer
        fields: dict[str, object | None] = {
            "transactionId": self.id,
            "originalTransactionId": self.original_id,
            "bundleId": bundle_id,
            "productId": self.product.id,
            "subscriptionGroupIdentifier": self.product.group or None,
            "webOrderLineItemId": f"3{self.id}" if self.product.kind is Kind.SUBSCRIPTION else None,
            "purchaseDate": self.purchased_ms,
            "originalPurchaseDate": self.original_purchased_ms,
            "expiresDate": self.expires_ms,
            "quantity": self.quantity,
            "type": self.product.kind.value,
            "appAccountToken": self.app_account_token,
            "inAppOwnershipType": "FAMILY_SHARED" if self.shared else "PURCHASED",
            "signedDate": signed_ms,
            "environment": self.environment,
            "transactionReason": self.reason,
            "storefront": self.storefront,
            "storefrontId": "143441",
            "price": self.price_micros // 1000,
            "currency": self.product.currency,
            "appTransactionId": f"7{self.account}",
            "isUpgraded": True if self.upgraded else None,
            "offerType": None if offer is None else offer.type,
            "offerDiscountType": None if offer is None else offer.discount.value,
            "offerPeriod": None if offer is None else offer.period,
            "offerIdentifier": None if offer is None else offer.identifier,
            "revocationDate": self.revoked_ms,
            "revocationReason": None if self.revoked_ms is None else self.revocation_reason,
            "revocationType": self.revocation_type,
            "revocationPercentage": self.revocation_percentage,
        }
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(kw_only=True)
class PriceIncrease:
    """A higher price that takes effect with the next renewal. `consent` None = the customer is only told."""

    price_micros: int
    needs_consent: bool
    accepted: bool


@dataclass(kw_only=True)
class Subscription:
    """One chain of transactions; `epoch` grows with every change of plan, so that old appointments lapse."""

    original_id: str
    transactions: list[Transaction]
    auto_renew: bool = True
    next_product: Product | None = None
    status: int = ACTIVE
    grace_until_ms: int | None = None
    expiration_intent: int | None = None
    payment_works: bool = True
    grace_days: int = 0
    price_increase: PriceIncrease | None = None
    price_micros: int | None = None
    """Price that this customer pays where it is not the product's."""
    offer_left: int = 0
    next_offer: Offer | None = None
    off_sale: bool = False
    epoch: int = 0
    anchor_day: int = 1
    recent_start_ms: int = 0
    auto_renew_before_refund: bool = True

    @property
    def latest(self) -> Transaction:
        return self.transactions[-1]

    @property
    def renewal_product(self) -> Product:
        return self.next_product or self.latest.product

    def renewal_price_micros(self) -> int:
        """What the next renewal costs."""
        product = self.renewal_product
        if self.next_offer is not None:
            return self.next_offer.price_micros
        if self.price_increase is not None and self.next_product is None:
            return self.price_increase.price_micros
        if self.price_micros is not None and self.next_product is None:
            return self.price_micros
        return product.price_micros

    def renewal_payload(self, *, signed_ms: int) -> dict[str, object]:
        """JWSRenewalInfoDecodedPayload."""
        latest, increase, offer = self.latest, self.price_increase, self.next_offer
        consent = None if increase is None else int(increase.accepted or not increase.needs_consent)
        fields: dict[str, object | None] = {
            "originalTransactionId": self.original_id,
            "productId": latest.product.id,
            "autoRenewProductId": self.renewal_product.id,
            "autoRenewStatus": int(self.auto_renew),
            "isInBillingRetryPeriod": self.status in (RETRY, GRACE),
            "expirationIntent": self.expiration_intent,
            "priceIncreaseStatus": consent,
            "gracePeriodExpiresDate": self.grace_until_ms,
            "offerType": None if offer is None else offer.type,
            "offerIdentifier": None if offer is None else offer.identifier,
            "offerDiscountType": None if offer is None else offer.discount.value,
            "signedDate": signed_ms,
            "environment": latest.environment,
            "recentSubscriptionStartDate": self.recent_start_ms,
            "renewalDate": latest.expires_ms if self.status in (ACTIVE, GRACE, RETRY) else None,
            "renewalPrice": self.renewal_price_micros() // 1000,
            "currency": latest.product.currency,
            "appAccountToken": latest.app_account_token,
            "appTransactionId": f"7{latest.account}",
        }
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(kw_only=True)
class Remembered:
    """A notification as the history keeps it: the signed bytes and how their sending went."""

    uuid: str
    type: str
    subtype: str | None
    environment: str
    signed_ms: int
    signed_payload: str
    account: str | None
    sent: Sent

    @property
    def failed(self) -> bool:
        """What `onlyFailures` asks for: tried, and not arrived (yet)."""
        return bool(self.sent.attempts) and not self.sent.delivered

    def attempts(self) -> list[dict[str, object]]:
        """`sendAttempts`."""
        accepted = self.sent.message.accept_statuses
        return [
            {
                "attemptDate": attempt.at_ms,
                "sendAttemptResult": _result(attempt.status, attempt.error, attempt.status in accepted),
            }
            for attempt in self.sent.attempts
        ]


def _result(status: int | None, error: str | None, accepted: bool) -> str:
    if accepted:
        return "SUCCESS"
    if status is not None:
        return "UNSUCCESSFUL_HTTP_RESPONSE_CODE"
    return {"timeout": "TIMED_OUT", "dropped": "NO_RESPONSE"}.get(error or "", "SOCKET_ISSUE")


@dataclass(kw_only=True)
class Account:
    """One Apple account in one environment: everything it bought in this app."""

    id: str
    environment: str
    subscriptions: list[Subscription] = field(default_factory=list)
    one_time: list[Transaction] = field(default_factory=list)

    def transactions(self) -> list[Transaction]:
        """Everything, oldest purchase first."""
        owned = [item for subscription in self.subscriptions for item in subscription.transactions]
        return sorted([*owned, *self.one_time], key=lambda item: (item.purchased_ms, int(item.id)))
