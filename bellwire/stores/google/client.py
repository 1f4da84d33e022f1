"""The calls of the Google Play Developer API that the adapter makes, and what their errors mean (spec: stores 3.3)."""

from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from bellwire.stores.base import (
    CredentialError,
    HTTPCaller,
    PurchaseGone,
    PurchaseNotFound,
    StoreError,
    StoreUnavailable,
)
from bellwire.stores.google.settings import Access
from bellwire.stores.google.times import StatementTimes
from bellwire.stores.google.token import AccessTokens
from bellwire.stores.google.wire import (
    BatchGetOrders,
    CatalogueSubscription,
    Order,
    ProductPurchase,
    SubscriptionPurchase,
    VoidedPurchases,
)

if TYPE_CHECKING:
    from bellwire.kit.http import Answer

MAX_ANSWER_BYTES = 16 * 1024 * 1024
VOIDED_PAGE_SIZE = 1000
MAX_BATCH_ORDERS = 1000
QUOTA_REASONS = frozenset(
    {"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded", "RESOURCE_EXHAUSTED"}
)
"""Reasons that make a 403 a matter of time and not of permissions."""

WRONG_PACKAGE = "applicationNotFound"
"""Reason of a 404 that is about the app's settings, not about the purchase: no purchase may be dropped for it."""

T = TypeVar("T")


class _ErrorItem(msgspec.Struct, frozen=True):
    reason: str = ""


class _ErrorDetail(msgspec.Struct, frozen=True):
    message: str = ""
    status: str = ""
    errors: tuple[_ErrorItem, ...] = ()

    @property
    def reasons(self) -> frozenset[str]:
        return frozenset({self.status, *(item.reason for item in self.errors)})


class _ErrorBody(msgspec.Struct, frozen=True):
    error: _ErrorDetail = _ErrorDetail()


class Told(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What the store says of a purchase, in its own words too, and when it said so."""

    value: T
    raw: str
    as_of_ms: int


class PlayClient:
    """The API for all apps. Every call raises StoreError's subclasses and nothing else."""

    def __init__(self, http: HTTPCaller) -> None:
        self._http = http
        self._tokens = AccessTokens(http)
        self._times = StatementTimes()

    async def subscription(self, access: Access, token: str) -> Told[SubscriptionPurchase]:
        """purchases.subscriptionsv2.get."""
        return await self._told(access, f"purchases/subscriptionsv2/tokens/{_segment(token)}", SubscriptionPurchase)

    async def product(self, access: Access, token: str) -> Told[ProductPurchase]:
        """purchases.productsv2.getproductpurchasev2."""
        return await self._told(access, f"purchases/productsv2/tokens/{_segment(token)}", ProductPurchase)

    async def acknowledge_subscription(self, access: Access, product_id: str, token: str) -> None:
        path = f"purchases/subscriptions/{_segment(product_id)}/tokens/{_segment(token)}:acknowledge"
        await self._call(access, "POST", path, json_body=b"{}")

    async def acknowledge_product(self, access: Access, product_id: str, token: str) -> None:
        path = f"purchases/products/{_segment(product_id)}/tokens/{_segment(token)}:acknowledge"
        await self._call(access, "POST", path, json_body=b"{}")

    async def consume_product(self, access: Access, product_id: str, token: str) -> None:
        await self._call(access, "POST", f"purchases/products/{_segment(product_id)}/tokens/{_segment(token)}:consume")

    async def order(self, access: Access, order_id: str) -> Order:
        return _decode((await self._call(access, "GET", f"orders/{_segment(order_id)}")).body, Order)

    async def orders(self, access: Access, order_ids: tuple[str, ...]) -> tuple[Order, ...]:
        """orders.batchGet: all of them, or PurchaseNotFound when one is missing. At most `MAX_BATCH_ORDERS`."""
        query = [("orderIds", order_id) for order_id in order_ids]
        return _decode((await self._call(access, "GET", "orders:batchGet", query)).body, BatchGetOrders).orders

    async def voided_page(self, access: Access, *, start_ms: int, page_token: str | None) -> VoidedPurchases:
        """One page of voidedpurchases.list, subscriptions and partial refunds included."""
        query = [
            ("type", "1"),
            ("startTime", str(start_ms)),
            ("maxResults", str(VOIDED_PAGE_SIZE)),
            ("includeQuantityBasedPartialRefund", "true"),
        ]
        if page_token is not None:
            query.append(("token", page_token))
        return _decode((await self._call(access, "GET", "purchases/voidedpurchases", query)).body, VoidedPurchases)

    async def catalogue_subscription(self, access: Access, product_id: str) -> CatalogueSubscription:
        """monetization.subscriptions.get."""
        answer = await self._call(access, "GET", f"subscriptions/{_segment(product_id)}")
        return _decode(answer.body, CatalogueSubscription)

    async def _told(self, access: Access, path: str, kind: type[T]) -> Told[T]:
        answer = await self._call(access, "GET", path)
        as_of_ms = self._times.of(answer.headers.get("date", ""))
        return Told(value=_decode(answer.body, kind), raw=answer.body.decode(), as_of_ms=as_of_ms)

    async def _call(
        self,
        access: Access,
        method: str,
        path: str,
        query: list[tuple[str, str]] | None = None,
        json_body: bytes | None = None,
    ) -> "Answer":
        url = f"{access.api_endpoint}/androidpublisher/v3/applications/{_segment(access.package_name)}/{path}"
        if query:
            url = f"{url}?{urlencode(query)}"
        token = await self._tokens.get(access)
        answer = await self._send(method, url, token, json_body)
        if answer.status == 401:  # a cached token may have been revoked: once more with a fresh one
            self._tokens.forget(access, token)
            answer = await self._send(method, url, await self._tokens.get(access), json_body)
        if answer.error is None and answer.status is not None and 200 <= answer.status < 300:
            return answer
        raise _error(answer)

    async def _send(self, method: str, url: str, token: str, json_body: bytes | None) -> "Answer":
        headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
        if json_body is not None:
            headers["content-type"] = "application/json"
        return await self._http.request(
            method, url, headers=headers, body=json_body or b"", timeout_s=30.0, max_response_bytes=MAX_ANSWER_BYTES
        )


def _segment(text: str) -> str:
    """One path segment: what was posted as a token may hold anything, and must not reach another resource."""
    if not text.strip("."):
        raise PurchaseNotFound("this is no purchase token")
    return quote(text, safe="")


def _decode(body: bytes, kind: type[T]) -> T:
    """Raises StoreUnavailable: half an answer, or one in a new form, is no statement about a purchase."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise StoreUnavailable(f"Google's answer cannot be read: {error}") from error


def _error(answer: "Answer") -> StoreError:
    retry_after_ms = None if answer.retry_after_s is None else int(answer.retry_after_s * 1000)
    if answer.status is None or answer.error is not None:
        return StoreUnavailable(f"Google Play did not answer: {answer.error}: {answer.error_detail}")
    try:
        detail = msgspec.json.decode(answer.body, type=_ErrorBody).error
    except msgspec.DecodeError:
        detail = _ErrorDetail()
    message = f"Google Play answered {answer.status}: {detail.message or 'without a reason'}"
    match answer.status:
        case 404 if WRONG_PACKAGE in detail.reasons:
            return CredentialError(f"{message} Check the package name of this app.")
        case 400 | 404:
            return PurchaseNotFound(message)
        case 410:
            return PurchaseGone(message)
        case 401 | 403 if not detail.reasons & QUOTA_REASONS:
            return CredentialError(message)
        case _:
            return StoreUnavailable(message, retry_after_ms=retry_after_ms)
