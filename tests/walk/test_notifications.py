"""Store notifications at the doors: who is believed, what is answered, and what is kept (spec: stores 1.2-1.4)."""

import asyncio
import json
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bellwire.db.apps import create_app, load_health
from bellwire.db.tables import inbox_bodies, notices
from bellwire.model.enums import Store
from bellwire.simulator.apple import FakeAppStore
from bellwire.simulator.apple.certificates import Authority
from bellwire.simulator.google import FakePlay
from bellwire.simulator.google.identity import Identity
from bellwire.simulator.google.pushing import Pusher
from bellwire.simulator.kernel import Mode
from tests.support.rude_server import hang, rude_server
from tests.support.world import DAY_MS, START_MS, World, live

pytestmark = pytest.mark.usefixtures("database")

BOUGHT = "INITIAL_PURCHASE NORMAL 9.99"
MIB = 1_048_576


def payload(it: World, **changes: object) -> dict[str, Any]:
    """A payload as the fake App Store would sign it, about a purchase that it really knows."""
    it.kernel.notifier.set_mode(Mode.DROP)
    it.apple.purchase("pro_monthly")
    part = it.apple.mailer.memory[-1].signed_payload.split(".")[1]
    return json.loads(b64decode(part + "=" * (-len(part) % 4), altchars=b"-_")) | changes


def envelope(signed: str) -> bytes:
    return json.dumps({"signedPayload": signed}).encode()


def heard(it: World, app_id: str) -> int | None:
    """When the app was last heard of."""
    with it.hub.read_engine.connect() as connection:
        health = load_health(connection, it.project_id, app_id)
    assert health is not None
    return health.last_notification_at_ms


def nothing_changed(it: World) -> None:
    assert it.events(dispatched=None) == []
    assert it.chains() == []
    assert it.received == []
    assert heard(it, it.apple_app.id) is None
    assert heard(it, it.google_app.id) is None


# ---- who is believed


@pytest.mark.parametrize(
    "forgery", ["other root", "content changed", "no signature", "xcode", "other environment", "no json", "empty"]
)
def test_what_cannot_be_from_apple_is_refused(forgery: str, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        genuine = payload(it)
        sign = it.apple.authority.sign
        head, middle, signature = sign(genuine).split(".")
        data = genuine["data"]
        body = {
            "other root": envelope(Authority(seed=99).sign(genuine)),
            "content changed": envelope(f"{head}.{middle[:-8]}AAAAAAAA.{signature}"),
            "no signature": envelope(f"{head}.{middle}."),
            "xcode": envelope(sign(genuine | {"data": data | {"environment": "Xcode"}})),
            "other environment": envelope(sign(genuine | {"data": data | {"environment": "Sandbox"}})),
            "no json": b"\xff\xfe{",
            "empty": b"",
        }[forgery]
        status, _ = await it.push(it.apple.notification_url, body)
        assert status == 400
        await it.settle()
        nothing_changed(it)
        (row,) = it.inbox()
        assert (row["status"], row["dedup_key"]) == ("rejected", f"rejected:{row['id']}")
        # And the message that it pretended to be is still believed.
        status, answer = await it.push(it.apple.notification_url, envelope(sign(genuine)))
        assert (status, answer) == (200, {"status": "ok"})
        await it.settle()
        assert it.told() == [BOUGHT]

    live(tmp_path, scene)


def test_another_bundle_is_acknowledged_and_ignored(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        foreign = FakeAppStore(it.kernel, bundle_id="com.example.other")
        foreign.authority = it.apple.authority
        foreign.notification_url = it.apple.notification_url
        foreign.purchase("pro_monthly")
        await it.settle()
        nothing_changed(it)
        assert [row["status"] for row in it.inbox()] == ["ignored_type"]

    live(tmp_path, scene)


@pytest.mark.parametrize("forgery", ["none", "audience", "sender", "key", "late", "basic"])
def test_a_push_without_a_good_token_is_refused(forgery: str, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.kernel.notifier.set_mode(Mode.DROP)
        token = it.google.purchase("pro:monthly")
        identity, audience = it.google.identity, it.google.pusher.audience
        headers = {
            "none": {},
            "audience": {"Authorization": f"Bearer {identity.push_token('somebody-else')}"},
            "sender": {"Authorization": f"Bearer {identity.push_token(audience, email='eve@example.com')}"},
            "key": {"Authorization": f"Bearer {Identity().push_token(audience)}"},
            "late": {"Authorization": f"Bearer {identity.push_token(audience, iat=1, exp=2)}"},
            "basic": {"Authorization": "Basic ZXZlOmV2ZQ=="},
        }[forgery]
        status, _ = await it.push(it.google.notification_url, pushed(it, token), headers)
        assert status == 401
        await it.settle()
        nothing_changed(it)

    live(tmp_path, scene)


def pushed(it: World, token: str, *, package: str = "com.example.app", message_id: str = "1") -> bytes:
    notification: dict[str, object] = {
        "version": "1.0",
        "packageName": package,
        "eventTimeMillis": str(it.clock.now_ms()),
        "subscriptionNotification": {"version": "1.0", "notificationType": 4, "purchaseToken": token},
    }
    return Pusher.envelope(notification, message_id, it.clock.now_ms())


def bearer(it: World) -> dict[str, str]:
    return {"Authorization": f"Bearer {it.google.identity.push_token(it.google.pusher.audience)}"}


@pytest.mark.parametrize("body", [b"", b"[]", b'{"message":{}}', b'{"message":{"messageId":"1","data":"!"}}', b"\0"])
def test_a_push_that_is_none_is_refused(body: bytes, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        status, _ = await it.push(it.google.notification_url, body, bearer(it))
        assert status == 400
        nothing_changed(it)

    live(tmp_path, scene)


def test_another_package_is_acknowledged_and_ignored(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.kernel.notifier.set_mode(Mode.DROP)
        body = pushed(it, it.google.purchase("pro:monthly"), package="com.example.other")
        assert (await it.push(it.google.notification_url, body, bearer(it)))[0] == 200
        await it.settle()
        nothing_changed(it)

    live(tmp_path, scene)


@pytest.mark.parametrize("store", ["apple", "google"])
def test_more_than_a_mebibyte_is_not_read(store: str, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        url = it.apple.notification_url if store == "apple" else it.google.notification_url
        assert (await it.push(url, b"x" * (MIB + 1), bearer(it)))[0] == 413
        assert it.inbox() == []
        nothing_changed(it)

    live(tmp_path, scene)


def test_an_address_that_leads_nowhere_keeps_nothing(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        body = envelope(it.apple.authority.sign(payload(it)))
        for url in (
            f"{it.url}/v1/incoming-webhooks/apple/{'x' * 32}",
            f"{it.url}/v1/incoming-webhooks/google/{it.apple_app.token}",
            f"{it.url}/v1/incoming-webhooks/nowhere/{it.apple_app.token}",
        ):
            assert (await it.push(url, body))[0] == 404
        assert it.inbox() == []

    live(tmp_path, scene)


# ---- what is genuine and still no news


def test_a_duplicate_is_told_so(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        body = envelope(it.apple.authority.sign(payload(it)))
        assert await it.push(it.apple.notification_url, body) == (200, {"status": "ok"})
        assert await it.push(it.apple.notification_url, body) == (200, {"status": "duplicate"})
        answers = await asyncio.gather(
            *(it.push(it.google.notification_url, pushed(it, "token", message_id="7"), bearer(it)) for _ in range(4))
        )
        assert sorted(answer["status"] for _, answer in answers) == ["duplicate"] * 3 + ["ok"]
        await it.settle()
        assert it.told() == [BOUGHT]

    live(tmp_path, scene)


def test_an_unknown_type_is_kept_and_acknowledged(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        strange = payload(it, notificationType="SOMETHING_NEW", subtype="WITH_A_TWIST")
        del strange["data"]["signedTransactionInfo"]
        body = envelope(it.apple.authority.sign(strange))
        assert (await it.push(it.apple.notification_url, body))[0] == 200
        await it.settle()
        nothing_changed(it)
        (row,) = it.inbox()
        assert (row["status"], row["type"], row["subtype"]) == ("ignored_type", "SOMETHING_NEW", "WITH_A_TWIST")
        assert it.bodies() == {row["id"]: body}

    live(tmp_path, scene)


def test_purchases_that_no_app_posted_are_ignored_by_default(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought, token = it.apple.purchase("pro_monthly"), it.google.purchase("pro:monthly")
        await it.settle()
        nothing_changed(it)
        assert [row["status"] for row in it.inbox()] == ["ignored_unknown_purchase"] * 2
        assert await it.post(it.apple, bought, "ann") == 200
        assert await it.post(it.google, token, "bob") == 200
        it.apple.cancel(bought)
        it.google.cancel(token)
        await it.settle()
        assert sorted(it.told()) == ["CANCELLATION UNSUBSCRIBE"] * 2 + [BOUGHT] * 2
        assert heard(it, it.apple_app.id) is not None
        assert heard(it, it.google_app.id) is not None

    live(tmp_path, scene, track_new_purchases=False)


def test_a_test_message_is_a_sign_of_life(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.apple.send_test()
        it.google.send_test_notification()
        await it.settle()
        assert it.events(dispatched=None) == []
        assert [row["status"] for row in it.inbox()] == ["processed"] * 2
        assert heard(it, it.apple_app.id) is not None
        assert heard(it, it.google_app.id) is not None

    live(tmp_path, scene, track_new_purchases=False)


def test_an_unknown_product_is_sold_all_the_same(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.apple.products["surprise"] = replace(it.apple.products["pro_monthly"], id="surprise")
        it.apple.purchase("surprise")
        await it.settle()
        assert it.told() == [BOUGHT]
        assert it.received[0]["product_id"] == "surprise"
        assert it.received[0]["entitlement_ids"] is None
        assert [row["subject"] for row in it.rows(notices, notices.c.subject)] == ["surprise"]

    live(tmp_path, scene)


# ---- when a store cannot be asked


def test_a_push_waits_for_its_store(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.kernel.faults.add("/androidpublisher/", 503, times=2)
        it.google.purchase("pro:monthly")
        await it.settle()
        waits: list[int] = []
        for attempts in (1, 2):
            (row,) = it.inbox()
            assert (row["status"], row["attempts"]) == ("received", attempts)
            assert "503" in row["error"]
            waits.append(row["next_attempt_at_ms"] - row["received_at_ms"])
            assert it.told() == []
            await it.try_again()
        assert 4_000 < waits[0] < 15_000 < waits[1]
        assert it.told() == [BOUGHT]
        row = it.inbox()[0]
        assert (row["status"], row["error"], row["event_count"]) == ("processed", None, 1)

    live(tmp_path, scene)


def test_a_store_says_when_to_come_again(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.kernel.faults.add("/androidpublisher/", 429, times=1, retry_after=600)
        it.google.purchase("pro:monthly")
        await it.settle()
        (row,) = it.inbox()
        assert row["next_attempt_at_ms"] - row["received_at_ms"] >= 600_000
        await it.try_again()
        assert it.told() == [BOUGHT]

    live(tmp_path, scene)


def test_what_apple_signed_counts_in_the_end_although_its_api_is_down(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.kernel.faults.add("/inApps/", 500, times=1000)
        it.apple.purchase("pro_monthly", notify=False)
        await it.advance(32 * DAY_MS)  # a renewal of something unknown: its history is wanted first
        assert it.told() == []
        for _ in range(3):
            await it.try_again()
        assert it.told() == ["RENEWAL NORMAL 9.99"]
        assert it.inbox()[0]["status"] == "processed"

    live(tmp_path, scene)


def test_while_google_keys_cannot_be_had_pushes_come_again(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.kernel.faults.add("/oauth2/v3/certs", 503, times=1)
        it.google.purchase("pro:monthly")
        await it.settle()
        (sent,) = it.kernel.notifier.history
        assert [attempt.status for attempt in sent.attempts] == [503]
        assert it.inbox() == []
        await it.advance(60_000)
        assert sent.delivered
        assert it.told() == [BOUGHT]

    live(tmp_path, scene)


def test_an_app_whose_store_hangs_holds_up_no_other(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        async with rude_server() as dead:
            dead.replies["/token"] = hang
            other = FakePlay(it.kernel, package_name="com.example.app", identity=it.google.identity)
            credentials = it.google.credentials()
            app = await it.change(
                lambda connection: create_app(
                    connection,
                    it.hub.sealer,
                    project_id=it.project_id,
                    store=Store.PLAY_STORE,
                    name="hanging",
                    config=credentials["config"] | {"token_uri": f"{dead.base_url}/token"},
                    secrets={name: str(value) for name, value in credentials["secrets"].items()},
                    track_new_purchases=True,
                    now_ms=START_MS,
                )
            )
            other.notification_url = f"{it.url}/v1/incoming-webhooks/google/{app.token}"
            for _ in range(40):
                other.purchase("pro:monthly")
            it.google.purchase("pro:monthly")
            it.apple.purchase("pro_monthly")
            await it.kernel.flush()
            while len(it.received) < 2:
                await asyncio.sleep(0.01)
            assert it.told() == [BOUGHT] * 2
            waiting = [row["status"] for row in it.inbox() if row["app_id"] == app.id]
            assert waiting == ["received"] * 40
            await it.stop()

    live(tmp_path, scene)


def test_an_entry_that_cannot_be_read_any_more_is_put_aside(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.kernel.faults.add("/androidpublisher/", 503, times=2)
        it.google.purchase("pro:monthly")
        it.google.purchase("pro:yearly")
        await it.settle()
        first = it.inbox()[0]["id"]
        broken = sa.update(inbox_bodies).where(inbox_bodies.c.inbox_id == first).values(body=b"?")
        await it.change(lambda c: c.execute(broken).rowcount)
        await it.try_again()
        assert [row["status"] for row in it.inbox()[:2]] == ["failed", "processed"]
        assert it.told() == ["INITIAL_PURCHASE NORMAL 59.99"]

    live(tmp_path, scene)


def test_messages_out_of_order_end_in_the_same_place(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.kernel.notifier.set_mode(Mode.PAUSE)
        bought = it.apple.purchase("pro_monthly")
        it.clock.advance_ms(DAY_MS)
        it.apple.cancel(bought)
        it.clock.advance_ms(DAY_MS)
        it.apple.reenable(bought)
        it.kernel.notifier.set_mode(Mode.SHUFFLE)
        await it.settle()
        (chain,) = it.chains()
        assert chain["state"] == "ACTIVE"
        assert it.told()[0] == BOUGHT
        subscriber = await it.subscriber(it.received[0]["app_user_id"])
        assert subscriber["subscriptions"]["pro_monthly"]["unsubscribe_detected_at"] is None

    live(tmp_path, scene)
