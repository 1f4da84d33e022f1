"""POST attributes: good keys saved, bad ones listed, odd bodies refused by name (spec: api 1.12)."""

from typing import Any

import msgspec
import pytest

from tests.web.conftest import Door, dashed
from tests.web.standin import NOW_MS


def write(door: Door, app_user_id: str, attributes: object, *, key: str = "", **headers: str) -> tuple[int, Any]:
    body = msgspec.json.encode({"attributes": attributes})
    answer = door.ask(
        "POST", f"/v1/subscribers/{app_user_id}/attributes", key=key or door.apple_key, body=body, more=dashed(headers)
    )
    return answer.status, answer.json()


def stored(door: Door, app_user_id: str) -> dict[str, str]:
    answer = door.ask("GET", f"/v1/subscribers/{app_user_id}", key=door.secret_key).json()
    return {key: one["value"] for key, one in answer["subscriber"]["subscriber_attributes"].items()}


def test_good_keys_are_saved_and_bad_ones_listed(door: Door) -> None:
    status, body = write(
        door,
        "mixed",
        {
            "plan": {"value": "gold", "updated_at_ms": 5},
            "$email": {"value": "nobody"},
            "1abc": {"value": "x"},
            "long": {"value": "v" * 501},
        },
    )
    assert (status, body["code"]) == (400, 7263)
    assert body["attribute_errors"] == [
        {"key_name": "$email", "message": "Value is not a valid email address."},
        {"key_name": "1abc", "message": "Key name format is not valid."},
        {"key_name": "long", "message": "Value is too long."},
    ]
    assert stored(door, "mixed") == {"plan": "gold"}


def test_a_public_key_gets_the_customer_without_attributes(door: Door) -> None:
    status, body = write(door, "public", {"plan": {"value": "gold"}})
    assert (status, body["subscriber"]["original_app_user_id"]) == (200, "public")
    assert "subscriber_attributes" not in body["subscriber"]
    _, body = write(door, "public", {}, key=door.secret_key)
    assert body["subscriber"]["subscriber_attributes"] == {"plan": {"value": "gold", "updated_at_ms": NOW_MS}}


def test_unknown_reserved_keys(door: Door) -> None:
    assert write(door, "reserved", {"$foo": {"value": "x"}})[0] == 200
    status, body = write(door, "reserved", {"$bar": {"value": "x"}, "ok": {"value": "y"}}, key=door.secret_key)
    assert (status, body["attribute_errors"][0]["key_name"]) == (400, "$bar")
    assert stored(door, "reserved") == {"$foo": "x", "ok": "y"}


def test_numbers_and_truth_become_text_and_null_deletes(door: Door) -> None:
    write(door, "types", {"i": {"value": 5}, "f": {"value": 1.5}, "t": {"value": True}, "gone": {"value": "x"}})
    write(door, "types", {"gone": {"value": None, "updated_at_ms": float(NOW_MS)}})
    assert stored(door, "types") == {"i": "5", "f": "1.5", "t": "true"}


def test_fill_in_yourself(door: Door) -> None:
    write(
        door,
        "device",
        {"$ip": {"value": "true"}, "$deviceVersion": {"value": "true"}},
        x_platform="iOS",
        x_platform_version="18.1",
        x_platform_device="iPhone17,1",
    )
    assert stored(door, "device") == {"$ip": "127.0.0.1", "$deviceVersion": "iPhone17,1 iOS 18.1"}
    write(door, "server", {"$ip": {"value": "true"}, "$deviceVersion": {"value": "true"}}, key=door.secret_key)
    assert stored(door, "server") == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", ""),
        (b"nonsense", ""),
        (b"{}", "attributes"),
        (b"[]", ""),
        (b'{"attributes":null}', "attributes"),
        (b'{"attributes":[]}', "attributes"),
        (b'{"attributes":{"k":"v"}}', "attributes.k"),
        (b'{"attributes":{"k":null}}', "attributes.k"),
        (b'{"attributes":{"k":{}}}', "attributes.k"),
        (b'{"attributes":{"k":{"value":[]}}}', "attributes.k.value"),
        (b'{"attributes":{"k":{"value":{"a":1}}}}', "attributes.k.value"),
        (b'{"attributes":{"k":{"value":1e999}}}', "attributes.k.value"),
        (b'{"attributes":{"k":{"value":"v","updated_at_ms":"now"}}}', "attributes.k.updated_at_ms"),
        (b'{"attributes":{"k":{"value":"a\\u0000"}}}', "attributes.k.value"),
        (b'{"attributes":{"k":{"value":"a\\ud83d"}}}', "attributes.k.value"),
        (b'{"attributes":{"k":{"value":"a\xff"}}}', "attributes.k.value"),
        (b'{"attributes":{"k\\u0000":{"value":"a"}}}', "attributes"),
        (b'{"attributes":{"k\\ud800":{"value":"a"}}}', "attributes"),
    ],
)
def test_malformed_bodies_name_the_field_and_change_nothing(door: Door, body: bytes, field: str) -> None:
    answer = door.ask("POST", "/v1/subscribers/malformed/attributes", key=door.apple_key, body=body)
    assert (answer.status, answer.json()["code"]) == (400, 7264)
    assert field in answer.json()["message"]
    assert door.ingest.visits == []


@pytest.mark.parametrize("number", ["1e30", "-1", "9" * 30])
def test_impossible_times_are_refused_per_key(door: Door, number: str) -> None:
    body = b'{"attributes":{"k":{"value":"v","updated_at_ms":%s},"ok":{"value":"v"}}}' % number.encode()
    answer = door.ask("POST", "/v1/subscribers/times/attributes", key=door.apple_key, body=body)
    assert (answer.status, answer.json()["attribute_errors"][0]["key_name"]) == (400, "k")
    assert stored(door, "times") == {"ok": "v"}


def test_of_a_key_written_twice_the_last_counts(door: Door) -> None:
    body = b'{"attributes":{"k":{"value":"first"},"k":{"value":"last"}}}'
    assert door.ask("POST", "/v1/subscribers/twice/attributes", key=door.apple_key, body=body).status == 200
    assert stored(door, "twice") == {"k": "last"}
