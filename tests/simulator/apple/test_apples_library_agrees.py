"""Nobody on this project wrote Apple's library: it must verify and understand all that the fake says, in strict mode."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from appstoreserverlibrary.api_client import (
    APIError,
    APIException,
    AppStoreServerAPIClient,
    GetTransactionHistoryVersion,
)
from appstoreserverlibrary.models.ConsumptionRequest import ConsumptionRequest
from appstoreserverlibrary.models.DeliveryStatus import DeliveryStatus
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.models.ExtendReasonCode import ExtendReasonCode
from appstoreserverlibrary.models.ExtendRenewalDateRequest import ExtendRenewalDateRequest
from appstoreserverlibrary.models.MassExtendRenewalDateRequest import MassExtendRenewalDateRequest
from appstoreserverlibrary.models.NotificationHistoryRequest import NotificationHistoryRequest
from appstoreserverlibrary.models.NotificationTypeV2 import NotificationTypeV2
from appstoreserverlibrary.models.OrderLookupStatus import OrderLookupStatus
from appstoreserverlibrary.models.SendAttemptResult import SendAttemptResult
from appstoreserverlibrary.models.Status import Status
from appstoreserverlibrary.models.Subtype import Subtype
from appstoreserverlibrary.models.TransactionHistoryRequest import Order, ProductType, TransactionHistoryRequest
from appstoreserverlibrary.models.UpdateAppAccountTokenRequest import UpdateAppAccountTokenRequest
from appstoreserverlibrary.receipt_utility import ReceiptUtility
from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier
from starlette.applications import Starlette

from bellwire.kit.clock import ManualClock
from bellwire.simulator.apple import SCENARIOS, FakeAppStore
from bellwire.simulator.apple.certificates import p8
from bellwire.simulator.kernel import Kernel
from bellwire.simulator.notifier import Mode
from tests.support.threaded import serving

START_MS = 1_768_435_200_000  # 2026-01-15
DAY_MS = 86_400_000
BUNDLE_ID = "com.example.app"


def make_store() -> FakeAppStore:
    """A fake whose notifications are lost on the way: they are looked at where they were made."""
    kernel = Kernel(ManualClock(START_MS))
    kernel.notifier.set_mode(Mode.DROP)
    store = FakeAppStore(kernel, bundle_id=BUNDLE_ID, app_apple_id=42)
    store.notification_url = "http://127.0.0.1:1/"
    return store


def verifier_of(store: FakeAppStore, environment: str) -> SignedDataVerifier:
    root = base64.b64decode(store.authority.root_base64)
    return SignedDataVerifier([root], False, Environment(environment), BUNDLE_ID, 42)


def play(store: FakeAppStore, name: str) -> None:
    for wait_ms, act in SCENARIOS[name].steps(store):
        store.kernel.clock.advance_ms(wait_ms)
        store.kernel.catch_up()
        act()
        store.kernel.notifier.set_mode(Mode.DROP)


def understood(decoded: Any, raw: dict[str, Any]) -> None:
    """Nothing the library does not know: neither fields, nor values of closed lists."""
    names = {field.name for field in type(decoded).__attrs_attrs__}
    assert raw.keys() <= names, raw.keys() - names
    for name in raw:
        if f"raw{name[0].upper()}{name[1:]}" in names:
            assert getattr(decoded, name) is not None, (name, raw[name])


def content(jws: str) -> dict[str, Any]:
    return jwt.decode(jws, options={"verify_signature": False})


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_every_notification_of_every_story(name: str) -> None:
    store = make_store()
    play(store, name)
    assert store.mailer.memory
    for item in store.mailer.memory:
        verifier = verifier_of(store, item.environment)
        decoded = verifier.verify_and_decode_notification(item.signed_payload)
        raw = content(item.signed_payload)
        understood(decoded, raw)
        assert decoded.data is not None
        understood(decoded.data, raw["data"])
        transaction = verifier.verify_and_decode_signed_transaction(raw["data"]["signedTransactionInfo"])
        understood(transaction, content(raw["data"]["signedTransactionInfo"]))
        if "signedRenewalInfo" in raw["data"]:
            renewal = verifier.verify_and_decode_renewal_info(raw["data"]["signedRenewalInfo"])
            understood(renewal, content(raw["data"]["signedRenewalInfo"]))


def test_the_stories_say_most_of_what_apple_can_say() -> None:
    types: set[str] = set()
    subtypes: set[str | None] = set()
    for name in SCENARIOS:
        store = make_store()
        play(store, name)
        types |= {item.type for item in store.mailer.memory}
        subtypes |= {item.subtype for item in store.mailer.memory}
    unsaid = {
        "CONSUMPTION_REQUEST",
        "EXTERNAL_PURCHASE_TOKEN",
        "METADATA_UPDATE",
        "MIGRATION",
        "PRICE_CHANGE",
        "REFUND_DECLINED",
        "RENEWAL_EXTENSION",
        "RESCIND_CONSENT",
        "TEST",
    }
    assert {item.value for item in NotificationTypeV2} - types == unsaid
    assert {item.value for item in Subtype} - subtypes <= {
        "SUMMARY",
        "FAILURE",
        "UNREPORTED",
        "CREATED",
        "ACTIVE_TOKEN_REMINDER",
    }


def test_other_notifications() -> None:
    store = make_store()
    key = store.purchase("pro_monthly")
    store.request_refund(key)
    store.decline_refund(key)
    store.send_test()
    store.mailer.summary("Production", "pro_monthly", "r1", 1)
    verifier = verifier_of(store, "Production")
    decoded = [verifier.verify_and_decode_notification(item.signed_payload) for item in store.mailer.memory]
    assert [item.rawNotificationType for item in decoded] == [
        "SUBSCRIBED",
        "CONSUMPTION_REQUEST",
        "REFUND_DECLINED",
        "TEST",
        "RENEWAL_EXTENSION",
    ]
    assert decoded[-1].summary is not None
    assert decoded[-1].summary.succeededCount == 1


def test_app_receipt_leads_to_a_transaction() -> None:
    store = make_store()
    key = store.purchase("pro_monthly")
    assert ReceiptUtility().extract_transaction_id_from_app_receipt(store.app_receipt(key)) == key


class PointedClient(AppStoreServerAPIClient):
    """Apple's client, talking to the fake."""

    def __init__(self, store: FakeAppStore, base_url: str, **changes: str) -> None:
        settings = {"key_id": store.key_id, "issuer_id": store.issuer_id, "bundle_id": store.bundle_id, **changes}
        super().__init__(p8(store.api_key).encode(), environment=Environment.PRODUCTION, **settings)
        self._base_url = base_url


@pytest.fixture
def store() -> FakeAppStore:
    return make_store()


@pytest.fixture
def client(store: FakeAppStore) -> Iterator[PointedClient]:
    with serving(Starlette(routes=store.routes())) as port:
        yield PointedClient(store, f"http://127.0.0.1:{port}/apple/production")


def refused_with(code: APIError, call: Any, *arguments: Any) -> None:
    with pytest.raises(APIException) as caught:
        call(*arguments)
    assert caught.value.api_error is code


def test_statuses(store: FakeAppStore, client: PointedClient) -> None:
    key = store.purchase("pro_monthly")
    answer = client.get_all_subscription_statuses(key)
    assert (answer.bundleId, answer.appAppleId, answer.environment) == (BUNDLE_ID, 42, Environment.PRODUCTION)
    states = [state for group in answer.data or () for state in group.lastTransactions or ()]
    assert [state.status for state in states] == [Status.ACTIVE]
    assert client.get_all_subscription_statuses(key, [Status.EXPIRED]).data == []
    refused_with(APIError.TRANSACTION_ID_NOT_FOUND, client.get_all_subscription_statuses, "1")
    refused_with(APIError.INVALID_TRANSACTION_ID, client.get_all_subscription_statuses, "abc")


def test_history_pages_and_filters(store: FakeAppStore, client: PointedClient) -> None:
    key = store.purchase("pro_monthly", account="a")
    store.kernel.clock.advance_ms(760 * DAY_MS)
    store.purchase("coins_100", account="a")
    v2 = GetTransactionHistoryVersion.V2
    first = client.get_transaction_history(key, None, TransactionHistoryRequest(), v2)
    assert first.hasMore is True
    assert len(first.signedTransactions or ()) == 20
    second = client.get_transaction_history(key, first.revision, TransactionHistoryRequest(), v2)
    assert second.hasMore is False
    assert len(second.signedTransactions or ()) == 6
    newest = TransactionHistoryRequest(sort=Order.DESCENDING, productTypes=[ProductType.AUTO_RENEWABLE])
    found = client.get_transaction_history(key, None, newest, v2).signedTransactions or []
    assert content(found[0])["transactionId"] == store.subscriptions[key].latest.id
    filtered = TransactionHistoryRequest(productIds=["coins_100"], revoked=False)
    assert len(client.get_transaction_history(key, None, filtered, v2).signedTransactions or ()) == 1
    refused_with(
        APIError.INVALID_REQUEST_REVISION,
        client.get_transaction_history,
        key,
        "bogus",
        TransactionHistoryRequest(),
        v2,
    )


def test_single_transactions_orders_and_refunds(store: FakeAppStore, client: PointedClient) -> None:
    key = store.purchase("coins_100")
    assert content(client.get_transaction_info(key).signedTransactionInfo or "")["productId"] == "coins_100"
    assert client.look_up_order_id(store.one_time[key].order_id).status is OrderLookupStatus.VALID
    assert client.look_up_order_id("M0").status is OrderLookupStatus.INVALID
    assert client.get_refund_history(key, None).signedTransactions == []
    store.refund(key)
    assert len(client.get_refund_history(key, None).signedTransactions or ()) == 1
    token = "7e3fb20b-4cdb-47cc-936d-99d65f608138"
    client.set_app_account_token(key, UpdateAppAccountTokenRequest(appAccountToken=token))
    assert store.one_time[key].app_account_token == token
    request = ConsumptionRequest(
        customerConsented=True, sampleContentProvided=False, deliveryStatus=DeliveryStatus.DELIVERED
    )
    client.send_consumption_information(key, request)
    assert store.consumption[0]["transactionId"] == key
    assert client.get_app_transaction_info(key).signedAppTransactionInfo


def test_notification_history_and_test(store: FakeAppStore, client: PointedClient) -> None:
    for _ in range(23):
        store.purchase("coins_100")
    everything = NotificationHistoryRequest(startDate=START_MS, endDate=START_MS + 1, onlyFailures=True)
    first = client.get_notification_history(None, everything)
    second = client.get_notification_history(first.paginationToken, everything)
    assert [len(page.notificationHistory or ()) for page in (first, second)] == [20, 3]
    assert (first.hasMore, second.hasMore) == (True, False)
    attempts = (first.notificationHistory or [])[0].sendAttempts or []
    assert [attempt.sendAttemptResult for attempt in attempts] == [SendAttemptResult.NO_RESPONSE]
    refused_with(APIError.INVALID_PAGINATION_TOKEN, client.get_notification_history, "bogus", everything)
    wrong = NotificationHistoryRequest(startDate=2, endDate=1)
    refused_with(APIError.START_DATE_AFTER_END_DATE, client.get_notification_history, None, wrong)
    token = client.request_test_notification().testNotificationToken or ""
    assert client.get_test_notification_status(token).signedPayload
    refused_with(APIError.TEST_NOTIFICATION_NOT_FOUND, client.get_test_notification_status, "none_0")
    store.notification_url = ""
    refused_with(APIError.SERVER_NOTIFICATION_URL_NOT_FOUND, client.request_test_notification)


def test_extensions(store: FakeAppStore, client: PointedClient) -> None:
    key, other = store.purchase("pro_monthly"), store.purchase("pro_monthly")
    reason = ExtendReasonCode.SERVICE_ISSUE_OR_OUTAGE
    request = ExtendRenewalDateRequest(extendByDays=5, extendReasonCode=reason, requestIdentifier="r1")
    answer = client.extend_subscription_renewal_date(key, request)
    assert answer.success is True
    assert answer.effectiveDate == store.subscriptions[key].latest.expires_ms
    store.refund(other)
    refused_with(APIError.SUBSCRIPTION_EXTENSION_INELIGIBLE, client.extend_subscription_renewal_date, other, request)
    mass = MassExtendRenewalDateRequest(
        extendByDays=5, extendReasonCode=reason, requestIdentifier="r2", productId="pro_monthly"
    )
    assert client.extend_renewal_date_for_all_active_subscribers(mass).requestIdentifier == "r2"
    status = client.get_status_of_subscription_renewal_date_extensions("r2", "pro_monthly")
    assert (status.complete, status.succeededCount) == (True, 1)
    refused_with(
        APIError.STATUS_REQUEST_NOT_FOUND,
        client.get_status_of_subscription_renewal_date_extensions,
        "r3",
        "pro_monthly",
    )


def test_planned_faults_are_apples_errors(store: FakeAppStore, client: PointedClient) -> None:
    store.kernel.faults.add("/inApps/v1/subscriptions", 429)
    store.kernel.faults.add("/inApps/v1/subscriptions", 503, times=2)
    refused_with(APIError.RATE_LIMIT_EXCEEDED, client.get_all_subscription_statuses, "1")
    for _ in range(2):
        refused_with(APIError.GENERAL_INTERNAL_RETRYABLE, client.get_all_subscription_statuses, "1")
    refused_with(APIError.TRANSACTION_ID_NOT_FOUND, client.get_all_subscription_statuses, "1")


@pytest.mark.parametrize("wrong", [{"key_id": "OTHER"}, {"issuer_id": "other"}, {"bundle_id": "com.other.app"}])
def test_tokens_of_others_are_refused(store: FakeAppStore, client: PointedClient, wrong: dict[str, str]) -> None:
    stranger = PointedClient(store, client._base_url, **wrong)
    with pytest.raises(APIException) as caught:
        stranger.get_all_subscription_statuses("1")
    assert caught.value.http_status_code == 401


def test_error_bodies_come_with_the_bare_content_type(store: FakeAppStore, client: PointedClient) -> None:
    from tests.support.threaded import ask

    port = int(client._base_url.split(":")[2].split("/")[0])
    headers = {"Authorization": f"Bearer {client._generate_token()}"}
    answer = ask(port, "GET", "/apple/production/inApps/v1/subscriptions/1", headers=headers)
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body)["errorCode"] == 4040010
