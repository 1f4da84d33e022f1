"""Features that the hub does not have still get the answer that their SDK can live with (spec: api 1.1, 1.11)."""

import pytest

from tests.web.conftest import Door


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/subscribers/me/offerings", {"current_offering_id": None, "offerings": []}),
        ("GET", "/v1/offerings", {"current_offering_id": None, "offerings": []}),
        ("GET", "/v1/subscribers/me/virtual_currencies", {"virtual_currencies": {}}),
        ("GET", "/v1/subscribers/me/health_report_availability", {"report_logs": False}),
        ("GET", "/v1/subscribers/me/workflows?type=paywall", {"workflows": [], "ui_config": {}}),
        ("POST", "/v1/subscribers/me/intro_eligibility", {}),
        ("POST", "/v1/subscribers/me/attribution", {}),
        ("POST", "/v1/subscribers/me/adservices_attribution", {}),
        ("POST", "/v1/subscribers/me/restore/eligibility", {"is_purchase_allowed_by_restore_behavior": True}),
        ("POST", "/v1/customercenter/support/create-ticket", {"sent": False}),
        ("POST", "/v1/offers", {"offers": []}),
        ("POST", "/v1/events", {}),
        ("POST", "/v1/diagnostics", {}),
        ("GET", "/v1/health", {}),
        ("GET", "/rcbilling/v1/subscribers/me/products?id=a&id=b", {"product_details": []}),
        ("GET", "/rcbilling/v1/subscribers/me/offering_products", {"offerings": {}}),
    ],
)
def test_empty_answers(door: Door, method: str, path: str, body: dict[str, object]) -> None:
    sent = b'{"events":[]}' if method == "POST" else None
    answer = door.ask(method, path, key=door.apple_key, body=sent)
    assert (answer.status, answer.json()) == (200, body)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1/config/app", 404, 7226),
        ("GET", "/v1/customercenter/me", 404, 7226),
        ("GET", "/v1/subscribers/me/health_report", 404, 7226),
        ("GET", "/v1/subscribers/me/workflows/w1", 404, 7226),
        ("GET", "/v1/subscribers/me/ads/reward_verifications/1", 404, 7226),
        ("POST", "/v1/subscribers/redeem_purchase", 400, 7849),
        ("GET", "/rcbilling/v1/branding", 404, 7226),
        ("POST", "/rcbilling/v1/checkout/start", 404, 7226),
    ],
)
def test_refusals(door: Door, method: str, path: str, status: int, code: int) -> None:
    answer = door.ask(method, path, key=door.apple_key, body=b"{}" if method == "POST" else None)
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert answer.json()["message"]
    assert answer.headers["access-control-allow-origin"] == "*"


def test_the_mapping_is_the_catalogue(door: Door) -> None:
    answer = door.ask("GET", "/v1/product_entitlement_mapping", key=door.apple_key)
    assert answer.json() == {
        "product_entitlement_mapping": {
            "coins": {"product_identifier": "coins", "entitlements": []},
            "pro:monthly": {"product_identifier": "pro", "base_plan_id": "monthly", "entitlements": ["pro"]},
            "pro_monthly": {"product_identifier": "pro_monthly", "entitlements": ["pro"]},
        }
    }


def test_a_legacy_key_asks_for_offerings_of_a_platform(door: Door) -> None:
    assert door.ask("GET", "/v1/subscribers/me/offerings", key=door.legacy_key, x_platform="ios").status == 200
    answer = door.ask("GET", "/v1/subscribers/me/offerings", key=door.legacy_key)
    assert (answer.status, answer.json()["code"]) == (400, 7000)
