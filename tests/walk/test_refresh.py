"""No store is trusted to notify: what timers find alone, and what is made good after an outage (spec: stores 1.5)."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bellwire.db.apps import load_health
from bellwire.db.tables import chains
from bellwire.model.projects import App
from bellwire.simulator.kernel import Mode
from bellwire.stores.base import StoreError
from tests.support.world import DAY_MS, World, live

HOUR_MS = 3_600_000
BOUGHT = "INITIAL_PURCHASE NORMAL 9.99"
RENEWED = "RENEWAL NORMAL 9.99"
STORES = pytest.mark.parametrize("store", ["apple", "google"])
DEAF: dict[str, Any] = {"track_new_purchases": False}


def fake_of(it: World, store: str) -> Any:
    return it.apple if store == "apple" else it.google


async def bought(it: World, store: str) -> str:
    """A monthly subscription that the app has posted; the store says nothing of what comes after."""
    it.kernel.notifier.set_mode(Mode.DROP)
    fake = fake_of(it, store)
    key = str(fake.purchase("pro_monthly" if store == "apple" else "pro:monthly"))
    assert await it.post(fake, key) == 200
    await it.settle()
    return key


def stores_down(it: World) -> None:
    for path in ("/inApps/", "/androidpublisher/"):
        it.kernel.faults.add(path, 503, times=1_000_000)


# ---- timers alone


@STORES
def test_a_renewal_that_nobody_told_of(store: str, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await bought(it, store)
        await it.advance(31 * DAY_MS - HOUR_MS)
        await it.live_through(2 * HOUR_MS)
        assert it.told() == [BOUGHT, RENEWED]
        assert await it.entitled()

    live(tmp_path, scene, **DEAF)


@STORES
def test_a_cancellation_that_nobody_told_of_is_found_within_hours(store: str, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        key = await bought(it, store)
        await it.advance(10 * DAY_MS)
        fake_of(it, store).cancel(key)
        await it.live_through(7 * HOUR_MS)
        assert it.told() == [BOUGHT, "CANCELLATION UNSUBSCRIBE"]
        await it.advance(21 * DAY_MS - 12 * HOUR_MS)
        fake_of(it, store).restart(key) if store == "google" else it.apple.reenable(key)
        await it.live_through(2 * HOUR_MS)
        assert it.told()[2:] == ["UNCANCELLATION"]

    live(tmp_path, scene, **DEAF)


@STORES
def test_an_expiry_that_nobody_told_of_is_found_within_an_hour(store: str, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        key = await bought(it, store)
        fake_of(it, store).cancel(key)
        await it.advance(31 * DAY_MS - HOUR_MS)
        await it.live_through(2 * HOUR_MS)
        assert it.told() == [BOUGHT, "CANCELLATION UNSUBSCRIBE", "EXPIRATION UNSUBSCRIBE"]
        assert not await it.entitled()

    live(tmp_path, scene, **DEAF)


@STORES
def test_a_failed_charge_with_grace_and_its_mending(store: str, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        key = await bought(it, store)
        if store == "apple":
            it.apple.fail_payment(key, grace=True)
        else:
            it.google.fail_payment(key)
        await it.advance(31 * DAY_MS - HOUR_MS)
        await it.live_through(2 * HOUR_MS)
        assert it.told() == [BOUGHT, "BILLING_ISSUE GRACE", "CANCELLATION BILLING_ERROR"]
        assert await it.entitled()
        fake_of(it, store).recover(key)
        await it.live_through(DAY_MS + HOUR_MS)
        assert it.told()[3:] == [RENEWED]

    live(tmp_path, scene, **DEAF)


@STORES
def test_a_failed_charge_without_grace_and_its_late_mending(store: str, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        key = await bought(it, store)
        if store == "apple":
            it.apple.fail_payment(key)
        else:
            it.google.fail_payment(key, "hold")
        await it.advance(31 * DAY_MS - HOUR_MS)
        await it.live_through(2 * HOUR_MS)
        assert it.told() == [BOUGHT, "BILLING_ISSUE", "CANCELLATION BILLING_ERROR", "EXPIRATION BILLING_ERROR"]
        assert not await it.entitled()
        await it.live_through(5 * DAY_MS)
        fake_of(it, store).recover(key)
        await it.live_through(DAY_MS + HOUR_MS)
        assert it.told()[4:] == [RENEWED]
        assert await it.entitled()

    live(tmp_path, scene, **DEAF)


def test_a_pause_that_nobody_told_of(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        key = await bought(it, "google")
        it.google.pause(key)
        await it.advance(31 * DAY_MS - HOUR_MS)
        await it.live_through(2 * HOUR_MS)
        assert it.told() == [BOUGHT, "SUBSCRIPTION_PAUSED", "EXPIRATION SUBSCRIPTION_PAUSED"]
        await it.live_through(31 * DAY_MS)
        assert it.told()[3:] == [RENEWED]

    live(tmp_path, scene, **DEAF)


def test_stores_that_notify_are_asked_seldom(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await it.post(it.apple, it.apple.purchase("pro_monthly"), "ann")
        await it.settle()
        await it.post(it.apple, it.apple.purchase("pro_monthly"), "bob")
        checks = [row["next_check_at_ms"] - it.clock.now_ms() for row in it.chains()]
        assert all(wait >= 6 * DAY_MS for wait in checks)

    live(tmp_path, scene, **DEAF)


# ---- a store that cannot be asked


@STORES
def test_after_a_day_of_silence_stored_dates_count_and_the_truth_mends_them(store: str, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await bought(it, store)
        await it.advance(31 * DAY_MS - HOUR_MS)
        stores_down(it)
        await it.live_through(24 * HOUR_MS)
        assert it.told() == [BOUGHT]
        await it.live_through(4 * HOUR_MS)
        assert [event["type"] for event in it.received] == ["INITIAL_PURCHASE", "EXPIRATION"]
        assert not await it.entitled()
        await it.live_through(6 * HOUR_MS)
        assert len(it.received) == 2
        it.kernel.faults.clear()
        await it.live_through(2 * HOUR_MS)
        assert it.told()[2:] == [RENEWED]
        assert await it.entitled()

    live(tmp_path, scene, **DEAF)


@STORES
def test_a_hub_that_slept_for_days_does_not_end_what_it_could_not_ask_about(store: str, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await bought(it, store)
        it.clock.advance_ms(34 * DAY_MS)
        stores_down(it)
        await it.settle()
        await it.live_through(HOUR_MS)
        assert it.told() == [BOUGHT]
        it.kernel.faults.clear()
        await it.live_through(2 * HOUR_MS)
        assert it.told() == [BOUGHT, RENEWED]

    live(tmp_path, scene, **DEAF)


def test_a_purchase_that_google_forgot_ends_by_its_dates(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await bought(it, "google")
        it.kernel.faults.add("/androidpublisher/", 410, times=1_000_000)
        await it.advance(31 * DAY_MS - HOUR_MS)
        await it.live_through(2 * HOUR_MS)
        assert [event["type"] for event in it.received] == ["INITIAL_PURCHASE", "EXPIRATION"]
        await it.live_through(3 * DAY_MS)
        assert it.chains()[0]["next_check_at_ms"] is None

    live(tmp_path, scene, **DEAF)


def test_a_store_that_is_down_does_not_put_off_the_other(tmp_path: Path) -> None:
    """A batch of due checks is not spent on time-outs: after some failures the rest of that app backs off unasked."""

    async def scene(it: World) -> None:
        it.kernel.notifier.set_mode(Mode.DROP)
        for number in range(16):
            await it.post(it.google, it.google.purchase("pro:monthly"), f"google-{number}", observer_mode=True)
        await it.post(it.apple, it.apple.purchase("pro_monthly"), "apple")
        await it.settle()
        it.clock.advance_ms(31 * DAY_MS + HOUR_MS)
        it.kernel.faults.add("/androidpublisher/", 503, times=1_000_000)
        assert await it.hub.timers.check_due() == 17
        failed = [row for row in it.chains() if row["store"] == "PLAY_STORE"]
        assert all(row["next_check_at_ms"] > it.clock.now_ms() for row in failed)
        await it.settle()
        assert [event["app_user_id"] for event in it.received if event["type"] == "RENEWAL"] == ["apple"]

    live(tmp_path, scene, **DEAF)


def test_checks_of_an_app_that_is_gone_do_not_come_back_at_once(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await bought(it, "google")
        it.clock.advance_ms(31 * DAY_MS + HOUR_MS)
        it.hub.config.current().apps.pop(it.google_app.id)
        assert await it.hub.timers.check_due() == 1
        assert await it.hub.timers.check_due() == 0
        assert it.chains()[0]["next_check_at_ms"] >= it.clock.now_ms() + DAY_MS

    live(tmp_path, scene, **DEAF)


# ---- recovery


def recovered_until(it: World, app: App) -> int | None:
    with it.hub.read_engine.connect() as connection:
        health = load_health(connection, it.project_id, app.id)
    assert health is not None
    return health.recovered_until_ms


def test_what_apple_could_not_deliver_is_fetched(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.kernel.notifier.set_mode(Mode.DROP)
        known = it.apple.purchase("pro_monthly")
        unknown = it.apple.purchase("pro_yearly")
        assert await it.post(it.apple, known) == 200
        it.clock.advance_ms(HOUR_MS)
        it.apple.cancel(known)
        it.clock.advance_ms(HOUR_MS)
        it.apple.refund(unknown)
        it.kernel.notifier.set_mode(Mode.NORMAL)
        await it.recover()
        # What is over when it is first heard of is history, of which the last event goes out.
        assert sorted(it.told()) == ["CANCELLATION UNSUBSCRIBE", "EXPIRATION CUSTOMER_SUPPORT", BOUGHT]
        rows = len(it.inbox())
        await it.recover()
        assert len(it.inbox()) == rows
        assert recovered_until(it, it.apple_app) == it.clock.now_ms()

    live(tmp_path, scene)


def test_refunds_that_google_told_nobody_are_in_its_list(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        key = await bought(it, "google")
        await it.recover()
        it.clock.advance_ms(HOUR_MS)
        it.google.revoke(key)
        await it.recover()
        assert it.told() == [BOUGHT, "CANCELLATION CUSTOMER_SUPPORT -9.99", "EXPIRATION CUSTOMER_SUPPORT"]

    live(tmp_path, scene, **DEAF)


def test_after_days_without_the_hub_every_running_purchase_is_read_again(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.google.send_test_notification()  # the store does notify: checks are a week apart
        await it.settle()
        it.hub.config.current()
        key = await bought(it, "google")
        await it.recover()
        it.google.cancel(key)
        it.clock.advance_ms(3 * DAY_MS)
        await it.recover()
        assert it.told() == [BOUGHT, "CANCELLATION UNSUBSCRIBE"]

    live(tmp_path, scene, **DEAF)


@STORES
def test_an_unfinished_recovery_begins_again_where_it_was(store: str, tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        app = it.apple_app if store == "apple" else it.google_app
        it.kernel.notifier.set_mode(Mode.DROP)
        it.apple.purchase("pro_monthly")
        it.google.purchase("pro:monthly")
        stores_down(it)
        with pytest.raises(StoreError):
            await it.hub.recovery.recover(app)
        assert recovered_until(it, app) is None
        it.kernel.faults.clear()
        await it.hub.recovery.recover(app)
        assert recovered_until(it, app) == it.clock.now_ms()

    live(tmp_path, scene)


def test_checks_survive_a_chain_that_breaks_them(tmp_path: Path) -> None:
    """A row that cannot be worked on backs off like a store that cannot be asked; the others go on."""

    async def scene(it: World) -> None:
        it.kernel.notifier.set_mode(Mode.DROP)
        broken, fine = it.google.purchase("pro:monthly"), it.google.purchase("pro:monthly")
        await it.post(it.google, broken, "broken")
        await it.post(it.google, fine, "fine")
        await it.settle()
        it.clock.advance_ms(31 * DAY_MS + HOUR_MS)
        bad = it.chains()[0]["id"]
        await it.change(
            lambda c: c.execute(sa.update(chains).where(chains.c.id == bad).values(store_key="..")).rowcount
        )
        await it.hub.timers.check_due()
        await it.settle()
        assert [event["app_user_id"] for event in it.received if event["type"] == "RENEWAL"] == ["fine"]
        assert it.chains()[0]["next_check_at_ms"] > it.clock.now_ms()

    live(tmp_path, scene, **DEAF)
