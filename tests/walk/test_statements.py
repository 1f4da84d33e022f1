"""Checkable statements (specification, events 14) that need the whole hub; the engine's own are in tests/engine.

Each test names the statements that it shows. Not here: 11, 18 (Stripe), 30-32 (grants), 58-60, 68-70: they speak of
stores, destinations and features that are not there yet. 45 is about delivery alone and shown in tests/delivery.
"""

import asyncio
import hashlib
import hmac
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bellwire.db.catalogue import attach, create_product
from bellwire.db.integrations import Filters
from bellwire.db.tables import outbox
from bellwire.model.enums import Environment, EventType, ProductType, RestoreBehavior
from bellwire.model.events import Event
from bellwire.model.projects import ProjectSettings
from bellwire.simulator.kernel import Mode
from bellwire.simulator.wording import short
from tests.support.wire_rules import check_wire
from tests.support.world import DAY_MS, START_MS, World, live

ANON_A = "$RCAnonymousID:" + "a" * 32
ANON_B = "$RCAnonymousID:" + "b" * 32
DEFAULT: dict[str, Any] = {"track_new_purchases": False}
BOUGHT = "INITIAL_PURCHASE NORMAL 9.99"


def kept(behavior: RestoreBehavior) -> dict[str, Any]:
    return DEFAULT | {"project_settings": ProjectSettings(restore_behavior=behavior)}


def test_02_an_identical_receipt_is_no_news(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly")
        for _ in range(4):
            assert await it.post(it.apple, bought) == 200
        await it.settle()
        assert it.told() == [BOUGHT]

    live(tmp_path, scene, **DEFAULT)


@pytest.mark.parametrize("store", ["apple", "google"])
def test_03_a_notification_delivered_twice_is_no_news(store: str, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.kernel.notifier.set_mode(Mode.DUPLICATE)
        if store == "apple":
            it.apple.purchase("pro_monthly")
        else:
            it.google.purchase("pro:monthly")
        await it.settle()
        assert it.told() == [BOUGHT]
        assert len([row for row in it.inbox() if row["kind"] == "notification"]) == 1

    live(tmp_path, scene)


def test_33_transfer_between_two_identified_customers(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly")
        await it.post(it.apple, bought, "User1")
        await it.settle()
        await it.post(it.apple, bought, "User2", is_restore=True)
        await it.settle()
        assert it.told() == [BOUGHT, "TRANSFER"]
        event = it.received[1]
        assert "User1" in event["transferred_from"]
        assert "User2" in event["transferred_to"]
        assert "app_user_id" not in event
        assert (await it.entitled("User1"), await it.entitled("User2")) == (False, True)

    live(tmp_path, scene, **DEFAULT)


def test_34_restore_from_an_anonymous_owner_merges(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly")
        await it.post(it.apple, bought, ANON_A)
        await it.post(it.apple, bought, "User2", is_restore=True)
        await it.advance(32 * DAY_MS)
        assert it.told() == [BOUGHT, "RENEWAL NORMAL 9.99"]
        renewal = it.received[1]
        assert renewal["original_app_user_id"] == ANON_A
        assert renewal["app_user_id"] == "User2"
        assert sorted(renewal["aliases"]) == sorted([ANON_A, "User2"])

    live(tmp_path, scene, **DEFAULT)


def test_35_keep_refuses_and_changes_nothing(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly")
        await it.post(it.apple, bought, "User1")
        assert await it.post(it.apple, bought, "User2", is_restore=True) == 400
        await it.settle()
        assert it.told() == [BOUGHT]
        assert await it.entitled("User1")

    live(tmp_path, scene, **kept(RestoreBehavior.KEEP))


def test_35_no_active_refuses_until_the_end(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly")
        await it.post(it.apple, bought, "User1")
        assert await it.post(it.apple, bought, "User2", is_restore=True) == 400
        it.apple.cancel(bought)
        await it.advance(32 * DAY_MS)
        assert await it.post(it.apple, bought, "User2", is_restore=True) == 200
        await it.settle()
        assert it.told() == [BOUGHT, "CANCELLATION UNSUBSCRIBE", "EXPIRATION UNSUBSCRIBE", "TRANSFER"]

    live(tmp_path, scene, **kept(RestoreBehavior.TRANSFER_IF_NO_ACTIVE))


def test_36_no_active_moves_a_lifetime_purchase(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.google.buy("lifetime")
        await it.post(it.google, bought, "User1")
        await it.settle()
        await it.post(it.google, bought, "User2", is_restore=True)
        await it.settle()
        assert it.told() == ["NON_RENEWING_PURCHASE NORMAL 99.99", "TRANSFER"]
        assert (await it.entitled("User1"), await it.entitled("User2")) == (False, True)

    live(tmp_path, scene, **kept(RestoreBehavior.TRANSFER_IF_NO_ACTIVE))


def test_37_logging_in_aliases_once(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await it.post(it.apple, it.apple.purchase("pro_monthly"), ANON_A)
        assert await it.log_in(ANON_A, "X") == 201
        await it.post(it.apple, it.apple.purchase("pro_yearly"), ANON_B)
        assert await it.log_in(ANON_B, "X") == 200
        await it.settle()
        assert [event["type"] for event in it.received] == ["INITIAL_PURCHASE"] * 2
        assert list((await it.subscriber("X"))["subscriptions"]) == ["pro_monthly"]
        assert (await it.subscriber("X"))["original_app_user_id"] == ANON_A
        assert list((await it.subscriber(ANON_B))["subscriptions"]) == ["pro_yearly"]

    live(tmp_path, scene, **DEFAULT)


def test_38_an_identified_customer_only_switches(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await it.post(it.apple, it.apple.purchase("pro_monthly"), "X")
        assert await it.log_in("X", "Y") == 201
        await it.settle()
        assert it.told() == [BOUGHT]
        assert (await it.entitled("X"), await it.entitled("Y")) == (True, False)

    live(tmp_path, scene, **DEFAULT)


def test_39_events_name_the_identified_id_that_was_seen_last(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly")
        await it.post(it.apple, bought, ANON_A)
        for name in ("y", "x"):
            await it.post(it.apple, bought, name, is_restore=True)
        for name in ("x", "y", ANON_A):
            it.clock.advance_ms(1000)
            await it.call("GET", f"/v1/subscribers/{name.replace('$', '%24')}", None, it.apple_key, "iOS")
        await it.advance(32 * DAY_MS)
        renewal = it.received[-1]
        assert renewal["type"] == "RENEWAL"
        assert sorted(renewal["aliases"]) == sorted([ANON_A, "x", "y"])
        assert renewal["app_user_id"] == "y"

    live(tmp_path, scene, **kept(RestoreBehavior.SHARE))


def test_42_43_history_dispatches_only_what_is_recent(tmp_path: Path) -> None:
    """43; of 42 the part that an app's own receipt can show: what is old news never goes out."""

    async def scene(it: World) -> None:
        it.kernel.notifier.set_mode(Mode.DROP)
        account = "buyer"
        for wait_days in (20, 15, 5):  # 40, 20 and 5 days ago
            last = it.apple.purchase("coins_100", account=account)
            it.clock.advance_ms(wait_days * DAY_MS)
        assert await it.post(it.apple, last) == 200
        await it.settle()
        assert it.told() == ["NON_RENEWING_PURCHASE NORMAL 1.99"] * 2
        assert len(it.events(dispatched=None)) == 3

    live(tmp_path, scene, **DEFAULT)


def test_44_the_compatible_schedule_tries_six_times(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bodies: list[bytes] = []
        it.statuses["picky"] = 204
        picky = await it.webhook("picky", retry_schedule="compatible")
        await it.post(it.apple, it.apple.purchase("pro_monthly"))
        await it.delivered()
        gaps: list[int] = []
        for number in range(1, 7):
            await _until(lambda number=number: len(it.attempts(picky)) == number)
            attempt = it.attempts(picky)[-1]
            assert (attempt["status_code"], attempt["attempt"]) == (204, number)
            bodies.append(bytes(attempt["request_body"]))
            if attempt["next_attempt_at_ms"] is not None:
                ended = attempt["started_at_ms"] + attempt["duration_ms"]
                gaps.append(round((attempt["next_attempt_at_ms"] - ended) / 60_000))
                await it.change(lambda c: c.execute(sa.update(outbox).values(due_at_ms=0)).rowcount)
                it.hub.delivery._pump._event.set()
        assert gaps == [5, 10, 20, 40, 80]
        assert it.attempts(picky)[-1]["parked"]
        assert len(set(bodies)) == 1
        assert [row["state"] for row in it.rows(outbox, outbox.c.id)] == [2]

    live(tmp_path, scene, **DEFAULT)


async def _until(holds: Any) -> None:
    while not holds():
        await asyncio.sleep(0.005)


def test_46_a_failed_event_sent_by_hand_is_one_request_with_the_same_id(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.statuses["broken"] = 500
        broken = await it.webhook("broken")
        await it.post(it.apple, it.apple.purchase("pro_monthly"))
        await it.delivered()
        first = it.attempts(broken)[-1]
        it.statuses["broken"] = 200
        await it.hub.delivery.retry(it.project_id, broken.id, first["event_seq"])
        await _until(lambda: len(it.attempts(broken)) == 2)
        assert [event["id"] for event in it.hooks["broken"]] == [first["event_id"]] * 2
        assert it.attempts(broken)[-1]["outcome"] == "delivered"
        assert it.rows(outbox, outbox.c.id) == []

    live(tmp_path, scene, **DEFAULT)


def test_47_signatures_are_made_for_each_attempt(tmp_path: Path) -> None:
    secret = "whsec_" + "s" * 32
    signed: list[tuple[str, bytes]] = []

    async def check(request: Request) -> Response:
        signed.append((request.headers["x-revenuecat-webhook-signature"], await request.body()))
        return Response(status_code=500)

    async def scene(it: World) -> None:
        signing = await it.webhook("signed", url=f"{it.stores_url}/signed", signing_secret=secret)
        await it.post(it.apple, it.apple.purchase("pro_monthly"))
        await it.delivered()
        for header, body in signed:
            moment, _, mac = header.partition(",")
            expected = hmac.new(secret.encode(), moment.removeprefix("t=").encode() + b"." + body, hashlib.sha256)
            assert mac == f"v1={expected.hexdigest()}"
        moment_s = int(signed[0][0].partition(",")[0].removeprefix("t="))
        assert abs(moment_s - it.attempts(signing)[0]["started_at_ms"] / 1000) < 5
        assert secret not in str([dict(row) for row in it.attempts(signing)])

    live(tmp_path, scene, routes=[Route("/signed", check, methods=["POST"])], **DEFAULT)
    assert len(signed) == 1


def test_48_environments_are_kept_apart(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await it.webhook("sandbox", filters=Filters(environment=Environment.SANDBOX))
        await it.webhook("production", filters=Filters(environment=Environment.PRODUCTION))
        await it.post(it.apple, it.apple.purchase("pro_monthly", environment="Sandbox"), "tester")
        await it.settle()
        assert [event["environment"] for event in it.hooks["sandbox"]] == ["SANDBOX"]
        assert it.hooks["production"] == []
        await it.post(it.apple, it.apple.purchase("pro_monthly"), "buyer")
        await it.settle()
        assert [event["environment"] for event in it.hooks["production"]] == ["PRODUCTION"]
        assert len(it.hooks["sandbox"]) == 1

    live(tmp_path, scene, **DEFAULT)


def test_49_a_type_filter_lets_only_its_types_through(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await it.webhook("ends", filters=Filters(event_types=(EventType.EXPIRATION,)))
        bought = it.apple.purchase("pro_monthly")
        await it.post(it.apple, bought)
        it.apple.cancel(bought)
        await it.advance(32 * DAY_MS)
        assert it.told() == [BOUGHT, "CANCELLATION UNSUBSCRIBE", "EXPIRATION UNSUBSCRIBE"]
        assert [short(event) for event in it.hooks["ends"]] == ["EXPIRATION UNSUBSCRIBE"]

    live(tmp_path, scene, **DEFAULT)


def test_50_a_receiver_that_is_down_costs_the_others_nothing(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        down = await it.webhook("down", url="http://127.0.0.1:1/nobody")
        for number in range(5):
            await it.post(it.apple, it.apple.purchase("pro_monthly"), f"customer-{number}")
        await it.settle()
        assert it.told() == [BOUGHT] * 5
        assert {row["outcome"] for row in it.attempts(down)} == {"retry"}
        assert len(it.attempts(down)) == 5

    live(tmp_path, scene, **DEFAULT)


def test_51_events_carry_the_attributes_of_their_moment(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.statuses["broken"] = 500
        broken = await it.webhook("broken")
        await it.set_attributes("ann", __email=("ann@example.com", START_MS - 7))
        await it.post(it.apple, it.apple.purchase("pro_monthly"), "ann")
        await it.delivered()
        await it.set_attributes("ann", __displayName="Ann")
        await it.hub.delivery.retry(it.project_id, broken.id, it.attempts(broken)[0]["event_seq"])
        await _until(lambda: len(it.attempts(broken)) == 2)
        email = {"$email": {"value": "ann@example.com", "updated_at_ms": START_MS - 7}}
        assert [event["subscriber_attributes"] for event in it.hooks["broken"]] == [email] * 2

    live(tmp_path, scene, **DEFAULT)


def test_52_the_newest_write_of_an_attribute_stands(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await it.set_attributes("ann", plan=("gold", START_MS), team=("red", START_MS))
        await it.set_attributes("ann", plan=("silver", START_MS - 1), team=("", START_MS + 1))
        await it.post(it.apple, it.apple.purchase("pro_monthly"), "ann")
        await it.settle()
        attributes = it.received[0]["subscriber_attributes"]
        assert attributes["plan"]["value"] == "gold"
        assert "team" not in attributes
        await it.set_attributes("ann", team=("blue", START_MS))
        assert "team" not in (await it.subscriber("ann"))["subscriber_attributes"]

    live(tmp_path, scene, **DEFAULT)


def test_53_bad_attributes_are_refused_one_by_one(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        many = {f"custom{number}": str(number) for number in range(50)}
        assert (await it.set_attributes("ann", **many))[0] == 200
        bad = {"k" * 41: "x", "long": "x" * 501, "1abc": "x", "a b": "x", "$foo": "x", "onemore": "x"}
        status, answer = await it.set_attributes("ann", **bad, __email="ann@example.com")
        assert (status, answer["code"]) == (400, 7263)
        assert {error["key_name"] for error in answer["attribute_errors"]} == set(bad)
        stored = (await it.subscriber("ann"))["subscriber_attributes"]
        assert set(stored) == {*many, "$email"}

    live(tmp_path, scene, **DEFAULT)


def test_54_device_and_campaign_are_written_once(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await it.set_attributes("ann", __idfa="first", __campaign="spring")
        it.clock.advance_ms(1000)
        await it.set_attributes("ann", __idfa="second", __campaign="autumn")
        stored = (await it.subscriber("ann"))["subscriber_attributes"]
        assert (stored["$idfa"]["value"], stored["$campaign"]["value"]) == ("first", "spring")

    live(tmp_path, scene, **DEFAULT)


def test_55_ids_that_name_nobody_are_refused(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly")
        for bad in ("null", "0", "a/b", "x" * 101):
            status, answer = await it.receipt(it.apple, bought, bad)
            assert (status, answer["code"]) == (400, 7256), bad
            status, answer = await it.call("GET", f"/v1/subscribers/{bad.replace('/', '%2F')}")
            assert (status, answer["code"]) == (400, 7256), bad
        assert await it.post(it.apple, bought, "Null") == 200
        await it.settle()
        assert [event["app_user_id"] for event in it.received] == ["Null"]

    live(tmp_path, scene, **DEFAULT)


def test_63_attaching_a_product_later_gives_access_without_an_event(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.apple.products["plain"] = replace(it.apple.products["basic_monthly"], id="plain")
        await it.change(lambda c: _add_subscription(c, it, "plain"))
        await it.post(it.apple, it.apple.purchase("plain"))
        await it.settle()
        assert it.received[0]["entitlement_ids"] is None
        assert not await it.entitled()
        await it.change(lambda c: attach(c, project_id=it.project_id, product_key="plain", identifier="pro"))
        assert await it.entitled()
        await it.settle()
        assert it.told() == ["INITIAL_PURCHASE NORMAL 4.99"]

    live(tmp_path, scene, **DEFAULT)


def test_64_sandbox_purchases_grant_nothing_where_nobody_tests(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await it.post(it.apple, it.apple.purchase("pro_monthly", environment="Sandbox"))
        await it.settle()
        assert it.told() == [BOUGHT]
        assert it.received[0]["environment"] == "SANDBOX"
        subscriber = await it.subscriber()
        assert subscriber["entitlements"] == {}
        assert subscriber["subscriptions"]["pro_monthly"]["is_sandbox"] is True

    live(tmp_path, scene, **DEFAULT, project_settings=ProjectSettings(sandbox_grants_entitlements=False))


def test_71_every_event_on_the_wire_parses(tmp_path: Path) -> None:
    """A receiver's own model: what must be there, whatever else comes."""

    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly", trial=True)
        token = it.google.purchase("pro:monthly")
        await it.post(it.apple, bought, "ann")
        await it.post(it.google, token, "bob")
        it.apple.fail_payment(bought, grace=True)
        it.google.pause(token)
        await it.advance(70 * DAY_MS)
        await it.post(it.apple, bought, "eve", is_restore=True)
        await it.settle()
        raw = [bytes(row["request_body"]) for row in it.attempts()]
        assert len({event["type"] for event in it.received}) >= 7
        for body in raw:
            parsed = msgspec.json.decode(body, type=dict[str, Any])
            assert set(parsed) == {"api_version", "event"}
            event = parsed["event"]
            assert all(isinstance(event[name], str) for name in ("type", "id"))
            assert all(
                value is None or (isinstance(value, int) and not isinstance(value, bool))
                for name, value in event.items()
                if name.endswith("_ms")
            )
            if event["type"] != "TRANSFER":
                check_wire(msgspec.json.decode(msgspec.json.encode(event), type=Event))

    live(tmp_path, scene, **DEFAULT)


def _add_subscription(connection: sa.Connection, it: World, product_key: str) -> None:
    kind = ProductType.SUBSCRIPTION
    create_product(connection, project_id=it.project_id, product_key=product_key, product_type=kind, now_ms=START_MS)
