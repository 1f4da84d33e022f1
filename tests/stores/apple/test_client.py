"""The App Store Server API client against the fake, over real HTTP (spec: stores 2.4)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from bellwire.kit.http import Answer, TransportError
from bellwire.stores.apple.client import PRODUCTION, SANDBOX, AppleClient, UnknownTransaction, failure
from bellwire.stores.apple.settings import Config, Secrets
from bellwire.stores.base import CredentialError, PurchaseNotFound, StoreError, StoreUnavailable
from tests.stores.apple.connected import DAY_MS, MONTH_MS, START_MS, Connected, connected, payload_of


def client_of(it: Connected, secrets: Secrets | None = None, **config: object) -> AppleClient:
    """The client as the adapter makes it, with changes."""
    settings = msgspec.convert({**it.app.config, **config}, Config)
    urls = {PRODUCTION: settings.api_base_url_production, SANDBOX: settings.api_base_url_sandbox}
    return AppleClient(it.client, settings, secrets or msgspec.convert(it.app.secrets, Secrets), urls)


def live(test: Callable[[Connected], Awaitable[None]]) -> None:
    async def run() -> None:
        async with connected() as it:
            await test(it)

    asyncio.run(run())


def test_statuses_name_every_subscription_of_the_account() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("pro_monthly", account="a")
        it.store.purchase("coins_100", account="a")
        await it.advance(MONTH_MS)
        (state,) = await client_of(it).statuses(PRODUCTION, key)
        assert (state.original_transaction_id, state.status) == (key, 1)
        assert state.signed_transaction_info is not None
        assert payload_of(state.signed_transaction_info)["transactionReason"] == "RENEWAL"

    live(check)


def test_history_is_read_page_by_page() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("pro_monthly")
        await it.advance(4 * 365 * DAY_MS)
        client = client_of(it)
        signed = await client.history(PRODUCTION, key)
        dates = [payload_of(item)["purchaseDate"] for item in signed]
        assert len(signed) == 48
        assert dates == sorted(dates)
        assert it.calls().count(f"/inApps/v2/history/{key}") == 3
        later = await client.history(PRODUCTION, key, start_ms=dates[40])
        assert [payload_of(item)["purchaseDate"] for item in later] == dates[40:]
        assert await client.history(PRODUCTION, key, product_types=("CONSUMABLE",)) == []

    live(check)


def test_refunds_orders_and_single_transactions() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("coins_100", account="a")
        it.store.purchase("coins_100", account="a")
        it.store.refund(key)
        client = client_of(it)
        assert [payload_of(item)["transactionId"] for item in await client.refunds(PRODUCTION, key)] == [key]
        assert payload_of(await client.transaction(PRODUCTION, key))["revocationDate"] == START_MS
        order_id = it.store.one_time[key].order_id
        assert [payload_of(item)["transactionId"] for item in await client.order(order_id)] == [key]
        assert await client.order("MNONE") == []

    live(check)


def test_notification_history_is_read_page_by_page_and_by_failure() -> None:
    async def check(it: Connected) -> None:
        for number in range(45):
            it.door_status = 503 if number % 2 else 200
            it.store.purchase("coins_100")
            await it.kernel.flush()
        client = client_of(it)
        every = [item async for item in client.notifications(PRODUCTION, START_MS, START_MS, only_failures=False)]
        failed = [item async for item in client.notifications(PRODUCTION, START_MS, START_MS, only_failures=True)]
        assert (len(every), len(failed)) == (45, 22)
        assert it.calls().count("/inApps/v1/notifications/history") == 5
        results = {attempt.send_attempt_result for item in failed for attempt in item.send_attempts}
        assert results == {"UNSUCCESSFUL_HTTP_RESPONSE_CODE"}
        assert [i async for i in client.notifications(SANDBOX, START_MS, START_MS, only_failures=False)] == []

    live(check)


def test_test_notification_and_its_fate() -> None:
    async def check(it: Connected) -> None:
        client = client_of(it)
        token = await client.request_test(SANDBOX)
        with pytest.raises(StoreError, match="4040008"):
            await client.test_attempts(SANDBOX, token)
        await it.kernel.flush()
        fate = await client.test_attempts(SANDBOX, token)
        assert [attempt.send_attempt_result for attempt in fate.send_attempts] == ["SUCCESS"]
        assert payload_of(fate.signed_payload)["notificationType"] == "TEST"
        it.store.notification_url = ""
        with pytest.raises(StoreError, match="no notification address"):
            await client.request_test(PRODUCTION)

    live(check)


def test_extension_moves_the_end() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("pro_monthly")
        client = client_of(it)
        answer = await client.extend(PRODUCTION, key, days=7, reason=1, request_id="r1")
        assert answer.success
        assert answer.effective_date == START_MS + MONTH_MS + 7 * DAY_MS
        with pytest.raises(StoreError, match="4000009"):
            await client.extend(PRODUCTION, key, days=91, reason=1, request_id="r2")
        with pytest.raises(PurchaseNotFound):
            await client.extend(PRODUCTION, "1", days=1, reason=1, request_id="r3")

    live(check)


def test_unknown_purchases() -> None:
    async def check(it: Connected) -> None:
        key = it.store.purchase("pro_monthly", environment=SANDBOX)
        client = client_of(it)
        assert len(await client.statuses(SANDBOX, key)) == 1
        with pytest.raises(UnknownTransaction):
            await client.statuses(PRODUCTION, key)
        for odd in ("abc", "1?status=1"):
            with pytest.raises(PurchaseNotFound, match="4000006"):
                await client.statuses(PRODUCTION, odd)

    live(check)


@pytest.mark.parametrize(
    "wrong", [{"iap_key_id": "OTHER"}, {"issuer_id": "other"}, {"bundle_id": "com.other.app"}, {"iap_key_id": ""}]
)
def test_credentials_that_apple_refuses(wrong: dict[str, Any]) -> None:
    async def check(it: Connected) -> None:
        with pytest.raises(CredentialError):
            await client_of(it, **wrong).statuses(PRODUCTION, "1")

    live(check)


def test_key_that_is_no_key_is_never_quoted() -> None:
    async def check(it: Connected) -> None:
        for text in ("not a key", "-----BEGIN PRIVATE KEY-----\nSECRETSECRET\n-----END PRIVATE KEY-----"):
            with pytest.raises(CredentialError) as caught:
                await client_of(it, Secrets(iap_key_p8=text)).statuses(PRODUCTION, "1")
            assert text not in str(caught.value)
            assert caught.value.__cause__ is None
        assert "SECRET" not in repr(Secrets(iap_key_p8="SECRET"))

    live(check)


def test_token_is_kept_for_minutes_not_made_for_each_call() -> None:
    async def check(it: Connected) -> None:
        client = client_of(it)
        assert client._bearer() == client._bearer()

    live(check)


def test_a_token_made_while_the_clock_was_ahead_is_not_used_once_it_was_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Apple refuses tokens from its future: receipts got 500 until the clock had come to that moment again."""
    ahead_s, real = 600.0, time.time
    monkeypatch.setattr("bellwire.stores.apple.client.time.time", lambda: real() + ahead_s)

    async def check(it: Connected) -> None:
        nonlocal ahead_s
        key = it.store.purchase("pro_monthly")
        client = client_of(it)
        with pytest.raises(CredentialError):
            await client.statuses(PRODUCTION, key)
        client._token = ("made by the clock that was ahead", real() + ahead_s)
        ahead_s = 0.0
        assert len(await client.statuses(PRODUCTION, key)) == 1

    live(check)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_trouble_at_apple_is_temporary(status: int) -> None:
    async def check(it: Connected) -> None:
        it.kernel.faults.add("/inApps/v1/subscriptions", status)
        with pytest.raises(StoreUnavailable, match=str(status)):
            await client_of(it).statuses(PRODUCTION, "1")

    live(check)


def test_retry_after_is_a_moment_in_unix_milliseconds() -> None:
    async def check(it: Connected) -> None:
        moment = time.time_ns() // 1_000_000 + 30_000
        it.kernel.faults.add("/inApps", 429, retry_after=moment)
        with pytest.raises(StoreUnavailable) as caught:
            await client_of(it).statuses(PRODUCTION, "1")
        assert caught.value.retry_after_ms is not None
        assert 20_000 < caught.value.retry_after_ms <= 30_000

    live(check)


def test_store_that_is_not_there() -> None:
    async def check(it: Connected) -> None:
        client = client_of(it, api_base_url_production="http://127.0.0.1:9")
        with pytest.raises(StoreUnavailable, match="could not be reached"):
            await client.statuses(PRODUCTION, "1")

    live(check)


def answered(status: int, body: bytes = b"", **headers: str) -> StoreError:
    return failure(Answer(status=status, body=body, headers=headers), now_ms=1_000_000)


@pytest.mark.parametrize("code", [4040002, 4040004, 4040006, 5000000, 5000001])
def test_codes_that_time_may_mend(code: int) -> None:
    assert isinstance(answered(code // 10_000, b'{"errorCode":%d}' % code), StoreUnavailable)


@pytest.mark.parametrize("code", [4000006, 4000008, 4040001, 4040005, 4040010])
def test_codes_of_purchases_that_never_were(code: int) -> None:
    assert isinstance(answered(code // 10_000, b'{"errorCode":%d}' % code), PurchaseNotFound)


def test_other_answers() -> None:
    assert isinstance(answered(404, b'{"errorCode":4040003}'), CredentialError)
    assert isinstance(answered(401, b"Unauthenticated\n"), CredentialError)
    assert type(answered(400, b'{"errorCode":4000021,"errorMessage":"Invalid sort."}')) is StoreError
    assert isinstance(answered(404, b"<html>nothing here</html>"), StoreUnavailable)
    assert isinstance(answered(302, b""), StoreUnavailable)
    assert isinstance(answered(200, b"{}", **{}), StoreUnavailable)
    lost = failure(Answer(error=TransportError.TIMEOUT, error_detail="x"), now_ms=0)
    assert isinstance(lost, StoreUnavailable)
    cut = failure(Answer(status=200, truncated=True), now_ms=0)
    assert isinstance(cut, StoreUnavailable)
    limited = answered(429, b'{"errorCode":4290000}', **{"retry-after": "1005000"})
    assert isinstance(limited, StoreUnavailable)
    assert limited.retry_after_ms == 5_000
    assert isinstance(passed := answered(429, b"", **{"retry-after": "1"}), StoreUnavailable)
    assert passed.retry_after_ms == 0
    assert isinstance(odd := answered(429, b"", **{"retry-after": "soon"}), StoreUnavailable)
    assert odd.retry_after_ms is None
