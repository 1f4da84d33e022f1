"""Logging in (spec: api 1.7, events 8.4)."""

import msgspec
import pytest

from tests.support.threaded import Answered
from tests.web.conftest import Door

ANON_A = "$RCAnonymousID:" + "a" * 32
ANON_B = "$RCAnonymousID:" + "b" * 32


def log_in(door: Door, current: str, new: str) -> Answered:
    body = msgspec.json.encode({"app_user_id": current, "new_app_user_id": new})
    return door.ask("POST", "/v1/subscribers/identify", key=door.apple_key, body=body, x_platform="ios")


def test_anonymous_becomes_known_once(door: Door) -> None:
    first = log_in(door, ANON_A, "anna")
    assert (first.status, first.json()["subscriber"]["original_app_user_id"]) == (201, ANON_A)
    assert log_in(door, ANON_A, "anna").status == 200
    other = log_in(door, ANON_B, "anna")
    assert (other.status, other.json()["subscriber"]["original_app_user_id"]) == (200, ANON_A)
    alone = door.ask("GET", f"/v1/subscribers/{ANON_B}", key=door.apple_key)
    assert alone.json()["subscriber"]["original_app_user_id"] == ANON_B


def test_known_people_only_switch(door: Door) -> None:
    answer = log_in(door, "berta", "carl")
    assert (answer.status, answer.json()["subscriber"]["original_app_user_id"]) == (201, "carl")
    assert log_in(door, "berta", "carl").status == 200


@pytest.mark.parametrize(
    ("current", "new", "code"), [("", "x", 7220), ("x", " ", 7220), ("null", "x", 7256), ("x", "a/b", 7256)]
)
def test_bad_ids(door: Door, current: str, new: str, code: int) -> None:
    answer = log_in(door, current, new)
    assert (answer.status, answer.json()["code"]) == (400, code)
    assert door.ingest.visits == []


def test_alias_is_the_old_name(door: Door) -> None:
    anonymous = "$RCAnonymousID:" + "c" * 32
    answer = door.ask(
        "POST", f"/v1/subscribers/{anonymous}/alias", key=door.apple_key, body=b'{"new_app_user_id":"dora"}'
    )
    assert (answer.status, answer.json()) == (200, {})
    dora = door.ask("GET", "/v1/subscribers/dora", key=door.apple_key)
    assert dora.json()["subscriber"]["original_app_user_id"] == anonymous
