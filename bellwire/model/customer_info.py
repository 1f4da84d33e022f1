"""The customer-info object as the v1 wire spells it (spec: api 2). Every date is ISO, UTC, whole seconds, `Z`.

SDKs fail on keys that are missing, not on keys too many: all keys are written, null where there is nothing to say,
except those whose mere presence has a meaning (`UNSET`).
"""

import msgspec
from msgspec import UNSET, UnsetType


class PriceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a period cost, in units of `currency`; 0 for a trial."""

    amount: float
    currency: str


class EntitlementInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One entitlement, running or not, through the purchase that gives it longest."""

    expires_date: str | None
    """Null = never. While a grace period runs it is the end of that: SDKs look at nothing else (spec: api 1.6)."""
    grace_period_expires_date: str | None
    product_identifier: str
    """A key of `subscriptions` or `non_subscriptions`."""
    product_plan_identifier: str | UnsetType = UNSET
    purchase_date: str


class SubscriptionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The latest purchase of one subscription product."""

    auto_resume_date: str | None
    billing_issues_detected_at: str | None
    display_name: str | None
    expires_date: str | None
    grace_period_expires_date: str | None
    is_sandbox: bool
    management_url: str | None
    metadata: dict[str, str] | None
    original_purchase_date: str
    """Start of the subscription; does not move with renewals."""
    ownership_type: str
    period_type: str
    price: PriceInfo | None
    product_plan_identifier: str | UnsetType = UNSET
    purchase_date: str
    """Start of the running period."""
    refunded_at: str | None
    store: str
    store_transaction_id: str
    unsubscribe_detected_at: str | None


class NonSubscriptionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One one-time purchase."""

    id: str
    """The hub's own id of the purchase."""
    display_name: str | None
    is_sandbox: bool
    original_purchase_date: str
    price: PriceInfo | None
    purchase_date: str
    store: str
    store_transaction_id: str


class AttributeInfo(msgspec.Struct, frozen=True, kw_only=True):
    value: str
    updated_at_ms: int


class SubscriberInfo(msgspec.Struct, frozen=True, kw_only=True):
    entitlements: dict[str, EntitlementInfo]
    first_seen: str
    last_seen: str
    management_url: str | None
    non_subscriptions: dict[str, list[NonSubscriptionInfo]]
    """Oldest first: SDKs take the last element as the latest."""
    original_app_user_id: str
    original_application_version: str | None
    original_purchase_date: str | None
    other_purchases: dict[str, None]
    subscriber_attributes: dict[str, AttributeInfo] | UnsetType = UNSET
    """For secret keys only."""
    subscriptions: dict[str, SubscriptionInfo]


class CustomerInfo(msgspec.Struct, frozen=True, kw_only=True):
    request_date: str
    request_date_ms: int
    subscriber: SubscriberInfo
