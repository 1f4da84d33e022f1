"""App Store Server API over the guarded client (spec: stores 2.4). Apple's library is not used here: it brings its own
network stack, loses the headers of errors, and knows error codes only behind an exact content type.
"""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote, urlencode

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm

from bellwire.kit.http import Answer
from bellwire.stores.apple.settings import Config, Secrets
from bellwire.stores.base import CredentialError, HTTPCaller, PurchaseNotFound, StoreError, StoreUnavailable

T = TypeVar("T")

PRODUCTION, SANDBOX = "Production", "Sandbox"
BASE_URLS = {
    PRODUCTION: "https://api.storekit.apple.com",
    SANDBOX: "https://api.storekit-sandbox.apple.com",
}
AUDIENCE = "appstoreconnect-v1"
TOKEN_LIFE_S = 300
MAX_RESPONSE_BYTES = 16 * 1024 * 1024
TIMEOUT_S = 30.0
MAX_PAGES = 500
"""Bound of any paged call: 10,000 transactions or notifications of one question."""

_RETRYABLE_CODES = frozenset({4040002, 4040004, 4040006, 4290000, 5000000, 5000001})
_UNKNOWN_PURCHASE_CODES = frozenset({4000006, 4000008, 4040001, 4040005, 4040010})
_TRANSACTION_UNKNOWN = 4040010
_APP_UNKNOWN = 4040003
_NO_NOTIFICATION_URL = 4040007


class UnknownTransaction(PurchaseNotFound):
    """Unknown in this environment; it may be one of the other (App Review and TestFlight buy in the sandbox)."""


class Status(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One entry of `lastTransactions`."""

    original_transaction_id: str | None = None
    status: int | None = None
    signed_transaction_info: str | None = None
    signed_renewal_info: str | None = None


class StatusGroup(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    last_transactions: list[Status] = []


class StatusResponse(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    data: list[StatusGroup] = []


class TransactionPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of transaction or refund history."""

    revision: str | None = None
    has_more: bool = False
    signed_transactions: list[str] = []


class TransactionInfoResponse(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    signed_transaction_info: str


class OrderLookupResponse(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    status: int
    """0 valid, 1 invalid."""
    signed_transactions: list[str] = []


class SendAttempt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    attempt_date: int | None = None
    send_attempt_result: str | None = None


class HistoryItem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A notification as Apple remembers it."""

    signed_payload: str
    send_attempts: list[SendAttempt] = []


class NotificationPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    notification_history: list[HistoryItem] = []
    has_more: bool = False
    pagination_token: str | None = None


class TestToken(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    test_notification_token: str


class ExtendResponse(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    original_transaction_id: str | None = None
    success: bool = False
    effective_date: int | None = None


class _ErrorBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    error_code: int | None = None
    error_message: str = ""


class AppleClient:
    """Calls for one app. `base_urls` maps "Production" and "Sandbox"; tokens are made from the app's key.

    Every method raises CredentialError, PurchaseNotFound, StoreUnavailable or, for what Apple calls a bad request,
    plain StoreError.
    """

    def __init__(
        self, caller: HTTPCaller, config: Config, secrets: Secrets, base_urls: Mapping[str, str] = BASE_URLS
    ) -> None:
        self._caller = caller
        self._config = config
        self._secrets = secrets
        self._base_urls = base_urls
        self._token: tuple[str, float] | None = None
        """The last one, and when it was made."""

    async def statuses(self, environment: str, transaction_id: str) -> list[Status]:
        """Every subscription of the customer that any of its transactions names, with its state."""
        body = await self._call(environment, "GET", f"/inApps/v1/subscriptions/{_segment(transaction_id)}")
        answer = _decode(body, StatusResponse)
        return [item for group in answer.data for item in group.last_transactions]

    async def history(
        self, environment: str, transaction_id: str, *, start_ms: int | None = None, product_types: Sequence[str] = ()
    ) -> list[str]:
        """Signed transactions of the customer, oldest first, finished consumables too; from `start_ms` on if given."""
        query: list[tuple[str, str]] = [("sort", "ASCENDING")]
        if start_ms is not None:
            query.append(("startDate", str(start_ms)))
        query += [("productType", name) for name in product_types]
        return await self._pages(environment, f"/inApps/v2/history/{_segment(transaction_id)}", query)

    async def refunds(self, environment: str, transaction_id: str) -> list[str]:
        """Signed transactions of the customer that were refunded."""
        return await self._pages(environment, f"/inApps/v2/refund/lookup/{_segment(transaction_id)}", [])

    async def transaction(self, environment: str, transaction_id: str) -> str:
        """One signed transaction."""
        body = await self._call(environment, "GET", f"/inApps/v1/transactions/{_segment(transaction_id)}")
        return _decode(body, TransactionInfoResponse).signed_transaction_info

    async def order(self, order_id: str) -> list[str]:
        """Signed transactions of an order id from a customer's receipt e-mail; empty when Apple calls it invalid.

        Apple offers this in production only.
        """
        body = await self._call(PRODUCTION, "GET", f"/inApps/v1/lookup/{_segment(order_id)}")
        answer = _decode(body, OrderLookupResponse)
        return answer.signed_transactions if answer.status == 0 else []

    async def notifications(
        self, environment: str, start_ms: int, end_ms: int, *, only_failures: bool
    ) -> AsyncIterator[HistoryItem]:
        """What Apple sent (or failed to send) between two dates, page by page."""
        question = msgspec.json.encode({"startDate": start_ms, "endDate": end_ms, "onlyFailures": only_failures})
        token: str | None = None
        for _ in range(MAX_PAGES):
            query = [] if token is None else [("paginationToken", token)]
            path = "/inApps/v1/notifications/history"
            page = _decode(await self._call(environment, "POST", path, query, question), NotificationPage)
            for item in page.notification_history:
                yield item
            if not page.has_more or page.pagination_token is None:
                return
            token = page.pagination_token
        raise StoreError(f"notification history did not end after {MAX_PAGES} pages: ask for a shorter time")

    async def request_test(self, environment: str) -> str:
        """Ask Apple for a TEST notification; returns the token that `test_attempts` wants."""
        body = await self._call(environment, "POST", "/inApps/v1/notifications/test")
        return _decode(body, TestToken).test_notification_token

    async def test_attempts(self, environment: str, token: str) -> HistoryItem:
        """How the sending of a TEST notification went."""
        body = await self._call(environment, "GET", f"/inApps/v1/notifications/test/{_segment(token)}")
        return _decode(body, HistoryItem)

    async def extend(
        self, environment: str, original_transaction_id: str, *, days: int, reason: int, request_id: str
    ) -> ExtendResponse:
        """Give a subscription more days (at most 90). `reason`: 0 undeclared, 1 satisfaction, 2 other, 3 outage."""
        path = f"/inApps/v1/subscriptions/extend/{_segment(original_transaction_id)}"
        question = {"extendByDays": days, "extendReasonCode": reason, "requestIdentifier": request_id}
        return _decode(await self._call(environment, "PUT", path, (), msgspec.json.encode(question)), ExtendResponse)

    async def _pages(self, environment: str, path: str, query: list[tuple[str, str]]) -> list[str]:
        found: list[str] = []
        revision: str | None = None
        for _ in range(MAX_PAGES):
            more = [] if revision is None else [("revision", revision)]
            page = _decode(await self._call(environment, "GET", path, [*query, *more]), TransactionPage)
            found += page.signed_transactions
            if not page.has_more or page.revision is None:
                return found
            revision = page.revision
        raise StoreError(f"transaction history did not end after {MAX_PAGES} pages")

    async def _call(
        self,
        environment: str,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> bytes:
        url = self._base_urls[environment].rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        headers = {"Authorization": f"Bearer {self._bearer()}", "Accept": "application/json"}
        if body:
            headers["Content-Type"] = "application/json"
        answer = await self._caller.request(
            method, url, headers=headers, body=body, timeout_s=TIMEOUT_S, max_response_bytes=MAX_RESPONSE_BYTES
        )
        if answer.status is not None and 200 <= answer.status < 300 and not answer.truncated:
            return answer.body
        if answer.status == 401:
            self._token = None
        raise failure(answer, now_ms=time.time_ns() // 1_000_000)

    def _bearer(self) -> str:
        """A token for five minutes, made anew after four. Real time: Apple compares it with its own clock.

        One from the future is made anew, too: the machine's clock was ahead when it was made, and has been set back.
        """
        now = time.time()
        if self._token is not None and 0 <= now - self._token[1] < TOKEN_LIFE_S - 60:
            return self._token[0]
        config = self._config
        if not (self._secrets.iap_key_p8 and config.iap_key_id and config.issuer_id):
            raise CredentialError("no In-App Purchase key: enter key, key ID and issuer ID in the app's settings")
        claims = {
            "iss": config.issuer_id,
            "iat": int(now),
            "exp": int(now) + TOKEN_LIFE_S,
            "aud": AUDIENCE,
            "bid": config.bundle_id,
        }
        try:
            token = jwt.encode(claims, self._secrets.iap_key_p8, "ES256", headers={"kid": config.iap_key_id})
        except (ValueError, TypeError, UnsupportedAlgorithm, jwt.PyJWTError):
            # `from None`: the library's message may quote the key.
            raise CredentialError("the In-App Purchase key is not the content of a .p8 file from Apple") from None
        self._token = (token, now)
        return token


def failure(answer: Answer, *, now_ms: int) -> StoreError:
    """What an answer without a result means. Apple's `Retry-After` is a moment in Unix milliseconds, not seconds."""
    if answer.error is not None or answer.status is None:
        return StoreUnavailable(f"the App Store could not be reached: {answer.error} {answer.error_detail}".rstrip())
    if answer.truncated:
        return StoreUnavailable("the App Store's answer was larger than the hub reads")
    if answer.status == 401:
        return CredentialError(
            "Apple refuses the In-App Purchase key: revoked, or key ID, issuer ID or bundle ID wrong"
        )
    code, message = _error_of(answer)
    if answer.status == 429 or code == 4290000:
        return StoreUnavailable("Apple asks to slow down", retry_after_ms=_retry_after(answer, now_ms))
    if answer.status >= 500 or code in _RETRYABLE_CODES:
        return StoreUnavailable(f"the App Store answered {answer.status} {message}".rstrip())
    if code in _UNKNOWN_PURCHASE_CODES:
        kind = UnknownTransaction if code == _TRANSACTION_UNKNOWN else PurchaseNotFound
        return kind(f"the App Store does not know this purchase ({code})")
    if code == _APP_UNKNOWN:
        return CredentialError("Apple does not know the app: check the bundle ID")
    if code == _NO_NOTIFICATION_URL:
        return StoreError("no notification address is entered in App Store Connect for this environment")
    if code is None:
        # Not Apple's own error: something in between, which may pass.
        return StoreUnavailable(f"unexpected answer {answer.status} in place of the App Store's")
    return StoreError(f"the App Store refused the question: {code} {message}".rstrip())


def _error_of(answer: Answer) -> tuple[int | None, str]:
    try:
        body = msgspec.json.decode(answer.body, type=_ErrorBody)
    except msgspec.DecodeError:
        return None, ""
    return body.error_code, body.error_message[:200]


def _retry_after(answer: Answer, now_ms: int) -> int | None:
    text = answer.headers.get("retry-after", "")
    if not text.isdecimal():
        return None
    return max(0, int(text) - now_ms)


def _segment(text: str) -> str:
    return quote(text, safe="")


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise StoreUnavailable(f"the App Store's answer could not be read: {error}") from error
