"""The customer-info object: what SDKs need to find, and what they derive from it (spec: api 1.6 and 2)."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bellwire.engine.access import active_entitlements
from bellwire.engine.customer_info import customer_info, iso_date
from bellwire.model.customer_info import CustomerInfo
from bellwire.model.customers import AppUserId, Attribute, Customer
from bellwire.model.enums import Environment, ItemType, Ownership, PeriodType, ProductType, Store
from bellwire.model.facts import BundleItem
from bellwire.model.projects import Catalogue, ProjectSettings
from bellwire.model.purchases import Chain, Period

DAY = 86_400_000
NOW = 1_700_000_000_000
URLS = {
    Store.APP_STORE: "https://apps.apple.com/account/subscriptions",
    Store.PLAY_STORE: "https://play.google.com/store/account/subscriptions",
}
CATALOGUE = Catalogue(
    entitlements_by_product={"monthly": ("pro",), "basic": ("pro", "base"), "coins": ("pro",), "play": ("pro",)},
    display_names={"monthly": "Pro, monthly"},
)
CUSTOMER = Customer(
    id=1,
    project_id="proj1",
    original_app_user_id="user1",
    ids=(AppUserId(app_user_id="user1", first_seen_ms=NOW - 90 * DAY, last_seen_ms=NOW),),
    first_seen_ms=NOW - 90 * DAY,
    last_seen_ms=NOW - 1,
    attributes={
        "plan": Attribute(value="gold", updated_at_ms=5),
        "gone": Attribute(value=None, updated_at_ms=6),
    },
)


def period(ordinal: int = 1, product_id: str = "monthly", *, start: int = NOW - DAY, days: int | None = 30) -> Period:
    return Period(
        period_key=f"{product_id}-{ordinal}",
        ordinal=ordinal,
        product_id=product_id,
        plan_id=None,
        period_type=PeriodType.NORMAL,
        purchased_at_ms=start,
        expires_at_ms=None if days is None else start + days * DAY,
        price_micros=9_990_000,
        currency="USD",
        price_usd_micros=9_990_000,
    )


def chain(*periods: Period, row_id: int = 255) -> Chain:
    return Chain(
        id=row_id,
        project_id="proj1",
        app_id="app1",
        store=Store.APP_STORE,
        environment=Environment.PRODUCTION,
        store_key=f"key{row_id}",
        first_store_key=f"key{row_id}",
        original_transaction_id=periods[0].period_key if periods else "t",
        customer_id=1,
        product_type=ProductType.SUBSCRIPTION,
        periods=periods,
        as_of_ms=NOW,
    )


def one_time(*, start: int, row_id: int = 7, refunded: bool = False) -> Chain:
    bought = replace(period(1, "coins", start=start, days=None), refunded_at_ms=NOW if refunded else None)
    return replace(chain(bought, row_id=row_id), product_type=ProductType.CONSUMABLE)


def info(
    *chains: Chain,
    with_attributes: bool = False,
    settings: ProjectSettings | None = None,
    platform_store: Store | None = None,
) -> CustomerInfo:
    return customer_info(
        CUSTOMER,
        chains,
        CATALOGUE,
        settings or ProjectSettings(),
        now_ms=NOW,
        with_attributes=with_attributes,
        management_urls=URLS,
        platform_store=platform_store,
    )


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_700_000_000_999, "2023-11-14T22:13:20Z"),
        (951_782_400_000, "2000-02-29T00:00:00Z"),
        (10**18, "9999-12-31T23:59:59Z"),
    ],
)
def test_dates_are_whole_seconds(moment: int, text: str) -> None:
    assert iso_date(moment) == text


def test_a_new_customer_has_every_key_that_an_sdk_looks_for() -> None:
    assert msgspec.to_builtins(info()) == {
        "request_date": "2023-11-14T22:13:20Z",
        "request_date_ms": NOW,
        "subscriber": {
            "entitlements": {},
            "first_seen": "2023-08-16T22:13:20Z",
            "last_seen": "2023-11-14T22:13:19Z",
            "management_url": None,
            "non_subscriptions": {},
            "original_app_user_id": "user1",
            "original_application_version": None,
            "original_purchase_date": None,
            "other_purchases": {},
            "subscriptions": {},
        },
    }


def test_attributes_are_shown_only_on_demand_and_without_tombstones() -> None:
    subscriber = msgspec.to_builtins(info(with_attributes=True))["subscriber"]
    assert subscriber["subscriber_attributes"] == {"plan": {"value": "gold", "updated_at_ms": 5}}
    assert b"gold" not in msgspec.json.encode(info())


def test_a_running_subscription() -> None:
    subscriber = msgspec.to_builtins(info(chain(period())))["subscriber"]
    assert subscriber["entitlements"] == {
        "pro": {
            "expires_date": "2023-12-13T22:13:20Z",
            "grace_period_expires_date": None,
            "product_identifier": "monthly",
            "purchase_date": "2023-11-13T22:13:20Z",
        }
    }
    assert subscriber["subscriptions"] == {
        "monthly": {
            "auto_resume_date": None,
            "billing_issues_detected_at": None,
            "display_name": "Pro, monthly",
            "expires_date": "2023-12-13T22:13:20Z",
            "grace_period_expires_date": None,
            "is_sandbox": False,
            "management_url": URLS[Store.APP_STORE],
            "metadata": None,
            "original_purchase_date": "2023-11-13T22:13:20Z",
            "ownership_type": "PURCHASED",
            "period_type": "normal",
            "price": {"amount": 9.99, "currency": "USD"},
            "purchase_date": "2023-11-13T22:13:20Z",
            "refunded_at": None,
            "store": "app_store",
            "store_transaction_id": "monthly-1",
            "unsubscribe_detected_at": None,
        }
    }
    assert subscriber["management_url"] == URLS[Store.APP_STORE]


def test_in_grace_the_entitlement_ends_with_the_grace_and_the_subscription_with_its_period() -> None:
    overdue = period(start=NOW - 31 * DAY)
    subscriber = info(
        replace(chain(overdue), billing_issue_at_ms=NOW - DAY, grace_expires_at_ms=NOW + 15 * DAY)
    ).subscriber
    subscription, entitlement = subscriber.subscriptions["monthly"], subscriber.entitlements["pro"]
    assert subscription.expires_date == iso_date(NOW - DAY)
    assert subscription.billing_issues_detected_at == iso_date(NOW - DAY)
    assert subscription.grace_period_expires_date == entitlement.grace_period_expires_date == iso_date(NOW + 15 * DAY)
    assert entitlement.expires_date == iso_date(NOW + 15 * DAY)


def test_a_solved_billing_problem_leaves_no_grace_behind() -> None:
    subscriber = info(replace(chain(period()), grace_expires_at_ms=NOW - DAY)).subscriber
    assert subscriber.subscriptions["monthly"].grace_period_expires_date is None
    assert subscriber.entitlements["pro"].grace_period_expires_date is None


def test_a_refunded_subscription_ended_when_the_money_went_back() -> None:
    refunded = replace(period(), refunded_at_ms=NOW - 5_000)
    subscriber = info(chain(refunded)).subscriber
    assert subscriber.subscriptions["monthly"].refunded_at == iso_date(NOW - 5_000)
    assert subscriber.subscriptions["monthly"].expires_date == iso_date(NOW - 5_000)
    assert subscriber.entitlements["pro"].expires_date == iso_date(NOW - 5_000)
    assert subscriber.management_url is None


def test_a_play_subscription_is_known_by_its_id_and_names_its_plan() -> None:
    planned = replace(period(1, "play"), plan_id="p1m", period_type=PeriodType.PREPAID)
    on_play = replace(chain(planned), store=Store.PLAY_STORE, environment=Environment.SANDBOX, auto_resume_at_ms=NOW)
    subscriber = info(on_play).subscriber
    subscription = subscriber.subscriptions["play"]
    assert (subscription.product_plan_identifier, subscription.store) == ("p1m", "play_store")
    assert (subscription.is_sandbox, subscription.period_type) == (True, "prepaid")
    assert subscription.auto_resume_date == iso_date(NOW)
    assert subscriber.entitlements["pro"].product_identifier == "play"
    assert subscriber.entitlements["pro"].product_plan_identifier == "p1m"


def test_an_add_on_gives_its_own_entitlement_through_a_product_that_is_listed() -> None:
    def item(kind: ItemType, key: str, price_micros: int) -> BundleItem:
        return BundleItem(type=kind, product_key=key, price_micros=price_micros, currency="USD")

    both = (item(ItemType.BASE, "play:p1m", 7_000_000), item(ItemType.ADDON, "basic:p1m", 2_990_000))
    bundle = replace(period(1, "play"), plan_id="p1m", items=both)
    subscriber = info(replace(chain(bundle), store=Store.PLAY_STORE)).subscriber
    assert set(subscriber.subscriptions) == {"play", "basic"}
    added = subscriber.subscriptions["basic"]
    assert (added.product_plan_identifier, added.store_transaction_id) == ("p1m", "play-1")
    assert added.price is not None
    assert added.price.amount == 2.99
    assert subscriber.entitlements["base"].product_identifier == "basic"
    assert subscriber.entitlements["base"].product_plan_identifier == "p1m"

    renewed = replace(
        chain(
            replace(bundle, expires_at_ms=NOW - 10), replace(period(2, "play"), plan_id="p1m", purchased_at_ms=NOW - 10)
        )
    )
    left = info(replace(renewed, store=Store.PLAY_STORE)).subscriber
    assert left.subscriptions["basic"].expires_date == iso_date(NOW - 10)
    assert left.entitlements["pro"].expires_date == iso_date(NOW + 29 * DAY)


def test_an_upgrade_ends_the_old_product_where_the_new_one_begins() -> None:
    old = period(1, "basic", start=NOW - 10 * DAY, days=365)
    moved = replace(
        chain(old, period(2, start=NOW - DAY)), unsubscribe_detected_at_ms=NOW, ownership=Ownership.FAMILY_SHARED
    )
    subscriber = info(moved).subscriber
    assert subscriber.subscriptions["basic"].expires_date == iso_date(NOW - DAY)
    assert subscriber.subscriptions["basic"].unsubscribe_detected_at is None
    assert subscriber.subscriptions["monthly"].unsubscribe_detected_at == iso_date(NOW)
    assert subscriber.subscriptions["monthly"].ownership_type == "FAMILY_SHARED"
    assert subscriber.subscriptions["monthly"].original_purchase_date == iso_date(NOW - 10 * DAY)
    assert subscriber.entitlements["base"].expires_date == iso_date(NOW - DAY)
    assert subscriber.entitlements["pro"].product_identifier == "monthly"


def test_a_superseded_chain_ended() -> None:
    subscriber = info(replace(chain(period()), superseded=True, ended_at_ms=NOW - 1000)).subscriber
    assert subscriber.subscriptions["monthly"].expires_date == iso_date(NOW - 1000)
    assert subscriber.entitlements["pro"].expires_date == iso_date(NOW - 1000)


def test_the_purchase_that_ends_last_speaks_for_the_entitlement() -> None:
    short, long = chain(period()), chain(period(1, "basic", days=60), row_id=2)
    lifetime = one_time(start=NOW - 50 * DAY)
    assert info(short, long).subscriber.entitlements["pro"].product_identifier == "basic"
    forever = info(short, lifetime, long).subscriber.entitlements["pro"]
    assert (forever.product_identifier, forever.expires_date) == ("coins", None)
    tie = chain(period(1, "basic", start=NOW - 2 * DAY, days=31), row_id=3)
    assert info(tie, short).subscriber.entitlements["pro"].product_identifier == "monthly"


def test_one_entry_a_product_the_running_purchase_first() -> None:
    ended = replace(chain(period(start=NOW - 1000, days=30), row_id=9), ended=True, ended_at_ms=NOW)
    running = replace(chain(period(start=NOW - DAY)), environment=Environment.SANDBOX)
    assert info(running, ended).subscriber.subscriptions["monthly"].is_sandbox is True


def test_one_time_purchases_are_listed_oldest_first_without_refunded_ones() -> None:
    subscriber = info(
        one_time(start=NOW - DAY, row_id=255),
        one_time(start=NOW - 2 * DAY, row_id=8),
        one_time(start=NOW, refunded=True),
    ).subscriber
    assert msgspec.to_builtins(subscriber.non_subscriptions["coins"][1]) == {
        "id": "ff",
        "display_name": None,
        "is_sandbox": False,
        "original_purchase_date": iso_date(NOW - DAY),
        "price": {"amount": 9.99, "currency": "USD"},
        "purchase_date": iso_date(NOW - DAY),
        "store": "app_store",
        "store_transaction_id": "coins-1",
    }
    assert [one.id for one in subscriber.non_subscriptions["coins"]] == ["8", "ff"]


def test_a_refunded_one_time_purchase_leaves_no_entitlement_without_a_product() -> None:
    subscriber = info(one_time(start=NOW - DAY, refunded=True)).subscriber
    assert (subscriber.non_subscriptions, subscriber.entitlements) == ({}, {})


def test_a_grant_is_a_subscription_without_a_page() -> None:
    granted = replace(
        chain(replace(period(1, "monthly", days=None), period_type=PeriodType.PROMOTIONAL, price_micros=None)),
        store=Store.PROMOTIONAL,
        product_type=ProductType.NON_CONSUMABLE,
    )
    subscription = info(granted).subscriber.subscriptions["monthly"]
    assert (subscription.store, subscription.period_type, subscription.price) == ("promotional", "normal", None)
    assert (subscription.expires_date, subscription.management_url) == (None, None)


def test_sandbox_purchases_grant_only_where_the_project_lets_them() -> None:
    tested = replace(chain(period()), environment=Environment.SANDBOX)
    subscriber = info(tested, settings=ProjectSettings(sandbox_grants_entitlements=False)).subscriber
    assert subscriber.entitlements == {}
    assert "monthly" in subscriber.subscriptions


def test_a_pending_payment_owns_nothing() -> None:
    subscriber = info(replace(chain(), pending=True)).subscriber
    assert (subscriber.subscriptions, subscriber.entitlements) == ({}, {})


def test_the_management_page_is_that_of_the_asking_platform_else_of_the_longest() -> None:
    apple = chain(period(days=300))
    play = replace(chain(period(1, "play"), row_id=2), store=Store.PLAY_STORE)
    assert info(apple, play).subscriber.management_url == URLS[Store.APP_STORE]
    assert info(apple, play, platform_store=Store.PLAY_STORE).subscriber.management_url == URLS[Store.PLAY_STORE]
    stripe = replace(chain(period(), row_id=3), store=Store.STRIPE)
    assert info(stripe).subscriber.management_url is None


def test_a_trial_costs_nothing_in_the_currency_of_the_purchase() -> None:
    trial = replace(period(), period_type=PeriodType.TRIAL, price_micros=0, currency="EUR")
    price = info(chain(trial)).subscriber.subscriptions["monthly"].price
    assert price is not None
    assert (price.amount, price.currency) == (0, "EUR")


moments = st.integers(min_value=NOW - 60 * DAY, max_value=NOW)


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    starts = sorted(draw(st.lists(moments, min_size=1, max_size=4)))
    products = draw(st.lists(st.sampled_from(["monthly", "basic", "play", "other"]), min_size=4, max_size=4))
    days = draw(st.sampled_from([1, 30, 365]))
    periods = [period(n + 1, products[n], start=start, days=days) for n, start in enumerate(starts)]
    periods[-1] = replace(periods[-1], refunded_at_ms=draw(st.none() | moments))
    if draw(st.booleans()):
        added = BundleItem(type=ItemType.ADDON, product_key="basic:p1m")
        base_item = BundleItem(type=ItemType.BASE, product_key=periods[-1].product_key)
        periods[-1] = replace(periods[-1], items=(base_item, added))
    base = chain(*periods, row_id=draw(st.integers(min_value=1, max_value=99)))
    if draw(st.booleans()):
        bought = replace(periods[-1], product_id="coins", expires_at_ms=None, items=())
        return replace(base, product_type=ProductType.NON_CONSUMABLE, periods=(bought,))
    return replace(
        base,
        store=draw(st.sampled_from([Store.APP_STORE, Store.PLAY_STORE])),
        environment=draw(st.sampled_from(list(Environment))),
        ended=draw(st.booleans()),
        superseded=draw(st.booleans()),
        billing_issue_at_ms=draw(st.none() | moments),
        grace_expires_at_ms=draw(st.none() | st.just(NOW + 5 * DAY)),
    )


@given(st.lists(chains(), max_size=5))
def test_the_product_of_every_entitlement_is_there(owned: list[Chain]) -> None:
    subscriber = info(*owned).subscriber
    for entitlement in subscriber.entitlements.values():
        product = entitlement.product_identifier
        assert product in subscriber.subscriptions or subscriber.non_subscriptions[product]


@given(st.lists(chains(), max_size=5))
def test_sdks_derive_the_entitlements_that_the_hub_grants(owned: list[Chain]) -> None:
    derived = {
        identifier
        for identifier, one in info(*owned).subscriber.entitlements.items()
        if one.expires_date is None or one.expires_date > iso_date(NOW)
    }
    granted = active_entitlements(tuple(owned), CATALOGUE, ProjectSettings(), NOW)
    assert granted == derived
