"""What a store says about one purchase chain, decoded once from the store's own words.

A `Snapshot` is the only input of the engine's change detection (spec: stores 11.4). Field by field, absence and null
are different: `UNSET` means "the store did not say, keep what is known", `None` means "the store says there is none".

Units: every `*_ms` is integer milliseconds since the Unix epoch, UTC; every `*_micros` is an integer of 1/1,000,000
of the currency's unit (9.99 USD is 9_990_000); every `*_ppm` is a share in parts per million (0.15 is 150_000).
"""

from enum import StrEnum

import msgspec
from msgspec import UNSET, UnsetType

from bellwire.model.enums import (
    CancelReason,
    Environment,
    ExpirationReason,
    ItemType,
    Ownership,
    PeriodType,
    PriceConsent,
    ProductType,
    Store,
)


class BundleItem(msgspec.Struct, frozen=True, kw_only=True):
    """One product of a subscription that was bought with add-ons (spec: stores 11.2)."""

    type: ItemType
    product_key: str
    """As events spell it."""
    price_micros: int | None = None
    """Share of the period's price; None when the store does not tell."""
    currency: str | None = None
    expires_at_ms: int | None = None


class PeriodFact(msgspec.Struct, frozen=True, kw_only=True):
    """One store transaction: one paid, trial or intro term, or one one-time purchase.

    `period_key` becomes `transaction_id` of the events. `product_id` is the store's product id without a plan;
    `plan_id` is Google's base plan (or Apple's billing plan), None elsewhere.
    """

    period_key: str
    product_id: str
    plan_id: str | None = None
    ordinal: int | None = None
    """Its number in the chain, from 1, where the store's ids tell it (Google's `..N`); else the hub counts."""
    period_type: PeriodType = PeriodType.NORMAL
    purchased_at_ms: int
    expires_at_ms: int | None
    """End of the paid (or trial) term; None for purchases that never end."""
    price_micros: int | None = None
    """Gross amount charged, tax included; 0 for a free trial; None when the store does not tell."""
    currency: str | None = None
    tax_ppm: int | None = None
    """Share of gross that is tax, where the store states it exactly."""
    commission_ppm: int | None = None
    """Share of gross that the store kept, where the store states it exactly."""
    country: str | None = None
    """ISO 3166-1 alpha-2 store country of the transaction."""
    offer_code: str | None = None
    offer_type: str | None = None
    refunded_at_ms: int | None | UnsetType = UNSET
    """When money went back; None = the store shows it is not refunded (undoes a refund); UNSET = not said."""
    refund_micros: int | None = None
    """Amount that went back, positive; None = the whole price."""
    refund_revokes: bool = True
    """Whether the refund ended access at once."""
    family_revoked: bool = False
    """Access ended because a family member stopped sharing: no money moved (spec: stores 2.6 REVOKE)."""
    quantity: int | None = None
    items: tuple[BundleItem, ...] = ()
    """The base product, then its add-ons; empty for a single product. Their prices sum up to `price_micros`."""


class Replacement(StrEnum):
    """How a chain that names `replaces` takes over from the older one (spec: stores 3.5)."""

    IMMEDIATE = "immediate"
    """Another product, in effect now: PRODUCT_CHANGE on the old chain, INITIAL_PURCHASE on the new."""
    DEFERRED = "deferred"
    """The old chain lives on under the new store key; its product changes later."""
    SAME_PRODUCT = "same_product"
    """Re-signup to the same product: only INITIAL_PURCHASE of the new."""
    TOP_UP = "top_up"
    """Prepaid top-up or prepaid/auto conversion: EXPIRATION of the old order, INITIAL_PURCHASE of the new."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one purchase chain as a store told it at `as_of_ms`.

    Identity of the chain: (app, environment, store, `store_key`). `periods` holds at least the latest period, in any
    order. One-time purchases have exactly one period and `auto_renew` None.
    """

    store: Store
    environment: Environment
    store_key: str
    original_transaction_id: str
    product_type: ProductType
    as_of_ms: int
    """The store's own time of this statement: flags are taken only from the newest (spec: stores 11.4, rule 2)."""
    periods: tuple[PeriodFact, ...]
    complete_history: bool = False
    """True when `periods` is every period the store knows of this chain."""
    started_at_ms: int | UnsetType = UNSET
    ownership: Ownership = Ownership.PURCHASED
    pending: bool = False
    """Payment not complete: nothing is owned yet, no event."""

    auto_renew: bool | None | UnsetType = UNSET
    auto_renew_product_id: str | None | UnsetType = UNSET
    """Product the store will renew to when it differs from the current one (with plan, as in events); else None."""
    change_effective_at_ms: int | None | UnsetType = UNSET
    cancelled_at_ms: int | None | UnsetType = UNSET
    """Store's own time of the cancellation, if it tells one."""
    cancel_reason: CancelReason | UnsetType = UNSET
    """Why renewal is off, only where the store says so."""
    cancel_survey: str | None | UnsetType = UNSET
    billing_issue: bool | UnsetType = UNSET
    billing_issue_at_ms: int | None | UnsetType = UNSET
    billing_retry: bool | UnsetType = UNSET
    """Payment failed and access is off while the store goes on trying (Apple retry, Google hold)."""
    grace_expires_at_ms: int | None | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    pause_scheduled: bool | UnsetType = UNSET
    auto_resume_at_ms: int | None | UnsetType = UNSET
    price_consent: PriceConsent | UnsetType = UNSET
    next_price_micros: int | None | UnsetType = UNSET
    next_price_currency: str | None | UnsetType = UNSET
    next_price_at_ms: int | None | UnsetType = UNSET
    ended: bool | UnsetType = UNSET
    """The store says access is over although dates may look later (Apple status 2/5, Google EXPIRED)."""
    expiration_reason: ExpirationReason | UnsetType = UNSET
    """Only where the store states one that the other flags do not imply (Apple expirationIntent 4 and 5)."""
    price_postponed: bool = False
    """A later expiry in this snapshot is a grace or retry roll, never an extension."""

    replaced_by_other: bool = False
    """The store says another chain took over (Google replacementCancellation); that chain does the talking."""
    replaces: str | None = None
    """`store_key` of the chain that this one replaces (Google linkedPurchaseToken)."""
    replacement: Replacement | None = None
    previous_owner_key: str | None = None
    """`store_key` of an ended chain whose customer owns this one too (Google resubscribe outside the app)."""
    account_hint: str | None = None
    """Apple appAccountToken, Google obfuscated account id: used to find the customer (spec: stores 1.4)."""
    acknowledged: bool | UnsetType = UNSET
    raw: str = ""
    """The store's own JSON, kept for people to read."""


def product_key(product_id: str, plan_id: str | None) -> str:
    """`product_id` as events spell it: `<subscription>:<base plan>` where there is a plan."""
    return product_id if plan_id is None else f"{product_id}:{plan_id}"
