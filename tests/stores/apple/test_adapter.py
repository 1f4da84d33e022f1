"""The App Store adapter against the fake over real HTTP: pull, receipts, recovery, credentials (spec: stores 1.7, 2)."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from bellwire.engine.detect import detect
from bellwire.engine.emission import Context
from bellwire.engine.merge import blank_chain
from bellwire.model.enums import CredentialStatus, Environment, Ownership, PeriodType, ProductType, Store
from bellwire.model.facts import Snapshot
from bellwire.model.projects import Catalogue, ProjectSettings
from bellwire.model.purchases import Chain
from bellwire.simulator.apple.app_receipt import sign_receipt
from bellwire.simulator.apple.certificates import Authority
from bellwire.simulator.apple.records import PRODUCTION, SANDBOX
from bellwire.simulator.notifier import Mode
from bellwire.stores.apple import AppleAdapter
from bellwire.stores.base import (
    CredentialError,
    PostedReceipt,
    PurchaseNotFound,
    RecoveredNotification,
    StoreUnavailable,
)
from tests.stores.apple.connected import DAY_MS, MONTH_MS, START_MS, Connected, connected, make_app, payload_of


def live(test: Callable[[Connected], Awaitable[None]]) -> None:
    async def run() -> None:
        async with connected() as it:
            await test(it)

    asyncio.run(run())


def chain_of(it: Connected, snapshot: Snapshot) -> Chain:
    """What the hub would know after this snapshot."""
    blank = blank_chain(snapshot, chain_id=1, project_id="proj1", app_id="app1", customer_id=1)
    context = Context(now_ms=it.clock.now_ms(), settings=ProjectSettings(), catalogue=Catalogue(), app=it.app)
    return detect(blank, snapshot, context).after


def posted(token: str, **changes: Any) -> PostedReceipt:
    return PostedReceipt(fetch_token=token, **changes)


# ---- pull


def test_pull_of_a_new_chain_brings_its_whole_history() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("pro_monthly", trial=True)
        await it.advance(90 * DAY_MS)
        (snapshot,) = await it.adapter.pull(it.app, key, known=None, hints={})
        assert snapshot.complete_history
        assert [period.period_type for period in snapshot.periods] == [PeriodType.TRIAL] + [PeriodType.NORMAL] * 3
        assert snapshot.auto_renew is True
        assert snapshot.ended is False
        assert snapshot.as_of_ms == it.clock.now_ms()

    live(check)


def test_pull_of_a_known_chain_asks_for_no_more_than_is_new() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("pro_monthly")
        (first,) = await it.adapter.pull(it.app, key, known=None, hints={})
        known = chain_of(it, first)
        it.kernel.log.clear()
        (same,) = await it.adapter.pull(it.app, key, known=known, hints={})
        assert it.calls() == [f"/inApps/v1/subscriptions/{key}"]
        assert same.periods == first.periods
        await it.advance(3 * MONTH_MS)
        (later,) = await it.adapter.pull(it.app, key, known=known, hints={})
        assert len(later.periods) == 4
        assert not later.complete_history

    live(check)


def test_pull_after_a_refund_finds_the_older_period() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("pro_monthly")
        await it.advance(2 * MONTH_MS)
        (before,) = await it.adapter.pull(it.app, key, known=None, hints={})
        it.store.refund(key, transaction_id=key)
        notification = it.adapter.decode(it.app, await arriving(it))
        assert notification.snapshots == ()
        (after,) = await it.adapter.pull(it.app, key, known=chain_of(it, before), hints=notification.hints)
        assert [period.refunded_at_ms for period in after.periods] == [it.clock.now_ms(), None, None]
        assert after.ended is False

    live(check)


async def arriving(it: Connected) -> bytes:
    """The newest notification that reaches the door."""
    await it.kernel.flush()
    return it.bodies[-1]


def test_upgraded_period_ends_where_the_next_begins() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("basic_monthly")
        await it.advance(10 * DAY_MS)
        it.store.upgrade(key, "pro_monthly")
        (snapshot,) = await it.adapter.pull(it.app, key, known=None, hints={})
        old, new = snapshot.periods
        assert (old.product_id, old.expires_at_ms) == ("basic_monthly", START_MS + 10 * DAY_MS)
        assert (new.product_id, new.purchased_at_ms) == ("pro_monthly", START_MS + 10 * DAY_MS)
        assert snapshot.auto_renew_product_id is None

    live(check)


def test_pull_without_a_hint_looks_in_the_sandbox_too() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("pro_monthly", environment=SANDBOX)
        (snapshot,) = await it.adapter.pull(it.app, key, known=None, hints={})
        assert snapshot.environment is Environment.SANDBOX
        with pytest.raises(PurchaseNotFound):
            await it.adapter.pull(it.app, key, known=None, hints={"environment": "PRODUCTION"})
        with pytest.raises(PurchaseNotFound):
            await it.adapter.pull(it.app, "1", known=None, hints={})

    live(check)


def test_pull_of_one_time_purchases() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("coins_100", quantity=3)
        nothing: dict[str, str] = {}
        for hints in (nothing, {"environment": "PRODUCTION", "product_type": "CONSUMABLE"}):
            (snapshot,) = await it.adapter.pull(it.app, key, known=None, hints=hints)
            assert snapshot.product_type is ProductType.CONSUMABLE
            (period,) = snapshot.periods
            assert (period.price_micros, period.quantity, period.expires_at_ms) == (5_970_000, 3, None)
            assert snapshot.auto_renew is None

    live(check)


def test_mac_apps_are_their_own_store() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("pro_monthly")
        app = replace(it.app, store=Store.MAC_APP_STORE)
        (snapshot,) = await it.adapter.pull(app, key, known=None, hints={})
        assert snapshot.store is Store.MAC_APP_STORE
        assert it.adapter.decode(app, await arriving(it)).snapshots[0].store is Store.MAC_APP_STORE

    live(check)


def test_answers_that_apple_did_not_sign_are_not_believed() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("pro_monthly")
        it.store.mailer._authority = Authority(seed=2)
        with pytest.raises(StoreUnavailable, match="cannot be trusted"):
            await it.adapter.pull(it.app, key, known=None, hints={})

    live(check)


def test_store_addresses_of_an_app_count_only_where_allowed() -> None:
    """A production hub does not ask, nor trust, what somebody wrote into an app's settings."""

    async def check(it: Connected) -> None:
        asked: list[str] = []

        class Recorder:
            async def request(self, method: str, url: str, **rest: Any) -> Any:
                asked.append(url)
                return await it.client.request(method, "http://127.0.0.1:9/", **rest)

        with pytest.raises(StoreUnavailable):
            await AppleAdapter(Recorder(), allow_test_roots=False).pull(it.app, "1", known=None, hints={})
        assert asked == ["https://api.storekit.apple.com/inApps/v1/transactions/1"]

    live(check)


# ---- receipts


def test_signed_transaction_shows_everything_the_account_bought() -> None:
    async def check(it: Connected) -> None:
        it.store.purchase("coins_100", account="a")
        await it.advance(DAY_MS)
        key = it.store.purchase("pro_monthly", account="a", trial=True)
        it.store.purchase("lifetime", account="b")
        await it.advance(40 * DAY_MS)
        it.store.cancel(key)
        found = await it.adapter.verify_receipt(it.app, posted(it.store.signed_transaction(key)))
        assert [snapshot.product_type for snapshot in found] == [ProductType.SUBSCRIPTION, ProductType.CONSUMABLE]
        subscription = found[0]
        assert subscription.store_key == key
        assert len(subscription.periods) == 3
        assert subscription.auto_renew is False
        assert subscription.complete_history

    live(check)


def test_posted_purchase_comes_first() -> None:
    async def check(it: Connected) -> None:
        it.store.purchase("pro_monthly", account="a")
        key = it.store.purchase("lifetime", account="a")
        found = await it.adapter.verify_receipt(it.app, posted(it.store.signed_transaction(key)))
        assert [snapshot.store_key == key for snapshot in found] == [True, False]

    live(check)


def test_sandbox_receipt_is_asked_about_in_the_sandbox() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("pro_monthly", environment=SANDBOX)
        (found,) = await it.adapter.verify_receipt(it.app, posted(it.store.signed_transaction(key)))
        assert found.environment is Environment.SANDBOX

    live(check)


def test_family_member_has_a_purchase_that_cost_nothing() -> None:
    async def check(it: Connected) -> None:
        key = it.store.share_with_family(it.store.purchase("pro_monthly"))
        (found,) = await it.adapter.verify_receipt(it.app, posted(it.store.signed_transaction(key)))
        assert found.ownership is Ownership.FAMILY_SHARED
        assert found.periods[0].price_micros == 0

    live(check)


@pytest.mark.parametrize("environment", [PRODUCTION, SANDBOX])
def test_app_receipt_of_storekit_1(environment: str) -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("pro_monthly", environment=environment)
        await it.advance(MONTH_MS)
        receipt = it.store.app_receipt(key)
        (found,) = await it.adapter.verify_receipt(it.app, posted(receipt))
        assert (found.store_key, len(found.periods)) == (key, 2)
        folded = "\n".join(receipt[at : at + 76] for at in range(0, len(receipt), 76))
        assert len(await it.adapter.verify_receipt(it.app, posted(folded))) == 1

    live(check)


def test_app_receipts_that_prove_nothing() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("pro_monthly")
        genuine = it.store.app_receipt(key)
        content = base64.b64decode(genuine)
        forged = sign_receipt(Authority(seed=2), b"1\x00")
        touched = base64.b64encode(content.replace(key.encode(), str(int(key) + 1).encode())).decode()
        for token, reason in (
            (forged, "not "),
            (touched, "not signed by Apple"),
            (genuine[:400], "not an app receipt"),
            ("AAAA", "not an app receipt"),
            ("", "not an app receipt"),
            ("\u0000", "not an app receipt"),
            ("\ud800", "not an app receipt"),
            (sign_receipt(it.store.authority, b"1\x00"), "not an app receipt"),
        ):
            with pytest.raises(PurchaseNotFound, match=reason):
                await it.adapter.verify_receipt(it.app, posted(token))
        strict = AppleAdapter(it.client, allow_test_roots=False)
        with pytest.raises(PurchaseNotFound, match="not signed by Apple"):
            await strict.verify_receipt(it.app, posted(genuine))
        other = make_app(it.store, bundle_id="com.other.app")
        with pytest.raises(PurchaseNotFound, match="another app"):
            await it.adapter.verify_receipt(other, posted(genuine))
        assert it.calls() == []

    live(check)


def test_empty_app_receipt_holds_no_purchase() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("pro_monthly")
        it.store.accounts[it.store.subscriptions[key].latest.account].subscriptions.clear()
        with pytest.raises(PurchaseNotFound, match="holds no purchase"):
            await it.adapter.verify_receipt(it.app, posted(it.store.app_receipt(key)))

    live(check)


def test_bare_transaction_id_counts_only_with_a_secret_key() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("pro_monthly", environment=SANDBOX)
        with pytest.raises(PurchaseNotFound, match="bare transaction id"):
            await it.adapter.verify_receipt(it.app, posted(key))
        (found,) = await it.adapter.verify_receipt(it.app, posted(key, public_key=False))
        assert found.environment is Environment.SANDBOX
        with pytest.raises(PurchaseNotFound):
            await it.adapter.verify_receipt(it.app, posted("1", public_key=False))

    live(check)


def test_xcodes_own_receipts_are_refused_with_advice() -> None:
    async def check(it: Connected) -> None:
        local = base64.b64encode(json.dumps({"transactionId": "0"}).encode()).decode()
        key = it.store.purchase("pro_monthly")
        claims = {**payload_of(it.store.signed_transaction(key)), "environment": "Xcode"}
        for token in (local, jwt.encode(claims, "k" * 32, "HS256"), it.store.authority.sign(claims)):
            with pytest.raises(PurchaseNotFound, match="sandbox account"):
                await it.adapter.verify_receipt(it.app, posted(token))

    live(check)


def test_signed_transactions_that_prove_nothing() -> None:
    async def check(it: Connected) -> None:
        claims = payload_of(it.store.signed_transaction(it.store.purchase("pro_monthly")))
        stranger, ours = Authority(seed=2), it.store.authority
        for token in (
            stranger.sign(claims),
            ours.sign({**claims, "bundleId": "com.other.app"}),
            ours.sign({**claims, "transactionId": None}),
            "a.b.c",
            "..",
        ):
            with pytest.raises(PurchaseNotFound):
                await it.adapter.verify_receipt(it.app, posted(token))

    live(check)


def test_purchase_that_the_history_does_not_show_yet_counts_by_its_signature() -> None:
    async def check(it: Connected) -> None:
        first = it.store.purchase("coins_100", account="a")
        key = it.store.purchase("coins_100", account="a")
        token = it.store.signed_transaction(key)
        it.store.owner_of(key, PRODUCTION)
        it.store.accounts["a"].one_time.pop()
        found = await it.adapter.verify_receipt(it.app, posted(token))
        assert [snapshot.store_key for snapshot in found] == [key, first]

    live(check)


def test_price_from_the_device_fills_a_gap_only() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("lifetime")
        claims = payload_of(it.store.signed_transaction(key))
        del claims["price"], claims["currency"]
        token = it.store.authority.sign(claims)
        price = {"price_micros": 5_000_000, "currency": "EUR", "product_ids": ("lifetime",)}
        (shown,) = await it.adapter.verify_receipt(it.app, posted(token, **price))
        assert shown.periods[0].price_micros == 99_990_000  # Apple's history knows it
        it.store.owner_of(key, PRODUCTION)
        next(iter(it.store.accounts.values())).one_time.clear()
        (gap,) = await it.adapter.verify_receipt(it.app, posted(token, **price))
        assert (gap.periods[0].price_micros, gap.periods[0].currency) == (5_000_000, "EUR")
        (other,) = await it.adapter.verify_receipt(it.app, posted(token, **{**price, "product_ids": ("x",)}))
        assert other.periods[0].price_micros is None

    live(check)


def test_receipt_while_apple_is_down() -> None:
    async def check(it: Connected) -> None:
        token = it.store.signed_transaction(it.store.purchase("pro_monthly"))
        it.kernel.faults.add("/inApps", 503)
        with pytest.raises(StoreUnavailable):
            await it.adapter.verify_receipt(it.app, posted(token))
        assert await it.adapter.verify_receipt(it.app, posted(token))
        bare = replace(it.app, id="app2", secrets={})
        with pytest.raises(CredentialError, match="no In-App Purchase key"):
            await it.adapter.verify_receipt(bare, posted(token))

    live(check)


# ---- recovery


def test_what_did_not_arrive_is_recovered_in_the_stores_own_bytes() -> None:
    async def check(it: Connected) -> None:
        first = it.store.purchase("pro_monthly")
        await it.kernel.flush()
        it.kernel.notifier.set_mode(Mode.DROP)
        await it.advance(DAY_MS)
        it.store.cancel(first)
        second = it.store.purchase("coins_100", environment=SANDBOX)
        await it.advance(2 * DAY_MS)
        it.kernel.notifier.set_mode(Mode.NORMAL)
        assert len(it.bodies) == 1
        found: list[str] = []
        async for item in it.adapter.recover(it.app, START_MS, it.clock.now_ms()):
            assert isinstance(item, RecoveredNotification)
            await it.adapter.verify(it.app, {}, item.raw, now_ms=it.clock.now_ms())
            notification = it.adapter.decode(it.app, item.raw)
            found.append(f"{notification.type} {notification.snapshots[0].store_key}")
        assert found == [f"DID_CHANGE_RENEWAL_STATUS {first}", f"ONE_TIME_CHARGE {second}"]

    live(check)


def test_recovery_asks_no_further_back_than_apple_remembers() -> None:
    async def check(it: Connected) -> None:
        asked: list[dict[str, Any]] = []

        class Recorder:
            async def request(self, method: str, url: str, *, body: bytes = b"", **rest: Any) -> Any:
                asked.append({"sandbox": "/sandbox/" in url, **json.loads(body)})
                return await it.client.request(method, url, body=body, **rest)

        adapter = AppleAdapter(Recorder(), allow_test_roots=True)
        now = it.clock.now_ms()
        assert [item async for item in adapter.recover(it.app, 0, now)] == []
        assert [(now - item["startDate"]) // DAY_MS for item in asked] == [179, 29]
        assert [item["sandbox"] for item in asked] == [False, True]
        assert all(item["onlyFailures"] for item in asked)
        asked.clear()
        no_production = make_app(it.store, app_apple_id=None)
        assert [item async for item in adapter.recover(no_production, now - DAY_MS, now)] == []
        assert [item["sandbox"] for item in asked] == [True]
        asked.clear()
        assert [item async for item in adapter.recover(it.app, now, now)] == []
        assert asked == []

    live(check)


# ---- credentials


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({}, CredentialStatus.OK, "Works."),
        ({"app_apple_id": None}, CredentialStatus.OK, "Apple ID"),
        ({"iap_key_id": ""}, CredentialStatus.MISSING, "Enter"),
        ({"iap_key_id": "OTHER"}, CredentialStatus.INVALID, "refuses"),
        ({"bundle_id": "com.other.app"}, CredentialStatus.INVALID, "bundle ID"),
        ({"api_base_url_production": "http://127.0.0.1:9"}, CredentialStatus.UNKNOWN, "could not be reached"),
    ],
)
def test_credentials(changes: dict[str, object], status: CredentialStatus, words: str) -> None:
    async def check(it: Connected) -> None:
        found, message = await it.adapter.check_credentials(make_app(it.store, **changes))
        assert found is status
        assert words in message

    live(check)


def test_credentials_of_an_app_that_is_not_released_yet() -> None:
    async def check(it: Connected) -> None:
        it.kernel.faults.add("/inApps", 401)
        status, message = await it.adapter.check_credentials(it.app)
        assert status is CredentialStatus.OK
        assert "sandbox" in message

    live(check)


def test_credentials_that_are_no_key() -> None:
    async def check(it: Connected) -> None:
        app = replace(it.app, secrets={"iap_key_p8": "nonsense"})
        status, message = await it.adapter.check_credentials(app)
        assert status is CredentialStatus.INVALID
        assert ".p8" in message

    live(check)


def test_settings_that_change_take_effect_at_once() -> None:
    async def check(it: Connected) -> None:
        broken = make_app(it.store, iap_key_id="OTHER")
        assert (await it.adapter.check_credentials(broken))[0] is CredentialStatus.INVALID
        assert (await it.adapter.check_credentials(it.app))[0] is CredentialStatus.OK

    live(check)


def test_finish_asks_apple_nothing() -> None:
    async def check(it: Connected) -> None:
        it.store.purchase("coins_100")
        (snapshot,) = it.adapter.decode(it.app, await arriving(it)).snapshots
        assert snapshot.acknowledged is UNSET
        await it.adapter.finish(it.app, snapshot)
        assert it.calls() == []

    live(check)
