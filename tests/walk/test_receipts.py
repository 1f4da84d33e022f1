"""POST /v1/receipts over the whole walk: store asked, customer answered, events sent (spec: api 1.8, events 8.5)."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bellwire.db.tables import notices
from bellwire.model.enums import RestoreBehavior
from bellwire.model.projects import ProjectSettings
from bellwire.simulator.kernel import Mode
from tests.support.world import DAY_MS, START_MS, World, iso, live

pytestmark = pytest.mark.usefixtures("database")


def anonymous(letter: str) -> str:
    return "$RCAnonymousID:" + letter * 32


def unknown_to_notifications(**settings: Any) -> dict[str, Any]:
    """What a project is by default: purchases come from its apps, notifications only follow them."""
    return {"track_new_purchases": False} | settings


# ---- what a receipt brings


@pytest.mark.parametrize("form", ["signed transaction", "app receipt"])
def test_an_app_store_receipt_makes_the_purchase_known(form: str, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly")
        token = it.apple.signed_transaction(bought) if form == "signed transaction" else it.apple.app_receipt(bought)
        body = {"app_user_id": "ann", "fetch_token": token, "presented_offering_identifier": "main"}
        status, answer = await it.call("POST", "/v1/receipts", body, it.apple_key, "iOS")
        assert status == 200
        subscriber = answer["subscriber"]
        assert subscriber["original_app_user_id"] == "ann"
        assert subscriber["entitlements"]["pro"]["expires_date"] == iso(START_MS + 31 * DAY_MS)
        bought_there = subscriber["subscriptions"]["pro_monthly"]
        assert bought_there["store"] == "app_store"
        assert bought_there["is_sandbox"] is False
        assert bought_there["purchase_date"] == iso(START_MS)
        await it.settle()
        assert it.told() == ["INITIAL_PURCHASE NORMAL 9.99"]
        event = it.received[0]
        assert event["app_user_id"] == "ann"
        assert event["presented_offering_id"] == "main"
        assert event["transaction_id"] == event["original_transaction_id"] == bought
        assert (await it.subscriber("ann"))["entitlements"] == subscriber["entitlements"]

    live(tmp_path, scene, **unknown_to_notifications())


@pytest.mark.parametrize("kind", ["public", "secret"])
def test_a_play_token_makes_the_purchase_known(kind: str, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        token = it.google.purchase("pro:monthly")
        key = it.google_key if kind == "public" else it.secret_key
        body = {"app_user_id": "ann", "fetch_token": token, "product_id": "pro"}
        status, answer = await it.call("POST", "/v1/receipts", body, key, "android")
        assert status == 200
        assert answer["subscriber"]["entitlements"]["pro"]["product_plan_identifier"] == "monthly"
        assert ("subscriber_attributes" in answer["subscriber"]) is (kind == "secret")
        await it.settle()
        assert it.told() == ["INITIAL_PURCHASE NORMAL 9.99"]
        assert it.google.subscriptions[token].acknowledged

    live(tmp_path, scene, **unknown_to_notifications())


def test_whoever_finishes_purchases_himself_is_left_to_it(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        token = it.google.purchase("pro:monthly")
        assert await it.post(it.google, token, "ann", observer_mode=True) == 200
        await it.settle()
        assert not it.google.subscriptions[token].acknowledged
        await it.advance(2 * DAY_MS)
        assert not it.google.subscriptions[token].acknowledged
        assert it.told() == ["INITIAL_PURCHASE NORMAL 9.99"]

    live(tmp_path, scene, **unknown_to_notifications())


def test_what_could_not_be_acknowledged_is_acknowledged_within_hours(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        token = it.google.purchase("pro:monthly")
        it.kernel.notifier.set_mode(Mode.DROP)
        path = "/androidpublisher/v3/applications/com.example.app/purchases/subscriptions/"
        it.kernel.faults.add(path, 503, times=1)
        assert await it.post(it.google, token) == 200
        await it.settle()
        assert not it.google.subscriptions[token].acknowledged
        await it.advance(DAY_MS // 12)
        assert it.google.subscriptions[token].acknowledged

    live(tmp_path, scene, **unknown_to_notifications())


def test_the_catalogue_says_what_is_consumed(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        coins, lifetime = it.google.buy("coins_100"), it.google.buy("lifetime")
        _, first = await it.receipt(it.google, coins)
        _, second = await it.receipt(it.google, lifetime)
        assert first["purchased_products"] == {"coins_100": {"should_consume": True}}
        assert second["purchased_products"] == {"lifetime": {"should_consume": False}}
        await it.settle()
        assert it.told() == ["NON_RENEWING_PURCHASE NORMAL 1.99", "NON_RENEWING_PURCHASE NORMAL 99.99"]

    live(tmp_path, scene, **unknown_to_notifications())


def test_attributes_of_a_receipt_are_in_its_event(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        attributes = {
            "$email": {"value": "ann@example.com", "updated_at_ms": START_MS - 5},
            "1bad": {"value": "x", "updated_at_ms": START_MS},
        }
        status, answer = await it.receipt(it.apple, it.apple.purchase("pro_monthly"), attributes=attributes)
        assert status == 200
        refused = answer["attributes_error_response"]
        assert refused["code"] == 7263
        assert [error["key_name"] for error in refused["attribute_errors"]] == ["1bad"]
        await it.settle()
        assert it.received[0]["subscriber_attributes"]["$email"] == {
            "value": "ann@example.com",
            "updated_at_ms": START_MS - 5,
        }

    live(tmp_path, scene, **unknown_to_notifications())


def test_the_same_receipt_four_times_at_once_is_one_purchase(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        for fake, bought in (
            (it.apple, it.apple.purchase("pro_monthly")),
            (it.google, it.google.purchase("pro:monthly")),
        ):
            statuses = await asyncio.gather(*(it.post(fake, bought, f"of-{fake is it.apple}") for _ in range(4)))
            assert statuses == [200] * 4
        await it.settle()
        assert it.told() == ["INITIAL_PURCHASE NORMAL 9.99"] * 2
        assert len(it.chains()) == 2

    live(tmp_path, scene, **unknown_to_notifications())


@pytest.mark.parametrize("store", ["apple", "google"])
def test_receipt_and_notification_of_one_purchase_race(store: str, tmp_path: Path) -> None:
    """Whoever comes first, it is one purchase of one customer, who is known by the name that the app gave."""

    async def scene(it: World) -> None:
        fake: Any = it.apple if store == "apple" else it.google
        product = "pro_monthly" if store == "apple" else "pro:monthly"
        bought = [fake.purchase(product) for _ in range(6)]
        posts = [it.post(fake, key, f"customer-{number}") for number, key in enumerate(bought)]
        results = await asyncio.gather(*posts, it.kernel.flush())
        assert results[:-1] == [200] * 6
        await it.settle()
        assert it.told() == ["INITIAL_PURCHASE NORMAL 9.99"] * 6
        for number in range(6):
            subscriber = await it.subscriber(f"customer-{number}")
            assert next(iter(subscriber["subscriptions"])).startswith("pro")
        owners = {row["customer_id"] for row in it.chains()}
        assert len(owners) == 6
        await it.advance(35 * DAY_MS)
        renewals = [event for event in it.received if event["type"] == "RENEWAL"]
        assert sorted(event["app_user_id"] for event in renewals) == [f"customer-{number}" for number in range(6)]

    live(tmp_path, scene)


# ---- what the store says


@pytest.mark.parametrize(
    ("store", "path", "code"),
    [
        ("apple", "/inApps/", 7101),
        ("google", "/androidpublisher/", 7231),
        ("google", "/token", 7231),
    ],
)
def test_a_store_that_is_down_costs_no_purchase(store: str, path: str, code: int, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        fake: Any = it.apple if store == "apple" else it.google
        bought = fake.purchase("pro_monthly" if store == "apple" else "pro:monthly")
        it.kernel.faults.add(path, 503, times=50, retry_after=7)
        status, answer = await it.receipt(fake, bought)
        assert (status, answer["code"]) == (503, code)
        assert it.chains() == []
        it.kernel.faults.clear()
        assert await it.post(fake, bought) == 200
        await it.settle()
        assert it.told() == ["INITIAL_PURCHASE NORMAL 9.99"]

    live(tmp_path, scene, **unknown_to_notifications())


@pytest.mark.parametrize(("store", "code"), [("apple", 7234), ("google", 7107)])
def test_refused_credentials_are_our_fault_and_mend(store: str, code: int, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        fake: Any = it.apple if store == "apple" else it.google
        app = it.apple_app if store == "apple" else it.google_app
        bought = fake.purchase("pro_monthly" if store == "apple" else "pro:monthly")
        it.kernel.faults.add("/inApps/" if store == "apple" else "/androidpublisher/", 401, times=2)
        status, answer = await it.receipt(fake, bought)
        assert (status, answer["code"]) == (500, code)
        assert it.hub.config.current().apps[app.id].credential_status == "invalid"
        it.kernel.faults.clear()
        assert await it.post(fake, bought) == 200
        assert it.hub.config.current().apps[app.id].credential_status == "ok"

    live(tmp_path, scene, **unknown_to_notifications())


@pytest.mark.parametrize("forgery", ["token", "signed", "receipt", "product"])
def test_what_the_store_does_not_confirm_is_refused(forgery: str, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.apple.purchase("pro_monthly")
        bought = it.apple.purchase("pro_monthly")
        signed = it.apple.signed_transaction(bought)
        head, payload, signature = signed.split(".")
        token, key = {
            "token": ("no-such-token", it.google_key),
            "signed": (f"{head}.{payload[:-6]}AAAAAA.{signature}", it.apple_key),
            "receipt": ("MIIBAAAA", it.apple_key),
            "product": (bought, it.apple_key),
        }[forgery]
        body = {"app_user_id": "eve", "fetch_token": token, "product_ids": ["pro"]}
        status, answer = await it.call("POST", "/v1/receipts", body, key, "iOS")
        assert (status, answer["code"]) == (400, 7103)
        await it.settle()
        assert it.events(dispatched=None) == []
        assert it.chains() == []

    live(tmp_path, scene, **unknown_to_notifications())


def test_a_secret_key_may_name_a_bare_transaction(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly")
        body = {"app_user_id": "ann", "fetch_token": bought}
        status, _ = await it.call("POST", "/v1/receipts", body, it.secret_key, "iOS")
        assert status == 200
        await it.settle()
        assert it.told() == ["INITIAL_PURCHASE NORMAL 9.99"]

    live(tmp_path, scene, **unknown_to_notifications())


@pytest.mark.parametrize("kind", ["subscription", "one-time"])
def test_a_pending_purchase_is_the_posters_when_it_is_paid(kind: str, tmp_path: Path) -> None:
    """SDKs drop a token on 4xx: what follows, follows from the notification, although nobody tracks new purchases."""

    async def scene(it: World) -> None:
        google = it.google
        once = kind == "one-time"
        token = google.buy("lifetime", pending=True) if once else google.purchase("pro:monthly", pending=True)
        status, answer = await it.receipt(google, token, "ann")
        assert (status, answer["code"]) == (400, 7651)
        await it.settle()
        assert it.told() == []
        assert not await it.entitled("ann")
        await it.advance(DAY_MS)
        if once:
            google.complete_payment(token)
        else:
            google.complete_pending(token)
        await it.settle()
        assert it.told() == ["NON_RENEWING_PURCHASE NORMAL 99.99" if once else "INITIAL_PURCHASE NORMAL 9.99"]
        assert it.received[0]["app_user_id"] == "ann"
        assert await it.entitled("ann")

    live(tmp_path, scene, **unknown_to_notifications())


def test_an_unknown_product_is_accepted_with_a_notice(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.google.catalogue["surprise"] = replace(it.google.catalogue["lifetime"], product_id="surprise")
        token = it.google.buy("surprise")
        assert await it.post(it.google, token) == 200
        await it.settle()
        assert it.told() == ["NON_RENEWING_PURCHASE NORMAL 99.99"]
        assert it.received[0]["entitlement_ids"] is None
        found = it.rows(notices, notices.c.subject)
        assert [(row["kind"], row["subject"]) for row in found] == [("unknown_product", "surprise")]

    live(tmp_path, scene, **unknown_to_notifications())


# ---- whose it is


def settings(behavior: RestoreBehavior) -> ProjectSettings:
    return ProjectSettings(restore_behavior=behavior)


def test_transfer_moves_what_the_receipt_shows(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly")
        assert await it.post(it.apple, bought, "user-1") == 200
        await it.settle()
        assert await it.post(it.apple, bought, "user-2", is_restore=True) == 200
        await it.settle()
        assert it.told() == ["INITIAL_PURCHASE NORMAL 9.99", "TRANSFER"]
        assert (await it.entitled("user-1"), await it.entitled("user-2")) == (False, True)
        assert await it.post(it.apple, bought, "user-1", is_restore=True) == 200
        assert await it.post(it.apple, bought, "user-2", is_restore=True) == 200
        await it.settle()
        assert it.told()[1:] == ["TRANSFER"] * 3
        assert len({event["id"] for event in it.received}) == 4

    live(tmp_path, scene, **unknown_to_notifications())


@pytest.mark.parametrize("behavior", [RestoreBehavior.KEEP, RestoreBehavior.TRANSFER_IF_NO_ACTIVE])
def test_a_purchase_in_use_is_refused(behavior: RestoreBehavior, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly")
        assert await it.post(it.apple, bought, "user-1") == 200
        status, answer = await it.receipt(it.apple, bought, "user-2", is_restore=True)
        assert (status, answer["code"]) == (400, 7102)
        await it.settle()
        assert it.told() == ["INITIAL_PURCHASE NORMAL 9.99"]
        assert (await it.entitled("user-1"), await it.entitled("user-2")) == (True, False)

    live(tmp_path, scene, **unknown_to_notifications(project_settings=settings(behavior)))


def test_transfer_if_no_active_moves_what_has_ended(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly")
        assert await it.post(it.apple, bought, "user-1") == 200
        it.apple.cancel(bought)
        await it.advance(32 * DAY_MS)
        assert await it.post(it.apple, bought, "user-2", is_restore=True) == 200
        await it.settle()
        assert it.told()[-2:] == ["EXPIRATION UNSUBSCRIBE", "TRANSFER"]

    behavior = settings(RestoreBehavior.TRANSFER_IF_NO_ACTIVE)
    live(tmp_path, scene, **unknown_to_notifications(project_settings=behavior))


def test_share_makes_one_customer_on_restore_only(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly")
        assert await it.post(it.apple, bought, "user-1") == 200
        status, answer = await it.receipt(it.apple, bought, "user-2")
        assert (status, answer["code"]) == (400, 7102)
        assert await it.post(it.apple, bought, "user-2", is_restore=True) == 200
        await it.settle()
        assert it.told() == ["INITIAL_PURCHASE NORMAL 9.99"]
        assert await it.entitled("user-1")
        assert await it.entitled("user-2")
        assert (await it.subscriber("user-2"))["original_app_user_id"] == "user-1"
        await it.advance(32 * DAY_MS)
        assert it.received[-1]["type"] == "RENEWAL"
        assert sorted(it.received[-1]["aliases"]) == ["user-1", "user-2"]

    live(tmp_path, scene, **unknown_to_notifications(project_settings=settings(RestoreBehavior.SHARE)))


@pytest.mark.parametrize("behavior", list(RestoreBehavior))
def test_an_anonymous_owner_is_merged_whatever_the_rule(behavior: RestoreBehavior, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly")
        assert await it.post(it.apple, bought, anonymous("a")) == 200
        assert await it.post(it.apple, bought, "user-1") == 200
        await it.settle()
        assert it.told() == ["INITIAL_PURCHASE NORMAL 9.99"]
        assert (await it.subscriber("user-1"))["original_app_user_id"] == anonymous("a")
        assert await it.entitled("user-1")

    live(tmp_path, scene, **unknown_to_notifications(project_settings=settings(behavior)))


def test_a_public_key_of_another_app_opens_nothing_here(tmp_path: Path) -> None:
    """A Play token posted with the App Store app's key is no App Store receipt."""

    async def scene(it: World) -> None:
        token = it.google.purchase("pro:monthly")
        body = {"app_user_id": "ann", "fetch_token": token, "product_ids": ["pro"]}
        status, answer = await it.call("POST", "/v1/receipts", body, it.apple_key, "android")
        assert (status, answer["code"]) == (400, 7103)

    live(tmp_path, scene, **unknown_to_notifications())
