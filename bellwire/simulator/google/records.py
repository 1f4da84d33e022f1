"""The fake store's books: subscriptions, one-time purchases, orders, voided purchases."""

from dataclasses import dataclass, field

from bellwire.simulator.google.catalogue import OneTimeProduct, Plan

ACTIVE = "ACTIVE"
PENDING = "PENDING"
PAUSED = "PAUSED"
IN_GRACE = "IN_GRACE_PERIOD"
ON_HOLD = "ON_HOLD"
CANCELED = "CANCELED"
EXPIRED = "EXPIRED"
PENDING_CANCELED = "PENDING_PURCHASE_CANCELED"

USER = "userInitiatedCancellation"
SYSTEM = "systemInitiatedCancellation"
DEVELOPER = "developerInitiatedCancellation"
REPLACEMENT = "replacementCancellation"


class PlayError(Exception):
    """The store refuses: `status`, Google's `reason`, and a message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass(kw_only=True)
class OrderLine:
    """What one item of an order bought. `phase` is base, trial, intro or proration; `start_ms` None = one-time."""

    product_id: str
    plan_id: str | None = None
    offer_id: str | None = None
    phase: str = "base"
    start_ms: int | None = None
    end_ms: int | None = None
    price_micros: int = 0
    tax_micros: int = 0
    """Filled when the order is booked."""
    quantity: int = 1


@dataclass(kw_only=True)
class Order:
    """One charge. `tax_micros` is inside `total_micros` when `tax_inclusive`, on top of the price otherwise."""

    id: str
    token: str
    created_ms: int
    currency: str
    region: str
    lines: list[OrderLine]
    total_micros: int
    tax_micros: int
    tax_inclusive: bool
    revenue_micros: int
    state: str = "PROCESSED"
    refunded_ms: int | None = None
    refund_reason: str = "OTHER"
    partial_refunds: list[tuple[int, int, int]] = field(default_factory=list)
    """(time, total, tax) of each."""
    last_event_ms: int = 0


@dataclass(kw_only=True)
class PriceChange:
    """A new price that is going to apply; `needs_consent` = the customer must agree first."""

    new_price_micros: int
    needs_consent: bool
    decrease: bool
    state: str = "OUTSTANDING"
    charge_at_ms: int | None = None


@dataclass(kw_only=True)
class StepUp:
    """A step of the price that needs consent."""

    new_price_micros: int
    deadline_ms: int
    state: str = "PENDING"


@dataclass(frozen=True, kw_only=True)
class Term:
    """One period that is not at the base price."""

    phase: str
    period: str
    price_micros: int


@dataclass(kw_only=True)
class Item:
    """One line of a subscription. Without `order_id` it is scheduled or not paid yet."""

    plan: Plan
    price_micros: int
    expiry_ms: int | None = None
    order_id: str | None = None
    phase: str = "base"
    upcoming: list[Term] = field(default_factory=list)
    """Trial and introductory terms still to come; after them the base price."""
    offer_id: str | None = None
    promotion_code: str | None = None
    price_change: PriceChange | None = None
    step_up: StepUp | None = None
    deferred_to: Plan | None = None
    removal_scheduled: bool = False
    first_charge_micros: int | None = None
    """Taken at the next charge instead of the price, once: an add-on pays only for the rest of the period."""
    replaced: tuple[str, str, str] | None = None
    """(product, base plan, replacement mode) of what it took the place of."""


@dataclass(kw_only=True)
class Subscription:
    """One purchase token and everything that became of it."""

    token: str
    items: list[Item]
    region: str
    state: str
    created_ms: int
    start_ms: int | None = None
    anchor_ms: int = 0
    """The charge date that renewals are counted from."""
    charges: int = 0
    """Periods since the anchor."""
    orders: list[str] = field(default_factory=list)
    order_base: str | None = None
    linked: str | None = None
    acknowledged: bool = False
    test: bool = False
    account_id: str | None = None
    auto_renew: bool = True
    cancelled_by: str | None = None
    cancelled_ms: int | None = None
    survey: tuple[str, str | None] | None = None
    payment_fails: str | None = None
    """What the next charge runs into: `grace`, `hold`, or None when it works."""
    paid_until_ms: int = 0
    pause_for_ms: int | None = None
    resume_ms: int | None = None
    pending_order: str | None = None
    pending_cancellation: bool = False
    payments_left: int = 0
    expired_token: str | None = None
    expired_account_id: str | None = None
    ended_ms: int | None = None
    replaced: bool = False
    generation: int = 0
    """Counts changes of plan, so that appointments made for an earlier course do nothing."""
    version: int = 0
    """Counts all changes; the etag."""

    @property
    def base(self) -> Item:
        """The item that matters: owned, and the one that runs longest."""
        owned = [item for item in self.items if item.order_id is not None]
        return max(owned or self.items, key=lambda item: item.expiry_ms or 0)

    @property
    def expiry_ms(self) -> int:
        return self.base.expiry_ms or 0


@dataclass(kw_only=True)
class OneTimePurchase:
    """One purchase of a one-time product."""

    token: str
    product: OneTimeProduct
    region: str
    state: str
    created_ms: int
    completed_ms: int | None = None
    order_id: str | None = None
    quantity: int = 1
    refunded_quantity: int = 0
    acknowledged: bool = False
    consumed: bool = False
    test: bool = False
    promo: bool = False
    account_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Voided:
    """A row of the voided purchases list. `seen_ms` is what its time filter looks at."""

    token: str
    order_id: str
    purchased_ms: int
    voided_ms: int
    seen_ms: int
    reason: int
    source: int
    subscription: bool
    quantity: int | None = None
