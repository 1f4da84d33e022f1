"""What the fake answers, and what the adapter asks, against Google's own description of the API."""

import asyncio
import json
from typing import Any

import google.auth.credentials
import pytest
from google.oauth2 import service_account
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from bellwire.simulator.google import SCENARIOS
from bellwire.simulator.google.identity import SCOPE
from bellwire.stores.base import PostedReceipt, StoreError
from tests.support.discovery import check, check_request, check_response, method_of
from tests.support.play import DAY_MS, PlayBench, on_bench

API = "/androidpublisher/v3/"


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_call_and_answer_of_a_story_is_googles(name: str) -> None:
    story = SCENARIOS[name]

    async def tell(bench: PlayBench) -> int:
        app = bench.app()
        for advance_ms, act in story.steps(bench.play):
            await bench.advance(advance_ms / DAY_MS)
            act()
            await bench.kernel.flush()
            for token in (*bench.play.subscriptions, *bench.play.one_time):
                for snapshot in await bench.adapter.pull(app, token, known=None, hints={}):
                    await bench.adapter.finish(app, snapshot)
        now_ms = bench.clock.now_ms()
        async for _ in bench.adapter.recover(app, now_ms - DAY_MS, now_ms):
            pass
        return _check_calls(bench)

    assert on_bench(tell) >= 3


def test_a_posted_receipt_asks_as_a_subscription_then_as_a_product() -> None:
    async def tell(bench: PlayBench) -> list[str]:
        token = bench.play.buy("coins_100")
        posted = PostedReceipt(fetch_token=token, product_ids=("coins_100",))
        await bench.adapter.verify_receipt(bench.app(), posted)
        _check_calls(bench)
        return bench.recorder.paths()

    asked = on_bench(tell)
    assert [path.split("/tokens/")[0] for path in asked[:2]] == [
        "GET purchases/subscriptionsv2",
        "GET purchases/productsv2",
    ]


def test_odd_tokens_stay_inside_their_segment() -> None:
    async def tell(bench: PlayBench) -> None:
        for token in ("../../orders/GPA.1", "a/b?c=d#e", "%2e%2e", "tokén"):
            with pytest.raises(StoreError):
                await bench.adapter.pull(bench.app(), token, known=None, hints={"kind": "subscription"})
        for method, url, _, _ in bench.recorder.calls:
            if API in url:
                assert method_of(method, url)["id"] == "androidpublisher.purchases.subscriptionsv2.get"

    on_bench(tell)


def _check_calls(bench: PlayBench) -> int:
    checked = 0
    for method, url, body, answer in bench.recorder.calls:
        if API in url:
            described = method_of(method, url)
            check_request(described, body)
            if answer.status is not None and answer.status < 300:
                check_response(described, answer.status, answer.body)
                checked += 1
    return checked


class Official:
    """Google's own client, pointed at the fake. It blocks: call it on a thread."""

    def __init__(self, bench: PlayBench) -> None:
        info = bench.play.credentials()["secrets"]["service_account_json"]

        credentials: google.auth.credentials.Credentials = service_account.Credentials.from_service_account_info(
            json.loads(str(info)), scopes=[SCOPE]
        )
        self.api: Any = build(
            "androidpublisher",
            "v3",
            credentials=credentials,
            static_discovery=True,
            cache_discovery=False,
            client_options={"api_endpoint": bench.play.base_url},
        )
        self.package = bench.play.package_name


def test_googles_own_client_can_work_with_the_fake() -> None:
    async def tell(bench: PlayBench) -> None:
        play = bench.play
        monthly = play.purchase("pro:monthly", account_id="abc")
        coins = play.buy("coins_100", quantity=2)
        coins_order = play.one_time[coins].order_id
        assert coins_order is not None
        official = Official(bench)
        try:
            await asyncio.to_thread(_drive, official, monthly, coins, coins_order)
        finally:
            official.api.close()
        assert play.subscriptions[monthly].state == "EXPIRED"
        assert play.one_time[coins].consumed

    on_bench(tell)


def _drive(official: Official, monthly: str, coins: str, coins_order: str) -> None:
    package, purchases = official.package, official.api.purchases()
    subscriptions = purchases.subscriptionsv2()
    got = subscriptions.get(packageName=package, token=monthly).execute()
    check("SubscriptionPurchaseV2", got)
    order_id = got["lineItems"][0]["latestSuccessfulOrderId"]

    purchases.subscriptions().acknowledge(
        packageName=package, subscriptionId="pro", token=monthly, body={"developerPayload": ""}
    ).execute()
    got = subscriptions.get(packageName=package, token=monthly).execute()
    assert got["acknowledgementState"] == "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"

    context = {"deferDuration": "864000s", "etag": got["etag"]}
    dry = subscriptions.defer(
        packageName=package, token=monthly, body={"deferralContext": {**context, "validateOnly": True}}
    ).execute()
    check("DeferSubscriptionPurchaseResponse", dry)
    done = subscriptions.defer(packageName=package, token=monthly, body={"deferralContext": context}).execute()
    assert done == dry
    with pytest.raises(HttpError) as conflict:
        subscriptions.defer(packageName=package, token=monthly, body={"deferralContext": context}).execute()
    assert conflict.value.status_code == 409

    cancellation = {"cancellationContext": {"cancellationType": "USER_REQUESTED_STOP_RENEWALS"}}
    check(
        "CancelSubscriptionPurchaseResponse",
        subscriptions.cancel(packageName=package, token=monthly, body=cancellation).execute(),
    )
    subscriptions.revoke(
        packageName=package, token=monthly, body={"revocationContext": {"proratedRefund": {}}}
    ).execute()

    check("Order", official.api.orders().get(packageName=package, orderId=order_id).execute())
    both = official.api.orders().batchget(packageName=package, orderIds=[order_id, coins_order]).execute()
    check("BatchGetOrdersResponse", both)
    with pytest.raises(HttpError) as missing:
        official.api.orders().batchget(packageName=package, orderIds=[order_id, "GPA.none"]).execute()
    assert missing.value.status_code == 404

    check(
        "ProductPurchase", purchases.products().get(packageName=package, productId="coins_100", token=coins).execute()
    )
    purchases.products().consume(packageName=package, productId="coins_100", token=coins).execute()
    check("ProductPurchaseV2", purchases.productsv2().getproductpurchasev2(packageName=package, token=coins).execute())
    official.api.orders().refund(packageName=package, orderId=coins_order, revoke=True).execute()

    first = purchases.voidedpurchases().list(packageName=package, type=1, maxResults=1).execute()
    check("VoidedPurchasesListResponse", first)
    page_token = first["tokenPagination"]["nextPageToken"]
    second = purchases.voidedpurchases().list(packageName=package, type=1, maxResults=1, token=page_token).execute()
    check("VoidedPurchasesListResponse", second)
    assert {first["voidedPurchases"][0]["orderId"], second["voidedPurchases"][0]["orderId"]} == {order_id, coins_order}

    catalogue = official.api.monetization()
    check("ListSubscriptionsResponse", catalogue.subscriptions().list(packageName=package).execute())
    check("Subscription", catalogue.subscriptions().get(packageName=package, productId="pro").execute())
    offers = catalogue.subscriptions().basePlans().offers()
    check(
        "ListSubscriptionOffersResponse",
        offers.list(packageName=package, productId="pro", basePlanId="monthly").execute(),
    )
    check("ListOneTimeProductsResponse", catalogue.onetimeproducts().list(packageName=package).execute())
    check("OneTimeProduct", catalogue.onetimeproducts().get(packageName=package, productId="lifetime").execute())
