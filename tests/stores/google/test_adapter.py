"""The adapter over real HTTP: errors, credentials, receipts, acknowledgement, recovery."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from bellwire.model.enums import CredentialStatus, ProductType
from bellwire.model.facts import Snapshot
from bellwire.model.projects import App
from bellwire.simulator.google.identity import Identity
from bellwire.stores.base import (
    CredentialError,
    PaymentPending,
    PostedReceipt,
    PurchaseGone,
    PurchaseNotFound,
    RecoveredKey,
    StoreAdapter,
    StoreUnavailable,
)
from bellwire.stores.google import GoogleAdapter
from tests.support.play import DAY_MS, PlayBench, on_bench

SUB = {"kind": "subscription"}


async def _pull(bench: PlayBench, token: str, app: App | None = None, **hints: str) -> Snapshot:
    (snapshot,) = await bench.adapter.pull(app or bench.app(), token, known=None, hints={**SUB, **hints})
    return snapshot


def test_it_is_a_store_adapter() -> None:
    async def tell(bench: PlayBench) -> None:
        adapter: StoreAdapter = bench.adapter
        assert isinstance(adapter, GoogleAdapter)

    on_bench(tell)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, PurchaseNotFound),
        (404, PurchaseNotFound),
        (410, PurchaseGone),
        (403, CredentialError),
        (409, StoreUnavailable),
        (429, StoreUnavailable),
        (500, StoreUnavailable),
        (503, StoreUnavailable),
    ],
)
def test_errors_say_what_to_do(status: int, error: type[Exception]) -> None:
    async def tell(bench: PlayBench) -> None:
        token = bench.play.purchase("pro:monthly")
        bench.kernel.faults.add("/androidpublisher", status)
        with pytest.raises(error):
            await _pull(bench, token)
        await _pull(bench, token)

    on_bench(tell)


def test_retry_after_is_handed_on() -> None:
    async def tell(bench: PlayBench) -> None:
        bench.kernel.faults.add("/androidpublisher", 429, retry_after=30)
        with pytest.raises(StoreUnavailable) as refused:
            await _pull(bench, "x")
        assert refused.value.retry_after_ms == 30_000

    on_bench(tell)


def test_a_store_that_is_not_there_is_unavailable() -> None:
    async def tell(bench: PlayBench) -> None:
        app = bench.app(api_endpoint="http://127.0.0.1:1")
        with pytest.raises(StoreUnavailable):
            await _pull(bench, "x", app)
        with pytest.raises(StoreUnavailable):
            await _pull(bench, "x", bench.app(token_uri="http://127.0.0.1:1/token"))

    on_bench(tell)


def test_access_tokens_are_kept_and_renewed_when_refused() -> None:
    async def tell(bench: PlayBench) -> None:
        token = bench.play.purchase("pro:monthly")

        def grants() -> int:
            return sum(url.endswith("/token") for _, url, _, _ in bench.recorder.calls)

        await _pull(bench, token)
        await _pull(bench, token)
        assert grants() == 1
        bench.play.identity.withdraw_tokens()
        await _pull(bench, token)
        assert grants() == 2

    on_bench(tell)


def test_a_refused_key_file_is_a_credential_error_and_shows_no_secret() -> None:
    async def tell(bench: PlayBench) -> None:
        other = Identity().service_account_json(bench.play.token_uri)
        cut = other.replace("PRIVATE KEY-----\\n", "PRIVATE KEY-----\\nAAAA", 1)
        app = bench.app()
        for text in (other, cut, "not json", "{}"):
            broken = msgspec.structs.replace(app, secrets={"service_account_json": text})
            with pytest.raises(CredentialError) as refused:
                await _pull(bench, "x", broken)
            assert "PRIVATE" not in str(refused.value)
            status, message = await bench.adapter.check_credentials(broken)
            assert status is CredentialStatus.INVALID
            assert "PRIVATE" not in message

    on_bench(tell)


def test_credentials_are_checked() -> None:
    async def tell(bench: PlayBench) -> None:
        app = bench.app()
        assert (await bench.adapter.check_credentials(app))[0] is CredentialStatus.OK
        missing = msgspec.structs.replace(app, secrets={})
        assert (await bench.adapter.check_credentials(missing))[0] is CredentialStatus.MISSING
        bench.kernel.faults.add("/androidpublisher", 403)
        assert (await bench.adapter.check_credentials(app))[0] is CredentialStatus.INVALID
        bench.kernel.faults.add("/androidpublisher", 503)
        assert (await bench.adapter.check_credentials(app))[0] is CredentialStatus.UNKNOWN

    on_bench(tell)


def test_a_wrong_package_name_is_the_operators_trouble_not_the_purchases() -> None:
    async def tell(bench: PlayBench) -> None:
        app = bench.app(package_name="com.example.typo")
        assert (await bench.adapter.check_credentials(app))[0] is CredentialStatus.INVALID
        with pytest.raises(CredentialError, match="package name"):
            await bench.adapter.verify_receipt(app, _posted(bench, bench.play.purchase("pro:monthly")))

    on_bench(tell)


def test_an_apps_own_addresses_count_only_where_test_roots_are_allowed() -> None:
    async def tell(bench: PlayBench) -> None:
        asked: list[str] = []

        class Nowhere:
            async def request(self, method: str, url: str, **_: Any) -> Any:
                asked.append(url)
                return await bench.client.request(method, "http://127.0.0.1:1/")

        adapter = GoogleAdapter(Nowhere(), allow_test_roots=False)
        app = bench.app()
        with pytest.raises(StoreUnavailable):
            await adapter.pull(app, "x", known=None, hints=SUB)
        push = bench.play.identity.push_token("a")
        with pytest.raises(StoreUnavailable):
            await adapter.verify(app, {"authorization": f"Bearer {push}"}, b"", now_ms=0)
        assert asked == ["https://oauth2.googleapis.com/token", "https://www.googleapis.com/oauth2/v3/certs"]

    on_bench(tell)


def test_without_permission_to_view_orders_a_purchase_still_counts() -> None:
    async def tell(bench: PlayBench) -> None:
        bench.play.financial_permission = False
        token = bench.play.purchase("pro:monthly")
        await bench.advance(100)
        bench.play.acknowledge(token)
        first = await _pull(bench, bench.play.purchase("pro:monthly"))
        assert (first.periods[0].price_micros, first.periods[0].currency) == (9_990_000, "USD")

    on_bench(tell)


def test_a_renewal_without_orders_begins_one_plan_before_its_end() -> None:
    async def tell(bench: PlayBench) -> None:
        token = bench.play.purchase("pro:monthly")
        bench.play.acknowledge(token)
        await bench.advance(40)
        bench.play.financial_permission = False
        snapshot = await _pull(bench, token)
        assert snapshot.periods[-1].purchased_at_ms == bench.play.subscription(token).paid_until_ms - 28 * DAY_MS
        assert bench.recorder.paths()[-1] == "GET subscriptions/pro"

    on_bench(tell)


def test_orders_that_time_may_mend_are_waited_for() -> None:
    async def tell(bench: PlayBench) -> None:
        token = bench.play.purchase("pro:monthly")
        bench.kernel.faults.add("/androidpublisher/v3/applications/com.example.app/orders", 503)
        with pytest.raises(StoreUnavailable):
            await _pull(bench, token)
        assert (await _pull(bench, token)).periods[0].commission_ppm == 150_000

    on_bench(tell)


def test_the_whole_history_is_read_at_first_sight() -> None:
    async def tell(bench: PlayBench) -> None:
        token = bench.play.purchase("pro:monthly", trial=True)
        bench.play.acknowledge(token)
        await bench.advance(200)
        snapshot = await _pull(bench, token)
        orders = bench.play.subscription(token).orders
        assert {period.period_key for period in snapshot.periods} == set(orders)
        assert len(orders) == 8
        assert snapshot.complete_history
        assert sum(path.startswith("GET orders") for path in bench.recorder.paths()) == 1
        del bench.play.orders[orders[0]]  # a batch is all or nothing: then only the running period is known
        snapshot = await _pull(bench, token)
        assert [period.period_key for period in snapshot.periods] == orders[-1:]
        assert snapshot.periods[0].ordinal == 8
        assert not snapshot.complete_history

    on_bench(tell)


def test_statements_are_dated_by_the_stores_clock_in_the_order_of_the_answers() -> None:
    async def tell(bench: PlayBench) -> None:
        token = bench.play.purchase("pro:monthly")
        times = [(await _pull(bench, token)).as_of_ms for _ in range(3)]
        assert times == [bench.clock.now_ms() + n for n in range(3)]
        await bench.advance(1)
        assert (await _pull(bench, token)).as_of_ms == bench.clock.now_ms()

    on_bench(tell)


def test_tokens_expired_for_long_are_gone() -> None:
    async def tell(bench: PlayBench) -> None:
        token = bench.play.purchase("pro:monthly")
        bench.play.acknowledge(token)
        bench.play.cancel(token)
        await bench.advance(90)
        assert (await _pull(bench, token)).ended is True
        await bench.advance(5)
        with pytest.raises(PurchaseGone):
            await _pull(bench, token)

    on_bench(tell)


def test_a_chain_is_read_under_its_newest_token() -> None:
    async def tell(bench: PlayBench) -> None:
        from tests.support.story import World

        world, old = World(), bench.play.purchase("pro:monthly")
        world.apply(await _pull(bench, old), bench.clock.now_ms())
        new = bench.play.change_plan(old, "basic:monthly", "DEFERRED")
        world.apply(await _pull(bench, new), bench.clock.now_ms())
        known = world.chain(old)
        assert known.store_key == new
        (snapshot,) = await bench.adapter.pull(bench.app(), old, known=known, hints={})
        assert snapshot.store_key == new
        assert not snapshot.replaced_by_other

    on_bench(tell)


# -- receipts


def _posted(bench: PlayBench, token: str, **more: Any) -> PostedReceipt:
    receipt = bench.play.receipt(token)
    return PostedReceipt(fetch_token=receipt["fetch_token"], product_ids=(receipt["product_id"],), **more)


def test_receipts_of_both_kinds_are_proved() -> None:
    async def tell(bench: PlayBench) -> None:
        play, app = bench.play, bench.app()
        (subscription,) = await bench.adapter.verify_receipt(app, _posted(bench, play.purchase("pro:monthly")))
        assert subscription.product_type is ProductType.SUBSCRIPTION
        (coins,) = await bench.adapter.verify_receipt(app, _posted(bench, play.buy("coins_100")))
        assert coins.product_type is ProductType.ONE_TIME
        for product_ids in ((), ("pro",), ("pro:monthly",)):
            with pytest.raises(PurchaseNotFound):
                await bench.adapter.verify_receipt(app, PostedReceipt(fetch_token="made.up", product_ids=product_ids))

    on_bench(tell)


def test_a_product_id_with_a_plan_is_asked_for_as_a_subscription_only() -> None:
    async def tell(bench: PlayBench) -> None:
        posted = PostedReceipt(fetch_token="made.up", product_ids=("pro:monthly",))
        with pytest.raises(PurchaseNotFound):
            await bench.adapter.verify_receipt(bench.app(), posted)
        assert bench.recorder.paths() == ["GET purchases/subscriptionsv2/tokens/made.up"]

    on_bench(tell)


def test_receipts_that_are_not_paid_yet_say_so() -> None:
    async def tell(bench: PlayBench) -> None:
        play, app = bench.play, bench.app()
        waiting = play.purchase("pro:monthly", pending=True)
        coins = play.buy("coins_100", pending=True)
        for token in (waiting, coins):
            with pytest.raises(PaymentPending):
                await bench.adapter.verify_receipt(app, _posted(bench, token))
        play.give_up_pending(waiting)
        play.complete_payment(coins)
        with pytest.raises(PurchaseNotFound):
            await bench.adapter.verify_receipt(app, _posted(bench, waiting))
        assert len(await bench.adapter.verify_receipt(app, _posted(bench, coins))) == 1

    on_bench(tell)


def test_a_posted_price_fills_in_where_orders_are_hidden() -> None:
    async def tell(bench: PlayBench) -> None:
        token = bench.play.purchase("pro:monthly")
        posted = _posted(bench, token, price_micros=8_490_000, currency="EUR")
        (seen,) = await bench.adapter.verify_receipt(bench.app(), posted)
        assert (seen.periods[0].price_micros, seen.periods[0].currency) == (9_990_000, "USD")
        bench.play.financial_permission = False
        (hidden,) = await bench.adapter.verify_receipt(bench.app(), posted)
        assert (hidden.periods[0].price_micros, hidden.periods[0].currency) == (8_490_000, "EUR")

    on_bench(tell)


def test_account_ids_name_a_customer_only_where_the_operator_says_so() -> None:
    async def tell(bench: PlayBench) -> None:
        named = bench.app(app_user_id_source="obfuscated_external_account_id")
        for token in (bench.play.purchase("pro:monthly", account_id="u1"), bench.play.buy("lifetime", account_id="u1")):
            for app, hint in ((bench.app(), None), (named, "u1")):
                (snapshot,) = await bench.adapter.pull(app, token, known=None, hints={})
                assert snapshot.account_hint == hint

    on_bench(tell)


# -- acknowledgement


def test_purchases_are_acknowledged_once() -> None:
    async def tell(bench: PlayBench) -> None:
        play, app = bench.play, bench.app()
        monthly, coins = play.purchase("pro:monthly"), play.buy("coins_100")
        for token in (monthly, coins):
            (snapshot,) = await bench.adapter.pull(app, token, known=None, hints={})
            await bench.adapter.finish(app, snapshot)
        assert play.subscription(monthly).acknowledged
        assert play.one_time_purchase(coins).acknowledged
        assert not play.one_time_purchase(coins).consumed
        before = len(bench.recorder.calls)
        (snapshot,) = await bench.adapter.pull(app, coins, known=None, hints={"kind": "one_time"})
        await bench.adapter.finish(app, snapshot)
        assert not any(method == "POST" for method, *_ in bench.recorder.calls[before:])

    on_bench(tell)


def test_consumables_are_consumed_only_where_wanted_and_known_as_such() -> None:
    async def tell(bench: PlayBench) -> None:
        play, app = bench.play, bench.app(consume_consumables=True)
        for kind, consumed in ((ProductType.ONE_TIME, False), (ProductType.CONSUMABLE, True)):
            token = play.buy("coins_100")
            (snapshot,) = await bench.adapter.pull(app, token, known=None, hints={"kind": "one_time"})
            await bench.adapter.finish(app, msgspec.structs.replace(snapshot, product_type=kind))
            assert play.one_time_purchase(token).consumed is consumed
            assert play.one_time_purchase(token).acknowledged

    on_bench(tell)


def test_acknowledging_can_be_left_to_the_app() -> None:
    async def tell(bench: PlayBench) -> None:
        token = bench.play.purchase("pro:monthly")
        app = bench.app(acknowledge_purchases=False)
        await bench.adapter.finish(app, await _pull(bench, token, app))
        assert not bench.play.subscription(token).acknowledged

    on_bench(tell)


def test_what_is_not_owned_is_not_acknowledged() -> None:
    async def tell(bench: PlayBench) -> None:
        play, app = bench.play, bench.app()
        pending = play.purchase("pro:monthly", pending=True)
        revoked = play.purchase("pro:monthly")
        play.revoke(revoked)
        for token in (pending, revoked):
            await bench.adapter.finish(app, await _pull(bench, token))
        assert not any(method == "POST" and "acknowledge" in url for method, url, *_ in bench.recorder.calls)

    on_bench(tell)


def test_what_nobody_acknowledges_is_taken_back_after_three_days() -> None:
    async def tell(bench: PlayBench) -> None:
        monthly, coins = bench.play.purchase("pro:monthly"), bench.play.buy("coins_100")
        await bench.advance(2.9)
        assert (await _pull(bench, monthly)).ended is False
        await bench.advance(0.2)
        snapshot = await _pull(bench, monthly)
        assert snapshot.ended is True
        assert isinstance(snapshot.periods[0].refunded_at_ms, int)
        (taken,) = await bench.adapter.pull(bench.app(), coins, known=None, hints={"kind": "one_time"})
        assert isinstance(taken.periods[0].refunded_at_ms, int)
        assert {row.reason for row in bench.play.voided} == {8}

    on_bench(tell)


# -- recovery


async def _keys(found: AsyncIterator[object]) -> list[RecoveredKey]:
    return [key async for key in found if isinstance(key, RecoveredKey)]


def test_voided_purchases_are_recovered_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellwire.stores.google.client.VOIDED_PAGE_SIZE", 2)

    async def tell(bench: PlayBench) -> None:
        play, app = bench.play, bench.app()
        tokens = [play.purchase("pro:monthly") for _ in range(3)]
        coins = play.buy("coins_100", quantity=3)
        await bench.advance(1)
        since = bench.clock.now_ms()
        for token in tokens:
            play.revoke(token)
        play.refund_product(coins, quantity=1)
        await bench.advance(0.1)
        keys = await _keys(bench.adapter.recover(app, since, bench.clock.now_ms()))
        assert [key.store_key for key in keys] == [*tokens, coins]
        assert keys[0].hints["orderId"] == play.subscription(tokens[0]).orders[0]
        assert keys[-1].hints["refundType"] == "2"
        assert sum("voidedpurchases" in path for path in bench.recorder.paths()) == 2
        for key in keys[:3]:
            (snapshot,) = await bench.adapter.pull(app, key.store_key, known=None, hints=key.hints)
            assert snapshot.periods[0].refunded_at_ms == since
        (part,) = await bench.adapter.pull(app, coins, known=None, hints=keys[-1].hints)
        assert not isinstance(part.periods[0].refunded_at_ms, int)

    on_bench(tell)


def test_recovery_asks_no_further_back_than_google_remembers() -> None:
    async def tell(bench: PlayBench) -> None:
        assert await _keys(bench.adapter.recover(bench.app(), 0, bench.clock.now_ms())) == []

    on_bench(tell)
