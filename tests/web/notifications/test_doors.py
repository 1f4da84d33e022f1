"""The doors for stores: whose notification it is, what ingest gets, what the store hears (spec: stores 1.1-1.3)."""

import pytest

from bellwire.ingest.calls import IngestError, NotificationAnswer
from tests.web.conftest import MAX_BODY_BYTES, Door


def path(store: str, token: str) -> str:
    return f"/v1/incoming-webhooks/{store}/{token}"


def test_bytes_and_headers_arrive_as_they_were(door: Door) -> None:
    raw = b'{"signedPayload":"\xff not even JSON"'
    answer = door.ask("POST", path("apple", door.apple_token), body=raw, X_Some="Thing")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})
    app_id, headers, received = door.ingest.notifications[0]
    assert (app_id, received, headers["x-some"]) == (door.apple_app, raw, "Thing")
    assert all(name == name.lower() for name in headers)


def test_each_store_has_its_door(door: Door) -> None:
    assert door.ask("POST", path("google", door.play_token), body=b"{}").status == 200
    assert door.ingest.notifications[0][0] == door.play_app


def test_the_token_from_before_a_rotation_still_works(door: Door) -> None:
    assert door.ask("POST", path("apple", door.apple_old_token), body=b"{}").status == 200
    assert door.ingest.notifications[0][0] == door.apple_app


def test_what_ingest_answers_goes_out(door: Door) -> None:
    before = door.ingest.notification_answer
    door.ingest.notification_answer = NotificationAnswer(status=401, body={"error": "The token has expired."})
    answer = door.ask("POST", path("google", door.play_token), body=b"{}")
    door.ingest.notification_answer = before
    assert (answer.status, answer.json()) == (401, {"error": "The token has expired."})


def test_wrong_urls_say_what_is_wrong(door: Door) -> None:
    for wrong in (
        path("apple", "unknown"),
        path("amazon", door.apple_token),
        path("google", door.apple_token),
        path("apple", door.play_token),
        path("apple", ""),
        path("apple", "%2F"),
        path("apple", "%FF"),
        path("apple", door.apple_token) + "/more",
        "/v1/incoming-webhooks",
    ):
        answer = door.ask("POST", wrong, body=b"{}")
        assert answer.status == 404, wrong
        assert answer.json()["error"]
        assert "access-control-allow-origin" not in answer.headers
    assert door.ingest.notifications == []


def test_only_post(door: Door) -> None:
    for method in ("GET", "OPTIONS", "PUT"):
        answer = door.ask(method, path("apple", door.apple_token))
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_oversized(door: Door) -> None:
    answer = door.ask("POST", path("apple", door.apple_token), body=b"x" * (MAX_BODY_BYTES + 1))
    assert answer.status == 413
    assert door.ingest.notifications == []


@pytest.mark.parametrize("failure", [IngestError(503, 7110, "busy", 5), RuntimeError("secret")])
def test_our_own_trouble_is_a_5xx_so_that_the_store_comes_again(door: Door, failure: Exception) -> None:
    door.ingest.failure = failure
    answer = door.ask("POST", path("apple", door.apple_token), body=b"{}")
    assert answer.status in (500, 503)
    assert "secret" not in answer.body.decode()
