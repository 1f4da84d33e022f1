"""GET subscriber: creation, visits, validators, who may see attributes (spec: api 1.2, 1.3, 1.6, 3.1)."""

import pytest

from bellwire.ingest.calls import Visit
from tests.web.conftest import Door
from tests.web.standin import NOW_MS

TAG = "X-RevenueCat-ETag"


def test_created_once(door: Door) -> None:
    first = door.ask("GET", "/v1/subscribers/once", key=door.apple_key, x_platform="iOS")
    again = door.ask("GET", "/v1/subscribers/once", key=door.apple_key, x_platform="iOS")
    assert (first.status, again.status) == (201, 200)
    assert again.json() == {
        "request_date": "2026-01-01T00:00:00Z",
        "request_date_ms": NOW_MS,
        "subscriber": {
            "entitlements": {},
            "first_seen": "2026-01-01T00:00:00Z",
            "last_seen": "2026-01-01T00:00:00Z",
            "management_url": None,
            "non_subscriptions": {},
            "original_app_user_id": "once",
            "original_application_version": None,
            "original_purchase_date": None,
            "other_purchases": {},
            "subscriptions": {},
        },
    }


@pytest.mark.parametrize(
    ("headers", "country", "platform", "version"),
    [
        ({"X-Platform": "iOS", "X-Storefront": "DEU", "X-Client-Version": "1.2"}, "DE", "ios", "1.2"),
        ({"X-Platform": "android", "X-Storefront": "us"}, "US", "android", None),
        ({"X-Platform": "web", "X-Storefront": "XXX"}, None, "web", None),
        ({"X-Platform": "roku", "X-Client-Version": "v" * 300}, None, "roku", "v" * 100),
    ],
)
def test_a_visit(door: Door, headers: dict[str, str], country: str | None, platform: str, version: str | None) -> None:
    expected = Visit(country=country, platform=platform, app_version=version, ip="127.0.0.1")
    for key in (door.apple_key, door.secret_key):
        door.ask("GET", "/v1/subscribers/visit", key=key, more=headers)
        assert door.ingest.visits.pop() == expected


def test_a_server_that_reads_is_no_visit(door: Door) -> None:
    door.ask("GET", "/v1/subscribers/visit", key=door.secret_key)
    assert door.ingest.visits == [None]
    door.ask("GET", "/v1/subscribers/visit", key=door.secret_key, x_platform="")
    assert door.ingest.visits == [None, None]


def test_an_app_that_does_not_name_its_platform_is_a_visit(door: Door) -> None:
    door.ask("GET", "/v1/subscribers/visit", key=door.apple_key)
    assert door.ingest.visits == [Visit(ip="127.0.0.1")]


def test_attributes_are_for_secret_keys(door: Door) -> None:
    door.ask(
        "POST", "/v1/subscribers/shy/attributes", key=door.apple_key, body=b'{"attributes":{"note":{"value":"hush"}}}'
    )
    public = door.ask("GET", "/v1/subscribers/shy", key=door.apple_key)
    assert b"hush" not in public.body
    assert "subscriber_attributes" not in public.json()["subscriber"]
    secret = door.ask("GET", "/v1/subscribers/shy", key=door.secret_key)
    assert secret.json()["subscriber"]["subscriber_attributes"] == {"note": {"value": "hush", "updated_at_ms": NOW_MS}}


@pytest.mark.parametrize(
    "path", ["/v1/subscribers/tagged", "/v1/product_entitlement_mapping", "/v1/subscribers/tagged/offerings"]
)
def test_validators(door: Door, path: str) -> None:
    door.ask("GET", "/v1/subscribers/tagged", key=door.apple_key)
    first = door.ask("GET", path, key=door.apple_key, more={TAG: ""})
    tag = first.headers[TAG.lower()]
    assert first.status == 200
    same = door.ask("GET", path, key=door.apple_key, more={TAG: tag})
    assert (same.status, same.body, same.headers[TAG.lower()]) == (304, b"", tag)
    assert same.headers["x-revenuecat-request-time"] == str(NOW_MS)
    assert same.headers["access-control-allow-origin"] == "*"
    assert door.ask("GET", path, key=door.apple_key, more={TAG: "other"}).status == 200
    assert TAG.lower() not in door.ask("GET", path, key=door.apple_key).headers


def test_a_validator_changes_with_the_customer(door: Door) -> None:
    def tag() -> str:
        return door.ask("GET", "/v1/subscribers/changing", key=door.secret_key, more={TAG: ""}).headers[TAG.lower()]

    door.ask("GET", "/v1/subscribers/changing", key=door.secret_key)
    before = tag()
    assert tag() == before
    body = b'{"attributes":{"note":{"value":"new"}}}'
    posted = door.ask("POST", "/v1/subscribers/changing/attributes", key=door.secret_key, body=body, more={TAG: before})
    assert (posted.status, TAG.lower() in posted.headers) == (200, False)
    assert tag() != before


def test_a_creation_is_never_answered_by_a_validator(door: Door) -> None:
    answer = door.ask("GET", "/v1/subscribers/brand-new", key=door.apple_key, more={TAG: "x"})
    assert answer.status == 201
    assert TAG.lower() in answer.headers
