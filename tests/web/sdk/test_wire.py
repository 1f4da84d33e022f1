"""What holds for every SDK path: keys, routing of encoded ids, error JSON, headers, CORS, size limit (spec: api 0, 1.3, 1.5)."""

import socket
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bellwire.engine.identity import InvalidAppUserId, check_app_user_id
from tests.support.threaded import ask_raw
from tests.web.conftest import MAX_BODY_BYTES, Door
from tests.web.standin import NOW_MS, store_outage

ANON = "$RCAnonymousID:" + "0123456789abcdef" * 2


def test_keys(door: Door) -> None:
    path = "/v1/subscribers/keys"
    assert door.ask("GET", path, key=door.apple_key).status == 201
    assert door.ask("GET", path, key=door.secret_key).status == 200
    assert door.ask("GET", path, key=door.legacy_key).status == 200
    assert door.ask("GET", path, Authorization=door.apple_key).status == 200
    assert door.ask("GET", path, Authorization=f"bearer  {door.apple_key} ").status == 200


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("", 7224),
        ("Bearer ", 7224),
        ("Bearer", 7224),
        ("Bearer appl_wrong", 7225),
        ("appl_wrong", 7225),
        ("Basic dXNlcjpwdw==", 7225),
        ("Bearer \xe4\xf6\xfc", 7225),
    ],
)
def test_keys_that_open_nothing(door: Door, authorization: str, code: int) -> None:
    answer = door.ask("GET", "/v1/subscribers/me", Authorization=authorization)
    assert (answer.status, answer.json()["code"]) == (401, code)
    assert answer.json()["message"]
    assert door.ingest.visits == []


def test_a_revoked_key_is_no_key(door: Door) -> None:
    answer = door.ask("GET", "/v1/subscribers/me", key=door.revoked_key)
    assert (answer.status, answer.json()["code"]) == (401, 7225)
    assert door.revoked_key not in answer.body.decode()


def test_a_key_reaches_its_own_project_only(door: Door) -> None:
    assert door.ask("GET", "/v1/subscribers/private", key=door.secret_key).status == 201
    assert door.ask("GET", "/v1/subscribers/private", key=door.other_secret_key).status == 201


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/subscribers/me/offerings"),
        ("GET", "/v1/offerings"),
        ("GET", "/v1/product_entitlement_mapping"),
        ("POST", "/v1/subscribers/identify"),
        ("POST", "/v1/subscribers/me/alias"),
        ("GET", "/v1/subscribers/me/virtual_currencies"),
        ("POST", "/v1/config/app"),
        ("GET", "/rcbilling/v1/subscribers/me/products?id=a"),
    ],
)
def test_a_secret_key_does_not_open_what_is_for_sdks_alone(door: Door, method: str, path: str) -> None:
    answer = door.ask(method, path, key=door.secret_key, body=b"{}" if method == "POST" else None)
    assert (answer.status, answer.json()["code"]) == (403, 7243)


@pytest.mark.parametrize(
    ("segment", "app_user_id"),
    [
        (quote(ANON, safe=""), ANON),
        (ANON, ANON),
        ("a+b", "a+b"),
        ("a%2Bb", "a+b"),
        ("a%20b", "a b"),
        ("%E6%97%A5", "日"),
        ("100%25", "100%"),
        ("100%2525", "100%25"),
        ("50%", "50%"),
        ("a%0Ab", "a\nb"),
        ("a%3Fb%23c", "a?b#c"),
        ("..", ".."),
        ("%2E%2E", ".."),
        ("a?x=1", "a"),
        ("identify", "identify"),
    ],
)
def test_ids_in_paths_are_decoded_once(door: Door, segment: str, app_user_id: str) -> None:
    answer = door.ask("GET", f"/v1/subscribers/{segment}", key=door.apple_key)
    assert answer.status in (200, 201)
    assert answer.json()["subscriber"]["original_app_user_id"] == app_user_id


@pytest.mark.parametrize(
    ("segment", "code"),
    [
        ("", 7220),
        ("%20", 7220),
        ("a%2Fb", 7256),
        ("a%2foffering", 7256),
        ("%2F", 7256),
        ("%2Fattributes", 7256),
        ("null", 7256),
        ("%5Bobject%20Object%5D", 7256),
        ("%00", 7256),
        ("a%00b", 7256),
        ("%FF", 7256),
        ("%ED%A0%80", 7256),
        ("x" * 101, 7256),
    ],
)
@pytest.mark.parametrize("suffix", ["", "/virtual_currencies"])
def test_ids_that_are_refused(door: Door, segment: str, code: int, suffix: str) -> None:
    answer = door.ask("GET", f"/v1/subscribers/{segment}{suffix}", key=door.apple_key)
    assert (answer.status, answer.json()["code"]) == (400, code)
    assert "app user id" in answer.json()["message"]
    assert door.ingest.visits == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=20))
def test_any_id_arrives_as_it_was_or_is_refused(door: Door, app_user_id: str) -> None:
    try:
        check_app_user_id(app_user_id)
        expected = {200, 201}
    except InvalidAppUserId:
        expected = {400}
    answer = door.ask("GET", f"/v1/subscribers/{quote(app_user_id, safe='')}", key=door.apple_key)
    assert answer.status in expected
    if answer.status != 400:
        assert answer.json()["subscriber"]["original_app_user_id"] == app_user_id


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/nothing", "/v1/subscribers", "/v1/subscribers/a/b", "/v1//subscribers/a", "/rcbilling"]
)
def test_unknown_paths_are_json_too(door: Door, path: str) -> None:
    answer = door.ask("GET", path, key=door.apple_key)
    assert (answer.status, answer.json()["code"]) == (404, 7226)
    assert answer.headers["x-revenuecat-request-time"] == str(NOW_MS)


def test_a_wrong_method_says_the_right_ones(door: Door) -> None:
    answer = door.ask("DELETE", "/v1/receipts", key=door.apple_key)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.json() == {"code": 7226, "message": "This path takes POST, not DELETE."}


def test_every_answer_carries_the_time_and_an_id(door: Door) -> None:
    known = door.ask("GET", "/v1/subscribers/time", key=door.apple_key)
    refused = door.ask("GET", "/v1/subscribers/time")
    for answer in (known, refused):
        assert answer.headers["x-revenuecat-request-time"] == str(NOW_MS)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
    assert known.headers["x-request-id"] != refused.headers["x-request-id"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/receipts",
        "/v1/subscribers/a%2Fb",
        "/v1/config/app",
        "/v1/events",
        "/v1/diagnostics",
        "/rcbilling/v1/branding",
    ],
)
def test_preflight(door: Door, path: str) -> None:
    answer = door.ask(
        "OPTIONS",
        path,
        Origin="https://shop.example",
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization, x-my-header, bad name, x-platform",
    )
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "GET, POST, PATCH, DELETE, OPTIONS"
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    for name in ("Authorization", "Content-Type", "Accept", "X-Platform", "X-Version", "X-Platform-Flavor"):
        assert name in allowed
    assert {"X-Platform-Flavor-Version", "X-Is-Sandbox", "X-RC-Subscriber-Token", "x-my-header"} <= set(allowed)
    assert "bad name" not in allowed
    assert allowed.count("X-Platform") == 1
    assert "x-platform" not in allowed
    assert int(answer.headers["access-control-max-age"]) > 0


def test_the_largest_body_and_one_byte_more(door: Door) -> None:
    def sized(size: int) -> bytes:
        frame = b'{"new_app_user_id":"size2","app_user_id":"size1","x":""}'
        return frame[:-2] + b"y" * (size - len(frame)) + frame[-2:]

    fits = door.ask("POST", "/v1/subscribers/identify", key=door.apple_key, body=sized(MAX_BODY_BYTES))
    assert fits.status in (200, 201)
    for path in ("/v1/subscribers/identify", "/v1/receipts", "/v1/subscribers/me/attributes", "/v1/events"):
        answer = door.ask("POST", path, key=door.apple_key, body=sized(MAX_BODY_BYTES + 1))
        assert (answer.status, answer.json()["code"]) == (413, 7226)
        assert str(MAX_BODY_BYTES) in answer.json()["message"]
        assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("times", [2, 7, 500])
def test_a_large_body_without_a_length_is_cut_off(door: Door, times: int) -> None:
    chunk = b"%x\r\n" % MAX_BODY_BYTES + b"x" * MAX_BODY_BYTES + b"\r\n"
    head = b"POST /v1/receipts HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n" % door.apple_key.encode()
    answer = ask_raw(door.port, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * times + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_ten_megabytes_are_heard_out_and_refused(door: Door) -> None:
    answer = door.ask("POST", "/v1/receipts", key=door.apple_key, body=b"x" * 10_000_000)
    assert (answer.status, answer.json()["code"]) == (413, 7226)


def test_a_body_without_end_is_not_heard_out(door: Door) -> None:
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    head = b"POST /v1/receipts HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n" % door.apple_key.encode()
    with socket.create_connection(("127.0.0.1", door.port), timeout=30) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            connection.sendall(chunk * 200)


def test_a_declared_length_beyond_the_limit_is_refused_before_the_body(door: Door) -> None:
    head = b"POST /v1/receipts HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n" % door.apple_key.encode()
    answer = ask_raw(door.port, head + b"Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_client_that_leaves_in_the_middle_harms_nobody(door: Door) -> None:
    head = b"POST /v1/receipts HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n" % door.apple_key.encode()
    assert ask_raw(door.port, head + b"Content-Length: 100\r\n\r\n{") == b""
    assert door.ask("GET", "/v1/health").status == 200


BAD_BODIES = [
    (b"", ""),
    (b"{", ""),
    (b"[]", ""),
    (b"null", ""),
    (b'"text"', ""),
    (b"\xff\xfe{\x00}\x00", ""),
    (b'{"app_user_id":"a"}', "new_app_user_id"),
    (b'{"app_user_id":1,"new_app_user_id":"b"}', "app_user_id"),
    (b'{"app_user_id":["a"],"new_app_user_id":"b"}', "app_user_id"),
    (b'{"app_user_id":{},"new_app_user_id":"b"}', "app_user_id"),
    (b'{"app_user_id":"a","new_app_user_id":null}', "new_app_user_id"),
    (b'{"app_user_id":"a","new_app_user_id":"b\\u0000"}', "new_app_user_id"),
    (b'{"app_user_id":"a","new_app_user_id":"b\x00"}', "new_app_user_id"),
    (b'{"app_user_id":"a","new_app_user_id":"b\\ud800"}', "new_app_user_id"),
    (b'{"app_user_id":"a\\udc00\\ud800","new_app_user_id":"b"}', "app_user_id"),
    (b'{"app_user_id":"a\xc3","new_app_user_id":"b"}', "app_user_id"),
    (b'{"app_user_id":"a","new_app_user_id":"b","x":' + b"[" * 9000 + b"]" * 9000 + b"}", ""),
    (b'{"app_user_id":"a","new_app_user_id":"b"} {}', ""),
]


@pytest.mark.parametrize(("body", "field"), BAD_BODIES)
def test_bad_bodies_change_nothing(door: Door, body: bytes, field: str) -> None:
    answer = door.ask("POST", "/v1/subscribers/identify", key=door.apple_key, body=body)
    assert (answer.status, answer.json()["code"]) == (400, 7226)
    assert field in answer.json()["message"]
    assert door.ingest.visits == []


def test_the_content_type_does_not_matter(door: Door) -> None:
    body = b'{"app_user_id":"ct1","new_app_user_id":"ct2"}'
    for name, value in (("X-Other", "x"), ("content-type", "text/plain"), ("CONTENT-TYPE", "application/json")):
        answer = door.ask("POST", "/v1/subscribers/identify", key=door.apple_key, body=body, more={name: value})
        assert answer.status in (200, 201)


def test_temporary_trouble_is_a_5xx_with_json(door: Door) -> None:
    door.ingest.failure = store_outage()
    answer = door.ask("GET", "/v1/subscribers/me", key=door.apple_key)
    assert (answer.status, answer.json()["code"], answer.headers["retry-after"]) == (503, 7101, "30")


def test_a_fault_of_ours_is_a_500_that_tells_nothing(door: Door) -> None:
    door.ingest.failure = RuntimeError("password=hunter2")
    answer = door.ask("GET", "/v1/subscribers/me", key=door.apple_key)
    assert (answer.status, answer.json()["code"]) == (500, 7110)
    assert "hunter2" not in answer.body.decode()
    assert answer.headers["x-request-id"] in answer.json()["message"]
    assert answer.headers["access-control-allow-origin"] == "*"
