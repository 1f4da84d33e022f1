"""App Store Server API of the fake, in both environments, with Apple's error bodies (spec: stores 2.4)."""

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from bellwire.simulator.apple import bearer
from bellwire.simulator.apple.catalogue import Kind
from bellwire.simulator.apple.records import ACTIVE, PRODUCTION, SANDBOX, Account, Remembered, Subscription, Transaction

if TYPE_CHECKING:
    from bellwire.simulator.apple.store import FakeAppStore

PAGE = 20
MAX_EXTEND_DAYS = 90

_MESSAGES = {
    4000000: "Bad request.",
    4000005: "Invalid request revision.",
    4000006: "Invalid transaction id.",
    4000009: "Invalid extend by days value.",
    4000010: "Invalid extend reason code.",
    4000011: "Invalid request identifier.",
    4000013: "Invalid request. The end date precedes the start date.",
    4000014: "Invalid request. The pagination token is invalid.",
    4000015: "Invalid request. The start date is not valid.",
    4000019: "Invalid request. Supply either a transaction id or a notification type, but not both.",
    4000021: "Invalid request. The sort parameter is invalid.",
    4000022: "Invalid request. The product type parameter is invalid.",
    4030004: "Forbidden - subscription state ineligible for extension.",
    4030007: "Subscriptions that users obtain through Family Sharing can't get a renewal date extension directly.",
    4040005: "Original transaction id not found.",
    4040007: "Server notification URL not found for provided app.",
    4040008: "Either the test notification token is expired or the notification and status are not yet available.",
    4040009: "The server didn't find a subscription-renewal-date extension request.",
    4040010: "Transaction id not found.",
    4290000: "Rate limit exceeded.",
    5000000: "An unknown error occurred.",
    5000001: "An unknown error occurred. Please try again.",
}

_PRODUCT_TYPES = {
    "AUTO_RENEWABLE": Kind.SUBSCRIPTION,
    "NON_RENEWABLE": Kind.NON_RENEWING,
    "CONSUMABLE": Kind.CONSUMABLE,
    "NON_CONSUMABLE": Kind.NON_CONSUMABLE,
}


class AppleError(Exception):
    """One of Apple's error answers."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


Handler = Callable[["Call"], Awaitable[Response]]


class Call:
    """One authenticated request in one environment."""

    def __init__(self, store: "FakeAppStore", environment: str, request: Request) -> None:
        self.store = store
        self.environment = environment
        self.request = request
        self.query = request.query_params

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    def account(self, name: str = "transaction_id") -> Account:
        """The buyer that the transaction id of the path names."""
        transaction_id = self.path(name)
        if not transaction_id.isdecimal():
            raise AppleError(4000006)
        found = self.store.owner_of(transaction_id, self.environment)
        if found is None:
            raise AppleError(4040010)
        return found

    def signed(self, transaction: Transaction) -> str:
        return self.store.mailer.signed_transaction(transaction)

    async def body(self) -> dict[str, object]:
        try:
            return msgspec.json.decode(await self.request.body(), type=dict[str, object])
        except msgspec.DecodeError as error:
            raise AppleError(4000000) from error


def routes(store: "FakeAppStore") -> list[BaseRoute]:
    """Both environments, below `/apple/production` and `/apple/sandbox`."""
    return [
        Mount(f"/apple/{environment.lower()}", routes=_routes(store, environment))
        for environment in (PRODUCTION, SANDBOX)
    ]


def _routes(store: "FakeAppStore", environment: str) -> list[BaseRoute]:
    table: tuple[tuple[str, str, Handler], ...] = (
        ("GET", "/inApps/v1/subscriptions/{transaction_id}", statuses),
        ("GET", "/inApps/v2/history/{transaction_id}", history),
        ("GET", "/inApps/v1/transactions/{transaction_id}", transaction_info),
        ("GET", "/inApps/v2/refund/lookup/{transaction_id}", refunds),
        ("GET", "/inApps/v1/lookup/{order_id}", order),
        ("POST", "/inApps/v1/notifications/history", notification_history),
        ("POST", "/inApps/v1/notifications/test", request_test),
        ("GET", "/inApps/v1/notifications/test/{token}", test_status),
        ("POST", "/inApps/v1/subscriptions/extend/mass", extend_all),
        ("GET", "/inApps/v1/subscriptions/extend/mass/{product_id}/{request_id}", extend_all_status),
        ("PUT", "/inApps/v1/subscriptions/extend/{transaction_id}", extend),
        ("PUT", "/inApps/v2/transactions/consumption/{transaction_id}", consumption),
        ("PUT", "/inApps/v1/transactions/{transaction_id}/appAccountToken", account_token),
        ("GET", "/inApps/v1/transactions/appTransactions/{transaction_id}", app_transaction),
        ("POST", "/inApps/v1/transactions/{transaction_id}/finish", finish),
    )
    return [Route(path, _guarded(store, environment, handler), methods=[method]) for method, path, handler in table]


def _guarded(store: "FakeAppStore", environment: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Fault, token, work: in this order, with Apple's way to say no."""

    async def endpoint(request: Request) -> Response:
        path = request.url.path.removeprefix(f"/apple/{environment.lower()}")
        store.kernel.catch_up()
        fault = store.kernel.faults.take(path)
        if fault is not None:
            store.kernel.record("apple.fault", path=path, status=fault.status)
            return _fault(fault.status, fault.retry_after)
        reason = bearer.refused(store, request.headers.get("authorization"))
        store.kernel.record("apple.call", path=path, environment=environment, refused=reason)
        if reason is not None:
            return Response("Unauthenticated\n", status_code=401, media_type="text/plain")
        try:
            return await handler(Call(store, environment, request))
        except AppleError as error:
            return _error(error.code)

    return endpoint


def _error(code: int, headers: dict[str, str] | None = None) -> Response:
    body = {"errorCode": code, "errorMessage": _MESSAGES.get(code, "Error.")}
    return JSONResponse(body, status_code=code // 10_000, headers=headers)


def _fault(status: int, retry_after: int | None) -> Response:
    """A planned failure. `Retry-After` is a moment in Unix milliseconds, as Apple sends it."""
    if status == 429:
        wait = retry_after if retry_after is not None else time.time_ns() // 1_000_000 + 1_000
        return _error(4290000, {"Retry-After": str(wait)})
    if status >= 500:
        return JSONResponse({"errorCode": 5000001, "errorMessage": _MESSAGES[5000001]}, status_code=status)
    return Response("", status_code=status)


async def statuses(call: Call) -> Response:
    """Get All Subscription Statuses: not paged, grouped, with a filter."""
    wanted = {int(text) for text in call.query.getlist("status") if text.isdecimal()}
    groups: dict[str, list[dict[str, object]]] = {}
    for subscription in call.account().subscriptions:
        if wanted and subscription.status not in wanted:
            continue
        groups.setdefault(subscription.latest.product.group, []).append(_last_transaction(call, subscription))
    data = [
        {"subscriptionGroupIdentifier": group, "lastTransactions": items} for group, items in sorted(groups.items())
    ]
    return JSONResponse({**_identity(call), "data": data})


def _last_transaction(call: Call, subscription: Subscription) -> dict[str, object]:
    signed_ms = call.store.kernel.now_ms
    return {
        "originalTransactionId": subscription.original_id,
        "status": subscription.status,
        "signedTransactionInfo": call.signed(subscription.latest),
        "signedRenewalInfo": call.store.authority.sign(subscription.renewal_payload(signed_ms=signed_ms)),
    }


async def history(call: Call) -> Response:
    """Get Transaction History V2: 20 a page, by purchase date, with Apple's filters."""
    items = [item for item in call.account().transactions() if _passes(call, item)]
    order = call.query.get("sort", "ASCENDING")
    if order not in ("ASCENDING", "DESCENDING"):
        raise AppleError(4000021)
    if order == "DESCENDING":
        items.reverse()
    return _page(call, items)


def _passes(call: Call, item: Transaction) -> bool:
    query = call.query
    kinds = query.getlist("productType")
    if any(kind not in _PRODUCT_TYPES for kind in kinds):
        raise AppleError(4000022)
    start, end = query.get("startDate"), query.get("endDate")
    ownership = "FAMILY_SHARED" if item.shared else "PURCHASED"
    revoked = query.get("revoked")
    return (
        (start is None or item.purchased_ms >= int(start))
        and (end is None or item.purchased_ms < int(end))
        and (not kinds or item.product.kind in {_PRODUCT_TYPES[kind] for kind in kinds})
        and _among(query.getlist("productId"), item.product.id)
        and _among(query.getlist("subscriptionGroupIdentifier"), item.product.group)
        and query.get("inAppOwnershipType", ownership) == ownership
        and (revoked is None or (revoked.lower() == "true") == (item.revoked_ms is not None))
    )


def _among(wanted: list[str], value: str) -> bool:
    return not wanted or value in wanted


def _page(call: Call, items: list[Transaction], *, identity: bool = True) -> Response:
    offset = _offset(call.query.get("revision"), 4000005)
    page = items[offset : offset + PAGE]
    body: dict[str, object] = _identity(call) if identity else {}
    body["signedTransactions"] = [call.signed(item) for item in page]
    body["revision"] = _token(offset + len(page))
    body["hasMore"] = offset + len(page) < len(items)
    return JSONResponse(body)


def _token(offset: int) -> str:
    return urlsafe_b64encode(f"at:{offset}".encode()).decode()


def _offset(token: str | None, error_code: int) -> int:
    if token is None:
        return 0
    try:
        word, _, number = urlsafe_b64decode(token).decode().partition(":")
        if word != "at":
            raise ValueError(word)
        return int(number)
    except ValueError as error:
        raise AppleError(error_code) from error


def _identity(call: Call) -> dict[str, object]:
    found: dict[str, object] = {"environment": call.environment, "bundleId": call.store.bundle_id}
    if call.environment == PRODUCTION:
        found["appAppleId"] = call.store.app_apple_id
    return found


async def transaction_info(call: Call) -> Response:
    """Get Transaction Info."""
    id_ = call.path("transaction_id")
    item = next(item for item in call.account().transactions() if item.id == id_)
    return JSONResponse({"signedTransactionInfo": call.signed(item)})


async def refunds(call: Call) -> Response:
    """Get Refund History V2."""
    return _page(call, [item for item in call.account().transactions() if item.revoked_ms is not None], identity=False)


async def order(call: Call) -> Response:
    """Look Up Order ID: production only; an unknown one is 'invalid', not an error."""
    if call.environment == SANDBOX:
        return Response("", status_code=404)
    id_ = call.store.orders.get(call.path("order_id"))
    owner = None if id_ is None else call.store.owner_of(id_, call.environment)
    if owner is None:
        return JSONResponse({"status": 1, "signedTransactions": []})
    bought = [item for item in owner.transactions() if item.id == id_]
    return JSONResponse({"status": 0, "signedTransactions": [call.signed(item) for item in bought]})


async def notification_history(call: Call) -> Response:
    """Get Notification History: 20 a page, newest first, with a token."""
    body = await call.body()
    start, end = body.get("startDate"), body.get("endDate")
    if not isinstance(start, int) or not isinstance(end, int):
        raise AppleError(4000015)
    if end < start:
        raise AppleError(4000013)
    if "transactionId" in body and "notificationType" in body:
        raise AppleError(4000019)
    found = [item for item in reversed(call.store.mailer.memory) if _wanted(call, body, item, start, end)]
    offset = _offset(call.query.get("paginationToken"), 4000014)
    page = found[offset : offset + PAGE]
    more = offset + len(page) < len(found)
    answer: dict[str, object] = {
        "hasMore": more,
        "notificationHistory": [
            {"signedPayload": item.signed_payload, "sendAttempts": item.attempts()} for item in page
        ],
    }
    if more:
        answer["paginationToken"] = _token(offset + len(page))
    return JSONResponse(answer)


def _wanted(call: Call, body: dict[str, object], item: Remembered, start: int, end: int) -> bool:
    if item.environment != call.environment or not start <= item.signed_ms <= end:
        return False
    if body.get("onlyFailures") is True and not item.failed:
        return False
    if "transactionId" in body:
        owner = call.store.owner_of(str(body["transactionId"]), call.environment)
        return owner is not None and item.account == owner.id
    if "notificationType" in body:
        return item.type == body["notificationType"] and item.subtype == body.get("notificationSubtype", item.subtype)
    return True


async def request_test(call: Call) -> Response:
    """Request a Test Notification."""
    uuid = call.store.send_test(call.environment)
    if not uuid:
        raise AppleError(4040007)
    return JSONResponse({"testNotificationToken": f"{uuid}_{call.store.kernel.now_ms}"})


async def test_status(call: Call) -> Response:
    """Get Test Notification Status."""
    uuid = call.path("token").partition("_")[0]
    item = next((item for item in call.store.mailer.memory if item.uuid == uuid), None)
    if item is None or item.environment != call.environment or not item.sent.attempts:
        raise AppleError(4040008)
    return JSONResponse({"signedPayload": item.signed_payload, "sendAttempts": item.attempts()})


async def extend(call: Call) -> Response:
    """Extend a Subscription Renewal Date."""
    body = await call.body()
    days = _extension(body)
    id_ = call.path("transaction_id")
    subscription = call.store.subscriptions.get(id_)
    if subscription is None or subscription.latest.environment != call.environment:
        raise AppleError(4040005)
    if subscription.latest.shared:
        raise AppleError(4030007)
    if subscription.status != ACTIVE:
        raise AppleError(4030004)
    end = call.store.extend(id_, days)
    return JSONResponse(
        {
            "originalTransactionId": id_,
            "webOrderLineItemId": f"3{subscription.latest.id}",
            "success": True,
            "effectiveDate": end,
        }
    )


def _extension(body: dict[str, object]) -> int:
    days, reason, identifier = body.get("extendByDays"), body.get("extendReasonCode"), body.get("requestIdentifier")
    if not isinstance(days, int) or not 1 <= days <= MAX_EXTEND_DAYS:
        raise AppleError(4000009)
    if reason not in (0, 1, 2, 3):
        raise AppleError(4000010)
    if not isinstance(identifier, str) or not 1 <= len(identifier) <= 128:
        raise AppleError(4000011)
    return days


async def extend_all(call: Call) -> Response:
    """Extend Subscription Renewal Dates for All Active Subscribers: done at once, told by one SUMMARY."""
    body = await call.body()
    days, product_id, request_id = _extension(body), str(body.get("productId")), str(body["requestIdentifier"])
    chosen = [
        subscription
        for subscription in call.store.subscriptions.values()
        if subscription.status == ACTIVE
        and subscription.latest.environment == call.environment
        and subscription.latest.product.id == product_id
        and not subscription.latest.shared
    ]
    for subscription in chosen:
        call.store.extend(subscription.original_id, days, notify=False)
    call.store.extensions[request_id] = {
        "requestIdentifier": request_id,
        "complete": True,
        "completeDate": call.store.kernel.now_ms,
        "succeededCount": len(chosen),
        "failedCount": 0,
    }
    call.store.mailer.summary(call.environment, product_id, request_id, len(chosen))
    return JSONResponse({"requestIdentifier": request_id})


async def extend_all_status(call: Call) -> Response:
    """Get Status of Subscription Renewal Date Extensions."""
    found = call.store.extensions.get(call.path("request_id"))
    if found is None:
        raise AppleError(4040009)
    return JSONResponse(found)


async def consumption(call: Call) -> Response:
    """Send Consumption Information V2: kept for tests to look at."""
    call.account()
    body = await call.body()
    if body.get("customerConsented") is not True:
        raise AppleError(4000000)
    call.store.consumption.append({"transactionId": call.path("transaction_id"), **body})
    return Response("", status_code=202)


async def account_token(call: Call) -> Response:
    """Set App Account Token."""
    id_ = call.path("transaction_id")
    owner = call.account()
    token = (await call.body()).get("appAccountToken")
    for item in owner.transactions():
        if item.original_id == id_:
            item.app_account_token = str(token)
    return Response("", status_code=200)


async def app_transaction(call: Call) -> Response:
    """Get App Transaction Info."""
    owner = call.account()
    payload: dict[str, object] = {
        "receiptType": call.environment,
        "bundleId": call.store.bundle_id,
        "applicationVersion": "1",
        "receiptCreationDate": call.store.kernel.now_ms,
        "originalApplicationVersion": "1",
        "appTransactionId": f"7{owner.id}",
        "originalPlatform": "iOS",
    }
    if call.environment == PRODUCTION:
        payload["appAppleId"] = call.store.app_apple_id
    return JSONResponse({"signedAppTransactionInfo": call.store.authority.sign(payload)})


async def finish(call: Call) -> Response:
    """Finish Transaction."""
    call.account()
    return Response("", status_code=200)
