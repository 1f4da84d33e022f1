"""Dressing a detected change as the event the wire knows: every field of events 3, right value, unit and null rule."""

from collections.abc import Sequence

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from bellwire.engine.emission import Context, Emission, canonical_rank
from bellwire.engine.identity import aliases, event_app_user_id
from bellwire.engine.keys import chain_event_id, event_id
from bellwire.engine.money import round_half_even, wire_amount, wire_share, wire_usd
from bellwire.model.customers import Customer
from bellwire.model.enums import Environment, EventType, Ownership, Store
from bellwire.model.events import Event, EventRecord, WireAttribute, WireItem
from bellwire.model.facts import BundleItem
from bellwire.model.projects import Catalogue
from bellwire.model.purchases import Chain, Period

_CONSENT = frozenset({EventType.PRICE_INCREASE_CONSENT_REQUIRED, EventType.PRICE_INCREASE_CONSENT_APPROVED})


def describe(
    emissions: Sequence[Emission], customer: Customer, context: Context, *, first_ms: int
) -> tuple[Customer, list[EventRecord]]:
    """Events of one change in canonical order, with event times from `first_ms` in steps of one millisecond.

    Returns the customer with its sequence moved on. Events that are not dispatched take no sequence number: consumers
    would take the hole for a loss.
    """
    records: list[EventRecord] = []
    sequence = customer.next_sequence
    for index, emission in enumerate(sorted(emissions, key=canonical_rank)):
        number = sequence if emission.dispatch else None
        event = _event(emission, customer, context, at_ms=first_ms + index, sequence=number)
        if emission.dispatch:
            sequence += 1
        records.append(
            EventRecord(
                event=event,
                project_id=emission.chain.project_id,
                customer_id=customer.id,
                chain_id=emission.chain.id,
                app_id=emission.chain.app_id,
                store_time_ms=emission.store_time_ms,
                dispatch=emission.dispatch,
                historical=emission.historical,
                price_usd_micros=emission.price_usd_micros,
            )
        )
    return replace(customer, next_sequence=sequence), records


def _event(emission: Emission, customer: Customer, context: Context, *, at_ms: int, sequence: int | None) -> Event:
    chain, period, kind = emission.chain, emission.period, emission.type
    product_id = period.product_key
    common = {
        "type": kind,
        "id": chain_event_id(chain, kind, emission.discriminator),
        "event_timestamp_ms": at_ms,
        "app_id": UNSET if chain.app_id is None else chain.app_id,
        "app_user_id": event_app_user_id(customer),
        "original_app_user_id": customer.original_app_user_id,
        "aliases": aliases(customer),
        "subscriber_attributes": wire_attributes(customer),
        "product_id": product_id,
        "environment": chain.environment,
        "store": chain.store,
        "transaction_id": period.period_key,
        "original_transaction_id": chain.original_transaction_id,
        "country_code": period.country or customer.country,
        "currency": period.currency,
        "customer_sequence": UNSET if sequence is None else sequence,
    }
    if kind in _CONSENT:
        return Event(**common)
    expires = period.expires_at_ms if isinstance(emission.expiration_at_ms, UnsetType) else emission.expiration_at_ms
    items = period.items if isinstance(emission.items, UnsetType) else emission.items
    keys = [item.product_key for item in items] or [product_id]
    entitlements = dict.fromkeys(name for key in keys for name in context.catalogue.entitlements_of(key))
    is_renewal, is_cancel = kind is EventType.RENEWAL, kind is EventType.CANCELLATION
    return Event(
        **common,
        period_type=period.period_type,
        purchased_at_ms=period.purchased_at_ms,
        expiration_at_ms=expires,
        entitlement_ids=list(entitlements) or None,
        entitlement_id=None,
        presented_offering_id=chain.presented_offering_id,
        presented_offering_context=_offering_context(chain, is_bundle=bool(items)),
        is_family_share=chain.ownership is Ownership.FAMILY_SHARED,
        price=wire_usd(emission.price_usd_micros),
        price_in_purchased_currency=wire_amount(emission.price_micros),
        tax_percentage=wire_share(period.tax_ppm),
        commission_percentage=wire_share(period.commission_ppm),
        takehome_percentage=wire_share(period.takehome_ppm),
        offer_code=period.offer_code,
        renewal_number=period.ordinal if chain.is_subscription else None,
        metadata=chain.metadata,
        is_trial_conversion=period.is_trial_conversion if is_renewal else UNSET,
        cancel_reason=emission.cancel_reason if is_cancel and emission.cancel_reason is not None else UNSET,
        expiration_reason=UNSET if emission.expiration_reason is None else emission.expiration_reason,
        new_product_id=emission.new_product_id,
        grace_period_expiration_at_ms=_grace(chain) if kind is EventType.BILLING_ISSUE else UNSET,
        auto_resume_at_ms=chain.auto_resume_at_ms if kind is EventType.SUBSCRIPTION_PAUSED else UNSET,
        quantity=(
            period.quantity
            if kind is EventType.NON_RENEWING_PURCHASE and period.quantity is not None and period.quantity > 1
            else UNSET
        ),
        product_display_name=_display_name(product_id, context.catalogue) if items else UNSET,
        items=[_item(item, emission, expires) for item in items] or UNSET,
    )


def _offering_context(chain: Chain, *, is_bundle: bool) -> dict[str, str | int] | UnsetType:
    """Where there is no placement to tell the key is absent; events of bundles always have it."""
    if chain.presented_placement_id is not None:
        return {"placement_identifier": chain.presented_placement_id}
    return {} if is_bundle else UNSET


def _display_name(product_key: str, catalogue: Catalogue) -> str | None:
    names = catalogue.display_names
    return names.get(product_key) or names.get(product_key.split(":", 1)[0])


def _item(item: BundleItem, emission: Emission, expires_ms: int | None) -> WireItem:
    """One product's share of the event's money: nothing where none moved, unknown in a refund of a part.

    USD at the rate of the whole period, so that the shares add up to it.
    """
    period, total = emission.period, emission.price_micros
    micros = item.price_micros
    if total == 0:
        micros = 0
    elif micros is not None and total != period.price_micros:
        micros = -micros if total is not None and total == -(period.price_micros or 0) else None
    return WireItem(
        type=item.type,
        product_id=item.product_key,
        price=wire_usd(_usd(micros, item, period)),
        price_in_purchased_currency=wire_amount(micros),
        currency=item.currency,
        expiration_at_ms=item.expires_at_ms if isinstance(emission.expiration_at_ms, UnsetType) else expires_ms,
    )


def _usd(micros: int | None, item: BundleItem, period: Period) -> int | None:
    if micros is None or micros == 0:
        return micros
    if period.price_usd_micros is None or not period.price_micros or item.currency != period.currency:
        return None
    return round_half_even(micros * period.price_usd_micros, period.price_micros)


def _grace(chain: Chain) -> int | None:
    grace, latest = chain.grace_expires_at_ms, chain.latest
    ends = None if latest is None else latest.expires_at_ms
    return grace if grace is not None and ends is not None and grace > ends and not chain.billing_retry else None


def wire_attributes(customer: Customer) -> dict[str, WireAttribute]:
    """Attributes as events carry them; deleted ones are absent."""
    return {
        name: WireAttribute(value=attribute.value, updated_at_ms=attribute.updated_at_ms)
        for name, attribute in customer.attributes.items()
        if attribute.value is not None
    }


def transfer_event(
    source: Customer,
    destination: Customer,
    *,
    app_id: str | None,
    store: Store,
    environment: Environment,
    trigger: str,
    at_ms: int,
) -> tuple[Customer, EventRecord]:
    """TRANSFER, once, for the destination (spec: events 3.1, F57). `trigger` tells this move from an earlier one."""
    event = Event(
        type=EventType.TRANSFER,
        id=event_id(
            destination.project_id,
            store,
            environment,
            trigger,
            EventType.TRANSFER,
            f"{source.original_app_user_id}|{destination.original_app_user_id}|{destination.next_sequence}",
        ),
        event_timestamp_ms=at_ms,
        app_id=UNSET if app_id is None else app_id,
        store=store,
        environment=environment,
        subscriber_attributes=wire_attributes(destination),
        transferred_from=aliases(source),
        transferred_to=aliases(destination),
        customer_sequence=destination.next_sequence,
    )
    record = EventRecord(
        event=event,
        project_id=destination.project_id,
        customer_id=destination.id,
        chain_id=None,
        app_id=app_id,
        store_time_ms=at_ms,
        dispatch=True,
    )
    return replace(destination, next_sequence=destination.next_sequence + 1), record
