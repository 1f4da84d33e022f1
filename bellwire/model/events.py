"""The event as the wire spells it (spec: events 1-4). Absent is `UNSET`, null is `None`: the wire tells them apart."""

import msgspec
from msgspec import UNSET, UnsetType

from bellwire.model.enums import CancelReason, Environment, EventType, ExpirationReason, ItemType, PeriodType, Store


class WireAttribute(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of `subscriber_attributes`."""

    value: str
    updated_at_ms: int


class WireItem(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of `items`: a product of a subscription with add-ons. Amounts as in the event, which has their sum."""

    type: ItemType
    product_id: str
    price: float | None
    price_in_purchased_currency: float | None
    currency: str | None
    expiration_at_ms: int | None


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of `experiments`; variant `a` is the control."""

    experiment_id: str
    experiment_variant: str
    enrolled_at_ms: int | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The `event` object of a webhook body. Field semantics: specification, events 3.2-3.4.

    Encode with `msgspec.json.encode`: UNSET fields are left out, None is written as null. Every `*_ms` is integer
    milliseconds; `price` is USD, `price_in_purchased_currency` is in `currency`, both negative on refunds; the three
    percentages are shares 0..1.
    """

    type: EventType
    id: str
    event_timestamp_ms: int
    app_id: str | UnsetType = UNSET
    app_user_id: str | UnsetType = UNSET
    original_app_user_id: str | UnsetType = UNSET
    aliases: list[str] | UnsetType = UNSET
    subscriber_attributes: dict[str, WireAttribute] | UnsetType = UNSET
    experiments: list[Experiment] | UnsetType = UNSET
    product_id: str | UnsetType = UNSET
    new_product_id: str | UnsetType = UNSET
    period_type: PeriodType | None | UnsetType = UNSET
    purchased_at_ms: int | UnsetType = UNSET
    expiration_at_ms: int | None | UnsetType = UNSET
    grace_period_expiration_at_ms: int | None | UnsetType = UNSET
    auto_resume_at_ms: int | None | UnsetType = UNSET
    environment: Environment | UnsetType = UNSET
    store: Store | UnsetType = UNSET
    entitlement_ids: list[str] | None | UnsetType = UNSET
    entitlement_id: str | None | UnsetType = UNSET
    presented_offering_id: str | None | UnsetType = UNSET
    presented_offering_context: dict[str, str | int] | UnsetType = UNSET
    transaction_id: str | None | UnsetType = UNSET
    original_transaction_id: str | None | UnsetType = UNSET
    is_family_share: bool | UnsetType = UNSET
    country_code: str | None | UnsetType = UNSET
    currency: str | None | UnsetType = UNSET
    price: float | None | UnsetType = UNSET
    price_in_purchased_currency: float | None | UnsetType = UNSET
    tax_percentage: float | None | UnsetType = UNSET
    commission_percentage: float | None | UnsetType = UNSET
    takehome_percentage: float | None | UnsetType = UNSET
    offer_code: str | None | UnsetType = UNSET
    renewal_number: int | None | UnsetType = UNSET
    is_trial_conversion: bool | UnsetType = UNSET
    cancel_reason: CancelReason | UnsetType = UNSET
    expiration_reason: ExpirationReason | UnsetType = UNSET
    metadata: dict[str, str] | None | UnsetType = UNSET
    quantity: int | UnsetType = UNSET
    product_display_name: str | None | UnsetType = UNSET
    items: list[WireItem] | UnsetType = UNSET
    """The base product and its add-ons; absent for a single product."""
    transferred_from: list[str] | UnsetType = UNSET
    transferred_to: list[str] | UnsetType = UNSET
    customer_sequence: int | UnsetType = UNSET
    """Counts the customer's events from 1; additive to the compatible payload (architecture D4)."""


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An event with what the hub must know about it besides its wire form; one row of the events table."""

    event: Event
    project_id: str
    customer_id: int
    chain_id: int | None
    app_id: str | None
    store_time_ms: int | None
    """The store's own time of what happened, for the stage times of architecture D6."""
    dispatch: bool
    """False = kept for charts and history only (spec: stores 11.7)."""
    historical: bool = False
    price_usd_micros: int | None = None
    """Exact `price`, signed."""


class EventBody(msgspec.Struct, frozen=True, kw_only=True):
    """The whole webhook body (spec: events 1)."""

    api_version: str = "1.0"
    event: Event
