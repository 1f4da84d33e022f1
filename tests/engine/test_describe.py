"""Every field of an event about a purchase: value, unit, null rule, and which keys are absent (spec: events 3)."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from bellwire.engine import emission as emit
from bellwire.engine.describe import describe, transfer_event
from bellwire.engine.emission import Context, Emission
from bellwire.model.customers import AppUserId, Attribute, Customer
from bellwire.model.enums import (
    CancelReason,
    Environment,
    EventType,
    ExpirationReason,
    Ownership,
    PeriodType,
    ProductType,
    Store,
)
from bellwire.model.projects import Catalogue, ProjectSettings
from bellwire.model.purchases import Chain, Period
from tests.support.wire_rules import ALWAYS, COMMON, CONSENT, CONSENT_KEYS, IDENTITY, ONLY_ON, check_wire, wire

NOW_MS = 1_767_225_600_000
ANON = "$RCAnonymousID:" + "0" * 32

PERIOD = Period(
    period_key="GPA.1..1",
    ordinal=3,
    product_id="pro",
    plan_id="monthly",
    period_type=PeriodType.NORMAL,
    purchased_at_ms=NOW_MS - 1000,
    expires_at_ms=NOW_MS + 9000,
    price_micros=32_990_000,
    currency="CAD",
    price_usd_micros=25_486_985,
    tax_ppm=166_667,
    commission_ppm=125_000,
    takehome_ppm=850_000,
    country="CA",
    offer_code="SPRING",
    is_trial_conversion=True,
)
CHAIN = Chain(
    id=7,
    project_id="proj1",
    app_id="app1",
    store=Store.PLAY_STORE,
    environment=Environment.SANDBOX,
    store_key="token",
    first_store_key="token",
    original_transaction_id="GPA.1",
    customer_id=1,
    product_type=ProductType.SUBSCRIPTION,
    periods=(PERIOD,),
    grace_expires_at_ms=NOW_MS + 20_000,
    auto_resume_at_ms=NOW_MS + 30_000,
    presented_offering_id="spring",
    metadata={"utm_source": "mail"},
)
CUSTOMER = Customer(
    id=1,
    project_id="proj1",
    original_app_user_id=ANON,
    ids=(
        AppUserId(app_user_id=ANON, first_seen_ms=1, last_seen_ms=9),
        AppUserId(app_user_id="user1", first_seen_ms=2, last_seen_ms=5),
    ),
    first_seen_ms=1,
    last_seen_ms=9,
    attributes={
        "$email": Attribute(value="a@example.com", updated_at_ms=4),
        "gone": Attribute(value=None, updated_at_ms=5),
    },
    country="DE",
    next_sequence=12,
)
CONTEXT = Context(
    now_ms=NOW_MS,
    settings=ProjectSettings(),
    catalogue=Catalogue(entitlements_by_product={"pro": ("pro", "extra")}),
    app=None,
)
MONEYLESS = [
    emit.cancellation(CHAIN, PERIOD, CancelReason.UNSUBSCRIBE, NOW_MS),
    emit.billing_issue(CHAIN, PERIOD, NOW_MS),
    emit.expiration(CHAIN, PERIOD, ExpirationReason.UNSUBSCRIBE, NOW_MS),
    emit.product_change(CHAIN, PERIOD, "pro:yearly", 1, NOW_MS),
    emit.simple(EventType.UNCANCELLATION, CHAIN, PERIOD, "1", NOW_MS),
    emit.simple(EventType.SUBSCRIPTION_EXTENDED, CHAIN, PERIOD, "1", NOW_MS),
    emit.simple(EventType.SUBSCRIPTION_PAUSED, CHAIN, PERIOD, "0", NOW_MS),
]
REFUNDED = replace(PERIOD, refunded_at_ms=NOW_MS + 500, refund_count=1)
MONEYED = [
    emit.purchase(CHAIN, PERIOD),
    emit.purchase(CHAIN, replace(PERIOD, ordinal=1)),
    emit.purchase(replace(CHAIN, product_type=ProductType.CONSUMABLE), PERIOD),
    emit.refund(CHAIN, REFUNDED),
    emit.refund_reversed(CHAIN, PERIOD, REFUNDED, NOW_MS),
]
ASKING = [emit.simple(kind, CHAIN, PERIOD, "1", NOW_MS) for kind in sorted(CONSENT)]
EVERY = [*MONEYLESS, *MONEYED, *ASKING]


def body(emission: Emission, customer: Customer = CUSTOMER) -> dict[str, object]:
    _, (record,) = describe([emission], customer, CONTEXT, first_ms=NOW_MS)
    check_wire(record.event)
    return wire(record.event)


def of_type(kind: EventType) -> Emission:
    return next(emission for emission in EVERY if emission.type is kind)


@pytest.mark.parametrize("emission", EVERY, ids=lambda emission: emission.type)
def test_common_and_identity_fields(emission: Emission) -> None:
    told = body(emission)
    assert told["type"] == emission.type
    assert told["event_timestamp_ms"] == NOW_MS
    assert told["app_id"] == "app1"
    assert told["app_user_id"] == "user1"
    assert told["original_app_user_id"] == ANON
    assert told["aliases"] == [ANON, "user1"]
    assert told["subscriber_attributes"] == {"$email": {"value": "a@example.com", "updated_at_ms": 4}}
    assert told["customer_sequence"] == 12
    assert told["store"] == "PLAY_STORE"
    assert told["environment"] == "SANDBOX"
    assert told["product_id"] == "pro:monthly"
    assert told["transaction_id"] == "GPA.1..1"
    assert told["original_transaction_id"] == "GPA.1"
    assert told["currency"] == "CAD"
    assert told["country_code"] == "CA"


@pytest.mark.parametrize("emission", [*MONEYLESS, *MONEYED], ids=lambda emission: emission.type)
def test_lifecycle_fields(emission: Emission) -> None:
    told = body(emission)
    assert told["period_type"] == "NORMAL"
    assert told["purchased_at_ms"] == NOW_MS - 1000
    assert told["entitlement_ids"] == ["pro", "extra"]
    assert told["entitlement_id"] is None
    assert told["presented_offering_id"] == "spring"
    assert told["is_family_share"] is False
    assert told["tax_percentage"] == Decimal("0.1667")
    assert told["commission_percentage"] == Decimal("0.125")
    assert told["takehome_percentage"] == Decimal("0.85")
    assert told["offer_code"] == "SPRING"
    assert told["metadata"] == {"utm_source": "mail"}
    subscription = emission.chain.product_type is ProductType.SUBSCRIPTION
    assert told["renewal_number"] == (emission.period.ordinal if subscription else None)
    refunded = emission.type is EventType.CANCELLATION and emission in MONEYED
    assert told["expiration_at_ms"] == (NOW_MS + 500 if refunded else NOW_MS + 9000)


@pytest.mark.parametrize("emission", MONEYLESS, ids=lambda emission: emission.type)
def test_events_that_move_no_money_say_zero(emission: Emission) -> None:
    told = body(emission)
    assert (told["price"], told["price_in_purchased_currency"]) == (0, 0)


@pytest.mark.parametrize("emission", MONEYED, ids=lambda emission: emission.type)
def test_amounts_have_their_sign_and_at_most_four_decimals(emission: Emission) -> None:
    told = body(emission)
    sign = -1 if emission.type is EventType.CANCELLATION else 1
    assert told["price"] == sign * Decimal("25.487")
    assert told["price_in_purchased_currency"] == sign * Decimal("32.99")


@pytest.mark.parametrize("emission", EVERY, ids=lambda emission: emission.type)
def test_keys_of_each_type_are_exactly_these(emission: Emission) -> None:
    own = {key for key, kind in ONLY_ON.items() if kind is emission.type}
    if emission.type is EventType.PRODUCT_CHANGE:
        own = {"new_product_id"}
    expected = COMMON | IDENTITY | (CONSENT_KEYS if emission.type in CONSENT else ALWAYS | own)
    assert set(body(emission)) == expected | {"customer_sequence"}


def test_fields_of_one_type() -> None:
    assert body(of_type(EventType.RENEWAL))["is_trial_conversion"] is True
    assert body(of_type(EventType.CANCELLATION))["cancel_reason"] == "UNSUBSCRIBE"
    assert body(of_type(EventType.EXPIRATION))["expiration_reason"] == "UNSUBSCRIBE"
    assert body(of_type(EventType.BILLING_ISSUE))["grace_period_expiration_at_ms"] == NOW_MS + 20_000
    assert body(of_type(EventType.SUBSCRIPTION_PAUSED))["auto_resume_at_ms"] == NOW_MS + 30_000
    assert body(of_type(EventType.PRODUCT_CHANGE))["new_product_id"] == "pro:yearly"


def test_unknown_amounts_are_null_and_never_zero() -> None:
    unpriced = replace(
        PERIOD,
        price_micros=None,
        price_usd_micros=None,
        currency=None,
        tax_ppm=None,
        commission_ppm=None,
        takehome_ppm=None,
    )
    for emission in (emit.purchase(CHAIN, unpriced), emit.refund(CHAIN, replace(unpriced, refunded_at_ms=NOW_MS))):
        told = body(emission)
        for key in (
            "price",
            "price_in_purchased_currency",
            "currency",
            "tax_percentage",
            "commission_percentage",
            "takehome_percentage",
        ):
            assert told[key] is None, key


def test_unknown_rate_makes_only_price_null() -> None:
    told = body(emit.purchase(CHAIN, replace(PERIOD, price_usd_micros=None)))
    assert told["price"] is None
    assert told["price_in_purchased_currency"] == Decimal("32.99")


def test_nulls() -> None:
    chain = replace(CHAIN, presented_offering_id=None, metadata=None)
    bare = replace(PERIOD, country=None, offer_code=None, expires_at_ms=None, product_id="other", plan_id=None)
    told = body(emit.purchase(chain, bare), replace(CUSTOMER, country=None))
    for key in ("presented_offering_id", "metadata", "country_code", "offer_code", "expiration_at_ms"):
        assert told[key] is None, key
    assert told["entitlement_ids"] is None
    assert told["product_id"] == "other"


def test_country_falls_back_to_where_the_customer_was_last_seen() -> None:
    assert body(emit.purchase(CHAIN, replace(PERIOD, country=None)))["country_code"] == "DE"


def test_customer_without_attributes_has_an_empty_object() -> None:
    assert body(EVERY[0], replace(CUSTOMER, attributes={}))["subscriber_attributes"] == {}


def test_purchase_without_an_app_has_no_app_id_key() -> None:
    _, (record,) = describe([emit.purchase(replace(CHAIN, app_id=None), PERIOD)], CUSTOMER, CONTEXT, first_ms=NOW_MS)
    assert "app_id" not in wire(record.event)
    assert record.app_id is None


def test_family_share() -> None:
    shared = replace(CHAIN, ownership=Ownership.FAMILY_SHARED)
    assert body(emit.purchase(shared, PERIOD))["is_family_share"] is True


@pytest.mark.parametrize(
    ("grace_ms", "retry", "told"),
    [
        (NOW_MS + 20_000, False, NOW_MS + 20_000),
        (None, False, None),
        (NOW_MS + 20_000, True, None),
        (NOW_MS + 9000, False, None),
    ],
)
def test_grace_period_is_null_unless_it_outlasts_the_period(
    grace_ms: int | None, retry: bool, told: int | None
) -> None:
    chain = replace(CHAIN, grace_expires_at_ms=grace_ms, billing_retry=retry)
    assert body(emit.billing_issue(chain, PERIOD, NOW_MS))["grace_period_expiration_at_ms"] == told


def test_placement_goes_into_the_offering_context() -> None:
    told = body(emit.purchase(replace(CHAIN, presented_placement_id="onboarding"), PERIOD))
    assert told["presented_offering_context"] == {"placement_identifier": "onboarding"}


@pytest.mark.parametrize(("quantity", "told"), [(None, False), (1, False), (3, True)])
def test_quantity_is_told_of_several_units(quantity: int | None, told: bool) -> None:
    once = replace(CHAIN, product_type=ProductType.CONSUMABLE)
    assert ("quantity" in body(emit.purchase(once, replace(PERIOD, quantity=quantity)))) is told


def test_events_of_one_change_come_in_canonical_order_one_millisecond_apart() -> None:
    old = replace(CHAIN, id=8, first_store_key="old")
    mixed = [
        emit.refund_reversed(CHAIN, PERIOD, REFUNDED, NOW_MS),
        emit.expiration(CHAIN, PERIOD, ExpirationReason.UNSUBSCRIBE, NOW_MS),
        emit.cancellation(CHAIN, PERIOD, CancelReason.BILLING_ERROR, NOW_MS),
        emit.billing_issue(CHAIN, PERIOD, NOW_MS),
        emit.simple(EventType.SUBSCRIPTION_PAUSED, CHAIN, PERIOD, "0", NOW_MS),
        emit.simple(EventType.UNCANCELLATION, CHAIN, PERIOD, "1", NOW_MS),
        emit.simple(EventType.SUBSCRIPTION_EXTENDED, CHAIN, PERIOD, "1", NOW_MS),
        emit.purchase(CHAIN, PERIOD),
        emit.purchase(CHAIN, replace(PERIOD, ordinal=1)),
        emit.product_change(CHAIN, PERIOD, "x", 1, NOW_MS),
        replace(emit.expiration(old, PERIOD, ExpirationReason.UNSUBSCRIBE, NOW_MS), of_replaced=True),
    ]
    customer, records = describe(mixed, CUSTOMER, CONTEXT, first_ms=NOW_MS)
    assert [str(record.event.type) for record in records] == [
        "EXPIRATION",
        "PRODUCT_CHANGE",
        "INITIAL_PURCHASE",
        "RENEWAL",
        "SUBSCRIPTION_EXTENDED",
        "UNCANCELLATION",
        "SUBSCRIPTION_PAUSED",
        "BILLING_ISSUE",
        "CANCELLATION",
        "EXPIRATION",
        "REFUND_REVERSED",
    ]
    assert [record.event.event_timestamp_ms for record in records] == [NOW_MS + n for n in range(11)]
    assert [record.event.customer_sequence for record in records] == [12 + n for n in range(11)]
    assert customer.next_sequence == 23
    assert records[0].chain_id == 8


def test_events_kept_back_leave_no_hole_in_the_sequence() -> None:
    kept = replace(emit.purchase(CHAIN, PERIOD), dispatch=False, historical=True)
    sent = emit.cancellation(CHAIN, PERIOD, CancelReason.UNSUBSCRIBE, NOW_MS)
    customer, records = describe([kept, sent], CUSTOMER, CONTEXT, first_ms=NOW_MS)
    assert "customer_sequence" not in wire(records[0].event)
    assert records[1].event.customer_sequence == 12
    assert customer.next_sequence == 13
    assert [(record.dispatch, record.historical) for record in records] == [(False, True), (True, False)]


def test_the_same_change_has_the_same_id_whoever_finds_it_and_whenever() -> None:
    _, (first,) = describe([EVERY[0]], CUSTOMER, CONTEXT, first_ms=NOW_MS)
    _, (again,) = describe([EVERY[0]], replace(CUSTOMER, next_sequence=99), CONTEXT, first_ms=NOW_MS + 77)
    assert first.event.id == again.event.id
    rekeyed = replace(EVERY[0], chain=replace(CHAIN, store_key="new"))
    _, (moved,) = describe([rekeyed], CUSTOMER, CONTEXT, first_ms=NOW_MS)
    assert moved.event.id == first.event.id
    _, records = describe(EVERY, CUSTOMER, CONTEXT, first_ms=NOW_MS)
    assert len({record.event.id for record in records}) == len(EVERY)


def test_record_keeps_the_exact_amount_and_the_stores_own_time() -> None:
    _, (record,) = describe([emit.refund(CHAIN, REFUNDED)], CUSTOMER, CONTEXT, first_ms=NOW_MS)
    assert record.price_usd_micros == -25_486_985
    assert record.store_time_ms == NOW_MS + 500


def test_transfer_names_both_sides_and_nobody_as_app_user_id() -> None:
    taker = replace(
        CUSTOMER,
        id=2,
        original_app_user_id="user2",
        ids=(AppUserId(app_user_id="user2", first_seen_ms=1, last_seen_ms=1),),
    )
    taker_after, record = transfer_event(
        CUSTOMER,
        taker,
        app_id="app1",
        store=Store.PLAY_STORE,
        environment=Environment.PRODUCTION,
        trigger="token",
        at_ms=NOW_MS,
    )
    told = wire(record.event)
    assert set(told) == COMMON | {
        "store",
        "environment",
        "transferred_from",
        "transferred_to",
        "subscriber_attributes",
        "customer_sequence",
    }
    assert told["transferred_from"] == [ANON, "user1"]
    assert told["transferred_to"] == ["user2"]
    assert (record.customer_id, taker_after.next_sequence) == (2, 13)
