"""Closed sets of the field, spelled as the wire spells them (spec: events 4, stores 11)."""

from enum import StrEnum


class Store(StrEnum):
    """`store` of an event."""

    AMAZON = "AMAZON"
    APP_STORE = "APP_STORE"
    MAC_APP_STORE = "MAC_APP_STORE"
    PADDLE = "PADDLE"
    PLAY_STORE = "PLAY_STORE"
    PROMOTIONAL = "PROMOTIONAL"
    RC_BILLING = "RC_BILLING"
    ROKU = "ROKU"
    STRIPE = "STRIPE"
    TEST_STORE = "TEST_STORE"


class Environment(StrEnum):
    """A property of the store transaction, never of the customer."""

    PRODUCTION = "PRODUCTION"
    SANDBOX = "SANDBOX"


class PeriodType(StrEnum):
    """What kind of term one transaction bought."""

    TRIAL = "TRIAL"
    INTRO = "INTRO"
    NORMAL = "NORMAL"
    PROMOTIONAL = "PROMOTIONAL"
    PREPAID = "PREPAID"


class ProductType(StrEnum):
    """How a product behaves; SUBSCRIPTION renews, the others are bought once."""

    SUBSCRIPTION = "SUBSCRIPTION"
    CONSUMABLE = "CONSUMABLE"
    NON_CONSUMABLE = "NON_CONSUMABLE"
    NON_RENEWING_SUBSCRIPTION = "NON_RENEWING_SUBSCRIPTION"
    ONE_TIME = "ONE_TIME"
    """Bought once; whether it is consumed is not known (Google one-time products)."""


class ItemType(StrEnum):
    """Part of one product in a subscription that holds several (Play add-ons)."""

    BASE = "base"
    ADDON = "addon"


class Ownership(StrEnum):
    """How the customer came to own a purchase (Apple Family Sharing)."""

    PURCHASED = "PURCHASED"
    FAMILY_SHARED = "FAMILY_SHARED"


class CancelReason(StrEnum):
    """`cancel_reason` of CANCELLATION."""

    UNSUBSCRIBE = "UNSUBSCRIBE"
    BILLING_ERROR = "BILLING_ERROR"
    DEVELOPER_INITIATED = "DEVELOPER_INITIATED"
    PRICE_INCREASE = "PRICE_INCREASE"
    CUSTOMER_SUPPORT = "CUSTOMER_SUPPORT"
    UNKNOWN = "UNKNOWN"


class ExpirationReason(StrEnum):
    """`expiration_reason` of EXPIRATION."""

    UNSUBSCRIBE = "UNSUBSCRIBE"
    BILLING_ERROR = "BILLING_ERROR"
    DEVELOPER_INITIATED = "DEVELOPER_INITIATED"
    PRICE_INCREASE = "PRICE_INCREASE"
    CUSTOMER_SUPPORT = "CUSTOMER_SUPPORT"
    UNKNOWN = "UNKNOWN"
    SUBSCRIPTION_PAUSED = "SUBSCRIPTION_PAUSED"


class PriceConsent(StrEnum):
    """Where the customer stands with a price increase that needs consent."""

    NONE = "none"
    PENDING = "pending"
    ACCEPTED = "accepted"


class ChainState(StrEnum):
    """Derived state of one purchase chain (spec: stores 11.3)."""

    PENDING = "PENDING"
    TRIAL = "TRIAL"
    ACTIVE = "ACTIVE"
    CANCELLED = "CANCELLED"
    GRACE = "GRACE"
    RETRY = "RETRY"
    PAUSED = "PAUSED"
    EXPIRED = "EXPIRED"
    REFUNDED = "REFUNDED"
    SUPERSEDED = "SUPERSEDED"


class EventType(StrEnum):
    """`type` of an event (spec: events 2.1)."""

    TEST = "TEST"
    INITIAL_PURCHASE = "INITIAL_PURCHASE"
    RENEWAL = "RENEWAL"
    CANCELLATION = "CANCELLATION"
    UNCANCELLATION = "UNCANCELLATION"
    NON_RENEWING_PURCHASE = "NON_RENEWING_PURCHASE"
    SUBSCRIPTION_PAUSED = "SUBSCRIPTION_PAUSED"
    EXPIRATION = "EXPIRATION"
    BILLING_ISSUE = "BILLING_ISSUE"
    PRODUCT_CHANGE = "PRODUCT_CHANGE"
    TRANSFER = "TRANSFER"
    SUBSCRIPTION_EXTENDED = "SUBSCRIPTION_EXTENDED"
    TEMPORARY_ENTITLEMENT_GRANT = "TEMPORARY_ENTITLEMENT_GRANT"
    REFUND_REVERSED = "REFUND_REVERSED"
    INVOICE_ISSUANCE = "INVOICE_ISSUANCE"
    VIRTUAL_CURRENCY_TRANSACTION = "VIRTUAL_CURRENCY_TRANSACTION"
    EXPERIMENT_ENROLLMENT = "EXPERIMENT_ENROLLMENT"
    PURCHASE_REDEEMED = "PURCHASE_REDEEMED"
    PRICE_INCREASE_CONSENT_REQUIRED = "PRICE_INCREASE_CONSENT_REQUIRED"
    PRICE_INCREASE_CONSENT_APPROVED = "PRICE_INCREASE_CONSENT_APPROVED"
    SUBSCRIBER_ALIAS = "SUBSCRIBER_ALIAS"


OPT_IN_EVENT_TYPES = frozenset(
    {
        EventType.PRICE_INCREASE_CONSENT_REQUIRED,
        EventType.PRICE_INCREASE_CONSENT_APPROVED,
        EventType.PURCHASE_REDEEMED,
        EventType.SUBSCRIBER_ALIAS,
    }
)
"""Types that go only to integrations whose filter names them (spec: stores 11.8)."""


class RestoreBehavior(StrEnum):
    """What happens when a purchase of one customer is posted by another (spec: events 8.5)."""

    TRANSFER = "transfer"
    TRANSFER_IF_NO_ACTIVE = "transfer_if_no_active"
    KEEP = "keep"
    SHARE = "share"


class CredentialStatus(StrEnum):
    """Whether a store accepts the credentials of an app (spec: stores 1.7)."""

    OK = "ok"
    INVALID = "invalid"
    MISSING = "missing"
    UNKNOWN = "unknown"


class Origin(StrEnum):
    """Where facts came from; an import never dispatches (spec: stores 11.7)."""

    LIVE = "live"
    IMPORT = "import"
