"""POST receipts: every spelling that clients use, told to ingest in one; the answer (spec: api 1.8, 3.2)."""

from typing import Any

import msgspec
import pytest

from bellwire.engine.attributes import AttributeChange
from bellwire.ingest.calls import IngestError, ReceiptCall
from bellwire.stores.base import PostedReceipt
from tests.support.threaded import Answered
from tests.web.conftest import Door, dashed
from tests.web.standin import store_outage

RECEIPT = {"app_user_id": "buyer", "fetch_token": "token"}


def post(door: Door, body: dict[str, Any] | bytes, *, key: str = "", **headers: str) -> Answered:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return door.ask("POST", "/v1/receipts", key=key or door.apple_key, body=raw, more=dashed(headers))


def told(door: Door, body: dict[str, Any] | bytes, *, key: str = "", **headers: str) -> ReceiptCall:
    answer = post(door, body, key=key, **headers)
    assert answer.status == 200, answer.body
    return door.ingest.receipts.pop()


def test_the_answer_is_the_customer(door: Door) -> None:
    answer = post(door, {**RECEIPT, "product_id": "pro_monthly"}, x_platform="iOS")
    assert answer.status == 200
    body = answer.json()
    assert set(body) == {"request_date", "request_date_ms", "subscriber"}
    assert body["subscriber"]["entitlements"]["pro"]["expires_date"] == "2026-01-31T00:00:00Z"
    assert body["subscriber"]["subscriptions"]["pro_monthly"]["store_transaction_id"] == "1000"


def test_an_ios_receipt(door: Door) -> None:
    body = {
        **RECEIPT,
        "product_id": "pro_monthly",
        "price": "9.99",
        "currency": "EUR",
        "store_country": "DEU",
        "transaction_id": "2000",
        "is_restore": False,
        "observer_mode": False,
        "purchase_completed_by": "revenuecat",
        "initiation_source": "purchase",
        "presented_offering_identifier": "default",
        "presented_placement_identifier": None,
        "payment_mode": 0,
        "introductory_price": "1.99",
        "normal_duration": "P1M",
        "metadata": {"campaign": "spring"},
        "attributes": {"plan": {"value": "gold", "updated_at_ms": 5}},
        "paywall": {"revision": 3, "dark_mode": True},
        "payload_version": 1,
    }
    call = told(door, body, x_platform="iOS", x_storefront="DEU")
    assert call.posted == PostedReceipt(
        fetch_token="token",
        product_ids=("pro_monthly",),
        price_micros=9_990_000,
        currency="EUR",
        store_country="DE",
        transaction_id="2000",
    )
    assert (call.project_id, call.app_id, call.app_user_id) == (call.project_id, door.apple_app, "buyer")
    assert (call.is_restore, call.presented_offering_id, call.presented_placement_id) == (False, "default", None)
    assert call.metadata == {"campaign": "spring"}
    assert call.attributes == {"plan": AttributeChange(value="gold", updated_at_ms=5)}
    assert call.visit is not None
    assert call.visit.country == "DE"
    assert msgspec.json.decode(call.raw_body) == body


def test_an_android_receipt(door: Door) -> None:
    body = {
        **RECEIPT,
        "product_ids": ["pro", "addon"],
        "platform_product_ids": [{"product_id": "pro", "base_plan_id": "monthly", "offer_id": None}],
        "price": 4.99,
        "currency": "usd",
        "pricing_phases": [{"billingPeriod": "P1M"}],
        "initiation_source": "restore",
    }
    call = told(door, body, key=door.play_key, x_platform="android", x_observer_mode_enabled="true")
    assert call.app_id == door.play_app
    assert (call.posted.product_ids, call.posted.price_micros, call.posted.currency) == (
        ("pro", "addon"),
        4_990_000,
        "USD",
    )
    assert (call.is_restore, call.posted.observer_mode, call.posted.public_key) == (True, True, True)


@pytest.mark.parametrize(
    ("fields", "header", "observes"),
    [
        ({}, "", False),
        ({}, "true", True),
        ({}, "false", False),
        ({"observer_mode": True}, "", True),
        ({"observer_mode": False}, "true", False),
        ({"purchase_completed_by": "my_app", "observer_mode": False}, "", True),
        ({"purchase_completed_by": "revenuecat", "observer_mode": True}, "true", False),
    ],
)
def test_who_finishes_purchases(door: Door, fields: dict[str, Any], header: str, observes: bool) -> None:
    call = told(door, {**RECEIPT, **fields}, x_observer_mode_enabled=header)
    assert call.posted.observer_mode is observes


@pytest.mark.parametrize(
    ("price", "micros"),
    [
        (b"9.99", 9_990_000),
        (b'"9.99"', 9_990_000),
        (b"0", 0),
        (b"0.1", 100_000),
        (b"1e2", 100_000_000),
        (b"10.990000000000002", 10_990_000),
        (b"0.0000005", 0),
        (b"0.0000015", 2),
        (b"9999999999.99", 9_999_999_999_990_000),
        (b"null", None),
    ],
)
def test_prices_are_exact(door: Door, price: bytes, micros: int | None) -> None:
    call = told(door, b'{"app_user_id":"buyer","fetch_token":"t","currency":"USD","price":' + price + b"}")
    assert call.posted.price_micros == micros


def test_a_price_without_a_currency_is_in_dollars(door: Door) -> None:
    assert told(door, {**RECEIPT, "price": 1}).posted.currency == "USD"
    assert told(door, {**RECEIPT, "currency": None, "store_country": None}).posted.currency is None


@pytest.mark.parametrize("body", [{**RECEIPT, "store_country": "ZZZ"}, {**RECEIPT, "product_ids": [], "price": None}])
def test_what_is_only_a_hint_does_not_lose_a_purchase(door: Door, body: dict[str, Any]) -> None:
    assert told(door, body).posted.store_country is None


@pytest.mark.parametrize(
    ("platform", "app"),
    [("ios", "apple"), ("iOS", "apple"), ("macOS", "apple"), ("uikitformac", "apple"), ("android", "play")],
)
@pytest.mark.parametrize("kind", ["secret", "legacy"])
def test_keys_without_an_app_choose_by_platform(door: Door, platform: str, app: str, kind: str) -> None:
    key = door.secret_key if kind == "secret" else door.legacy_key
    call = told(door, {**RECEIPT, "product_id": "pro"}, key=key, x_platform=platform)
    assert call.app_id == (door.apple_app if app == "apple" else door.play_app)
    assert call.posted.public_key is (kind == "legacy")


@pytest.mark.parametrize("platform", ["", "windows", "stripe"])
@pytest.mark.parametrize("kind", ["secret", "legacy"])
def test_a_platform_that_names_no_app(door: Door, platform: str, kind: str) -> None:
    key = door.secret_key if kind == "secret" else door.legacy_key
    answer = post(door, RECEIPT, key=key, x_platform=platform)
    assert (answer.status, answer.json()["code"]) == (400, 7000)
    assert "X-Platform" in answer.json()["message"]


def test_a_project_without_such_an_app(door: Door) -> None:
    answer = post(door, RECEIPT, key=door.other_secret_key, x_platform="ios")
    assert (answer.status, answer.json()["code"]) == (400, 7000)


def test_an_app_key_needs_no_platform(door: Door) -> None:
    assert told(door, RECEIPT, x_platform="android").app_id == door.apple_app


def test_a_store_that_cannot_be_verified_keeps_the_purchase_in_the_sdk(door: Door) -> None:
    answer = post(door, RECEIPT, key=door.stripe_key)
    assert (answer.status, answer.json()["code"]) == (500, 7110)


@pytest.mark.parametrize(
    ("body", "key", "code", "field"),
    [
        (b"{}", "apple", 7226, "app_user_id"),
        (b'{"app_user_id":"","fetch_token":"t"}', "apple", 7220, "app user id"),
        (b'{"app_user_id":"null","fetch_token":"t"}', "apple", 7256, "app user id"),
        (b'{"app_user_id":"a/b","fetch_token":"t"}', "apple", 7256, "app user id"),
        (b'{"app_user_id":"a"}', "apple", 7103, "fetch_token"),
        (b'{"app_user_id":"a","fetch_token":""}', "apple", 7103, "fetch_token"),
        (b'{"app_user_id":"a","fetch_token":5}', "apple", 7226, "fetch_token"),
        (b'{"app_user_id":"a","fetch_token":"t\\u0000"}', "apple", 7226, "fetch_token"),
        (b'{"app_user_id":"a","fetch_token":"t"}', "play", 7106, "product_id"),
        (b'{"app_user_id":"a","fetch_token":"t","product_ids":[1]}', "play", 7226, "product_ids[0]"),
        (b'{"app_user_id":"a","fetch_token":"t","price":-1}', "apple", 7226, "price"),
        (b'{"app_user_id":"a","fetch_token":"t","price":"NaN"}', "apple", 7226, "price"),
        (b'{"app_user_id":"a","fetch_token":"t","price":"Infinity"}', "apple", 7226, "price"),
        (b'{"app_user_id":"a","fetch_token":"t","price":1e999999}', "apple", 7226, "price"),
        (b'{"app_user_id":"a","fetch_token":"t","price":1e99999999999999999999}', "apple", 7226, "price"),
        (b'{"app_user_id":"a","fetch_token":"t","price":"much"}', "apple", 7226, "price"),
        (b'{"app_user_id":"a","fetch_token":"t","price":[1]}', "apple", 7226, "price"),
        (b'{"app_user_id":"a","fetch_token":"t","price":1,"currency":"EURO"}', "apple", 7226, "currency"),
        (b'{"app_user_id":"a","fetch_token":"t","metadata":{"a":1}}', "apple", 7226, "metadata"),
        (b'{"app_user_id":"a","fetch_token":"t","is_restore":"yes"}', "apple", 7226, "is_restore"),
        (b'{"app_user_id":"a","fetch_token":"t","attributes":{"k":1}}', "apple", 7226, "attributes.k"),
        (
            b'{"app_user_id":"a","fetch_token":"t","attributes":{"k":{"value":"\\ud800"}}}',
            "apple",
            7226,
            "attributes.k",
        ),
    ],
)
def test_bad_receipts_name_the_field(door: Door, body: bytes, key: str, code: int, field: str) -> None:
    answer = post(door, body, key=door.apple_key if key == "apple" else door.play_key)
    assert (answer.status, answer.json()["code"]) == (400, code)
    assert field in answer.json()["message"]
    assert door.ingest.receipts == []


def test_bad_attributes_do_not_stop_a_purchase(door: Door) -> None:
    answer = post(door, {**RECEIPT, "attributes": {"1abc": {"value": "x"}, "$foo": {"value": "y"}}})
    assert answer.status == 200
    assert answer.json()["attributes_error_response"] == {
        "code": 7263,
        "message": "Some subscriber attributes were not saved.",
        "attribute_errors": [{"key_name": "1abc", "message": "Key name format is not valid."}],
    }


def test_what_to_consume(door: Door) -> None:
    door.ingest.consumable = {"coins_100": True, "lifetime": False}
    answer = post(door, {**RECEIPT, "product_ids": ["coins_100"]}, key=door.play_key)
    assert answer.json()["purchased_products"] == {
        "coins_100": {"should_consume": True},
        "lifetime": {"should_consume": False},
    }


def test_attributes_are_shown_to_secret_keys_only(door: Door) -> None:
    body = {**RECEIPT, "app_user_id": "shy-buyer", "attributes": {"note": {"value": "hush"}}}
    assert b"hush" not in post(door, body).body
    answer = post(door, body, key=door.secret_key, x_platform="ios")
    assert answer.json()["subscriber"]["subscriber_attributes"]["note"]["value"] == "hush"


def test_an_app_transaction_alone_buys_nothing(door: Door) -> None:
    body = {
        "app_user_id": "installer",
        "app_transaction": "jws",
        "attributes": {"note": {"value": "x"}, "1": {"value": "y"}},
    }
    answer = post(door, body)
    assert (answer.status, answer.json()["subscriber"]["subscriptions"]) == (200, {})
    assert answer.json()["attributes_error_response"]["attribute_errors"][0]["key_name"] == "1"
    assert door.ingest.receipts == []


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (store_outage(), 503, 7101),
        (IngestError(503, 7231, "Play is down"), 503, 7231),
        (IngestError(400, 7103, "The store does not know this purchase."), 400, 7103),
        (IngestError(400, 7102, "The purchase belongs to another customer."), 400, 7102),
        (IngestError(400, 7651, "The payment is pending."), 400, 7651),
        (IngestError(500, 7234, "The store refuses the credentials."), 500, 7234),
        (ConnectionError("database"), 500, 7110),
    ],
)
def test_what_ingest_refuses_goes_out_as_it_is(door: Door, failure: Exception, status: int, code: int) -> None:
    door.ingest.failure = failure
    answer = post(door, RECEIPT)
    assert (answer.status, answer.json()["code"]) == (status, code)
