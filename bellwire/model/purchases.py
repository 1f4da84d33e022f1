"""State of purchases as the hub knows it: chains and their periods (spec: stores 11.1, 11.2)."""

import msgspec

from bellwire.model.enums import (
    CancelReason,
    Environment,
    ExpirationReason,
    Ownership,
    PeriodType,
    PriceConsent,
    ProductType,
    Store,
)
from bellwire.model.facts import BundleItem, product_key


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction of a chain. `ordinal` counts from 1 by purchase time and is `renewal_number` of events."""

    period_key: str
    ordinal: int
    product_id: str
    plan_id: str | None
    period_type: PeriodType
    purchased_at_ms: int
    expires_at_ms: int | None
    price_micros: int | None
    currency: str | None
    price_usd_micros: int | None
    price_assumed: bool = False
    tax_ppm: int | None = None
    commission_ppm: int | None = None
    takehome_ppm: int | None = None
    country: str | None = None
    offer_code: str | None = None
    offer_type: str | None = None
    is_trial_conversion: bool = False
    refunded_at_ms: int | None = None
    refund_micros: int | None = None
    refund_revokes: bool = True
    refund_count: int = 0
    """How often this period was refunded, so that a second refund after a reversal is a second event."""
    refund_as_of_ms: int = 0
    """Store time of the newest statement about a refund: older ones neither refund nor reverse."""
    family_revoked: bool = False
    quantity: int | None = None
    items: tuple[BundleItem, ...] = ()
    """The base product, then its add-ons; empty for a single product."""
    historical: bool = False

    @property
    def product_key(self) -> str:
        return product_key(self.product_id, self.plan_id)

    @property
    def product_keys(self) -> tuple[str, ...]:
        """Everything that this period gives access to, the base product first."""
        return tuple(item.product_key for item in self.items) or (self.product_key,)


class Chain(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One purchase chain: a subscription with all its periods, or a one-time purchase with one.

    `periods` is sorted by `ordinal` and never empty, except for a purchase whose payment is pending.
    """

    id: int
    project_id: str
    app_id: str | None
    store: Store
    environment: Environment
    store_key: str
    first_store_key: str
    """The key this chain was first seen under; event ids hang on it, so that a re-key does not change them."""
    original_transaction_id: str
    customer_id: int
    product_type: ProductType
    ownership: Ownership = Ownership.PURCHASED
    started_at_ms: int | None = None
    periods: tuple[Period, ...] = ()
    as_of_ms: int = 0
    pending: bool = False

    auto_renew: bool | None = None
    auto_renew_product_id: str | None = None
    change_effective_at_ms: int | None = None
    change_count: int = 0
    """PRODUCT_CHANGE events in the running period (discriminator)."""
    unsubscribe_detected_at_ms: int | None = None
    toggle_count: int = 0
    """Times auto-renew flipped in the running period (discriminator of CANCELLATION and UNCANCELLATION)."""
    cancel_reason: CancelReason | None = None
    cancelled_in_period: bool = False
    """A CANCELLATION (not a refund) with auto-renew off was emitted for the running period."""
    cancel_survey: str | None = None
    billing_issue_at_ms: int | None = None
    outage_count: int = 0
    """BILLING_ISSUE events in the running period (discriminator)."""
    billing_retry: bool = False
    grace_expires_at_ms: int | None = None
    paused: bool = False
    pause_scheduled: bool = False
    pause_count: int = 0
    pause_sent: bool = False
    auto_resume_at_ms: int | None = None
    price_consent: PriceConsent = PriceConsent.NONE
    next_price_micros: int | None = None
    next_price_currency: str | None = None
    next_price_at_ms: int | None = None
    ended: bool = False
    ended_at_ms: int | None = None
    """When access was first seen over although the dates of the period end later."""
    expiration_hint: ExpirationReason | None = None
    expired_event_for_period: str | None = None
    reopen_count: int = 0
    """How often access came back within the running period after an EXPIRATION (discriminator)."""
    superseded: bool = False
    takeover_told: bool = False
    """The events of being superseded were found, or there are none; a store may say `superseded` before by whom."""
    replaces_key: str | None = None

    presented_offering_id: str | None = None
    presented_placement_id: str | None = None
    metadata: dict[str, str] | None = None
    observer_mode: bool = False
    acknowledged: bool | None = None
    last_pull_at_ms: int | None = None
    pull_failures: int = 0

    @property
    def latest(self) -> Period | None:
        """The running period: the one with the highest ordinal."""
        return self.periods[-1] if self.periods else None

    @property
    def is_subscription(self) -> bool:
        return self.product_type is ProductType.SUBSCRIPTION
