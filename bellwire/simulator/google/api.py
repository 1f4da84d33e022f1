"""The Play Developer API, the token server and the public keys over HTTP."""

import base64
import json
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bellwire.simulator.google.calendar import DAY_MS, duration_ms, rfc3339
from bellwire.simulator.google.catalogue import OneTimeProduct, Plan
from bellwire.simulator.google.identity import GrantRefused
from bellwire.simulator.google.records import DEVELOPER, EXPIRED, USER, PlayError, Subscription
from bellwire.simulator.google.views import (
    JSON,
    catalogue_subscription_json,
    offers_json,
    one_time_product_json,
    order_json,
    product_json,
    product_v2_json,
    subscription_json,
    voided_json,
)

if TYPE_CHECKING:
    from bellwire.simulator.google.play import FakePlay

READABLE_AFTER_EXPIRY_MS = 60 * DAY_MS
VOIDED_WINDOW_MS = 30 * DAY_MS
DEFAULT_PAGE, MAX_VOIDED_PAGE, MAX_BATCH = 100, 1000, 1000
CERTS_MAX_AGE_S = 3600
STANDARD_PARAMETERS = frozenset({"alt", "fields", "key", "prettyPrint", "quotaUser", "$.xgafv"})
CANCELLATION_TYPES = {"USER_REQUESTED_STOP_RENEWALS": USER, "DEVELOPER_REQUESTED_STOP_PAYMENTS": DEVELOPER}

Endpoint = Callable[["Call"], JSON | None]
"""Answers a call with a body, or with none (204). Raises PlayError."""


class Call:
    """One API request, authenticated and with its parameters checked."""

    def __init__(self, play: "FakePlay", path: dict[str, str], query: list[tuple[str, str]], body: bytes) -> None:
        self.play = play
        self.path = path
        self._query = query
        self._body = body

    def texts(self, name: str) -> list[str]:
        return [value for key, value in self._query if key == name]

    def text(self, name: str) -> str | None:
        values = self.texts(name)
        return values[-1] if values else None

    def number(self, name: str, default: int) -> int:
        text = self.text(name)
        try:
            return default if text is None else int(text)
        except ValueError as error:
            raise PlayError(400, "invalid", f"Invalid value for {name}: {text}") from error

    def json(self) -> JSON:
        try:
            body = json.loads(self._body or b"{}")
        except ValueError as error:
            raise PlayError(400, "parseError", "Parse Error") from error
        if not isinstance(body, dict):
            raise PlayError(400, "parseError", "Parse Error")
        return body

    def part(self, name: str) -> JSON:
        """A required member of the body."""
        value = self.json().get(name)
        if not isinstance(value, dict):
            raise PlayError(400, "required", f"{name} is required")
        return value


def api_routes(play: "FakePlay", prefix: str) -> list[Route]:
    """All routes below `prefix`."""
    root = f"{prefix}/androidpublisher/v3/applications/{{package_name}}"
    v2, v1 = f"{root}/purchases/subscriptionsv2/tokens", f"{root}/purchases/subscriptions"
    products = f"{root}/purchases/products/{{product_id}}/tokens/{{token}}"
    table: list[tuple[str, str, Endpoint, frozenset[str]]] = [
        ("POST", f"{v2}/{{token}}:cancel", _cancel_v2, frozenset()),
        ("POST", f"{v2}/{{token}}:defer", _defer_v2, frozenset()),
        ("POST", f"{v2}/{{token}}:revoke", _revoke, frozenset()),
        ("GET", f"{v2}/{{token}}", _get_subscription, frozenset()),
        ("POST", f"{v1}/{{subscription_id}}/tokens/{{token}}:acknowledge", _acknowledge_subscription, frozenset()),
        ("POST", f"{v1}/{{subscription_id}}/tokens/{{token}}:cancel", _cancel_v1, frozenset()),
        ("POST", f"{v1}/{{subscription_id}}/tokens/{{token}}:defer", _defer_v1, frozenset()),
        ("GET", f"{root}/purchases/productsv2/tokens/{{token}}", _get_product_v2, frozenset()),
        ("POST", f"{products}:acknowledge", _acknowledge_product, frozenset()),
        ("POST", f"{products}:consume", _consume_product, frozenset()),
        ("GET", products, _get_product, frozenset()),
        ("GET", f"{root}/orders:batchGet", _get_orders, frozenset({"orderIds"})),
        ("POST", f"{root}/orders/{{order_id}}:refund", _refund_order, frozenset({"revoke"})),
        ("POST", f"{root}/orders/{{order_id}}:reviewrefund", _review_refund, frozenset()),
        ("GET", f"{root}/orders/{{order_id}}", _get_order, frozenset()),
        (
            "GET",
            f"{root}/purchases/voidedpurchases",
            _list_voided,
            frozenset(
                {"type", "startTime", "endTime", "maxResults", "startIndex", "token"}
                | {"includeQuantityBasedPartialRefund"}
            ),
        ),
        ("GET", f"{root}/subscriptions", _list_subscriptions, frozenset({"pageSize", "pageToken", "showArchived"})),
        ("GET", f"{root}/subscriptions/{{product_id}}", _get_catalogue_subscription, frozenset()),
        (
            "GET",
            f"{root}/subscriptions/{{product_id}}/basePlans/{{plan_id}}/offers",
            _list_offers,
            frozenset({"pageSize", "pageToken"}),
        ),
        ("GET", f"{root}/oneTimeProducts", _list_one_time_products, frozenset({"pageSize", "pageToken"})),
        ("GET", f"{root}/oneTimeProducts/{{product_id}}", _get_one_time_product, frozenset()),
    ]
    routes = [Route(path, _serve(play, endpoint, known), methods=[method]) for method, path, endpoint, known in table]
    return [*routes, *_trust_routes(play, prefix)]


def _serve(play: "FakePlay", endpoint: Endpoint, parameters: frozenset[str]) -> Callable[..., object]:
    async def handle(request: Request) -> Response:
        play.kernel.catch_up()
        # The store's clock is the virtual one, and its answers say so.
        headers = {"Date": formatdate(play.now_ms / 1000, usegmt=True)}
        body = await request.body()
        fault = play.kernel.faults.take(request.url.path)
        if fault is not None:
            if fault.retry_after is not None:
                headers["Retry-After"] = str(fault.retry_after)
            return _error(PlayError(fault.status, "backendError", "Planned trouble."), headers)
        query = parse_qsl(request.url.query, keep_blank_values=True)
        try:
            _authorize(play, request)
            unknown = {key for key, _ in query} - parameters - STANDARD_PARAMETERS
            if unknown:
                name = min(unknown)
                raise PlayError(400, "badRequest", f'Invalid JSON payload received. Unknown name "{name}"')
            answer = endpoint(Call(play, request.path_params, query, body))
        except PlayError as error:
            return _error(error, headers)
        return Response(status_code=204, headers=headers) if answer is None else JSONResponse(answer, headers=headers)

    return handle


def _authorize(play: "FakePlay", request: Request) -> None:
    if not play.identity.accepts(request.headers.get("authorization", "")):
        raise PlayError(401, "authError", "Request had invalid authentication credentials.")
    if request.path_params["package_name"] != play.package_name:
        raise PlayError(404, "applicationNotFound", "No application was found for the given package name.")


def _error(error: PlayError, headers: dict[str, str]) -> Response:
    item = {"message": str(error), "domain": "androidpublisher", "reason": error.reason}
    content = {"error": {"code": error.status, "message": str(error), "errors": [item]}}
    return JSONResponse(content, status_code=error.status, headers=headers)


# -- subscriptions


def _subscription(call: Call) -> Subscription:
    found = call.play.subscription(call.path["token"])
    if found.ended_ms is not None and call.play.now_ms > found.ended_ms + READABLE_AFTER_EXPIRY_MS:
        message = "The subscription purchase is no longer available for query because it has been expired for too long."
        raise PlayError(410, "subscriptionPurchaseNoLongerAvailable", message)
    return found


def _get_subscription(call: Call) -> JSON:
    return subscription_json(_subscription(call))


def _acknowledge_subscription(call: Call) -> None:
    found = _subscription(call)
    if found.state == EXPIRED or found.start_ms is None:
        raise PlayError(400, "subscriptionInvalid", "The subscription purchase cannot be acknowledged.")
    found.acknowledged = True
    found.version += 1


def _cancel_v1(call: Call) -> None:
    call.play.cancel(_subscription(call).token, by=DEVELOPER)


def _cancel_v2(call: Call) -> JSON:
    kind = CANCELLATION_TYPES.get(str(call.part("cancellationContext").get("cancellationType")))
    if kind is None:
        raise PlayError(400, "invalid", "cancellationType is required")
    call.play.cancel(_subscription(call).token, by=kind)
    return {}


def _defer_v1(call: Call) -> JSON:
    found, info = _subscription(call), call.part("deferralInfo")
    expected, desired = info.get("expectedExpiryTimeMillis"), info.get("desiredExpiryTimeMillis")
    if not (isinstance(expected, str) and isinstance(desired, str) and expected.isdigit() and desired.isdigit()):
        raise PlayError(400, "required", "expectedExpiryTimeMillis and desiredExpiryTimeMillis are required")
    if int(expected) != found.expiry_ms:
        raise PlayError(400, "expectedExpiryTimeMismatch", "The expiry time is not the expected one.")
    return {"newExpiryTimeMillis": str(call.play.defer(found.token, int(desired) - found.expiry_ms))}


def _defer_v2(call: Call) -> JSON:
    found, context = _subscription(call), call.part("deferralContext")
    if context.get("etag") != subscription_json(found)["etag"]:
        raise PlayError(409, "concurrentUpdate", "The etag is not the latest one.")
    try:
        by_ms = duration_ms(str(context.get("deferDuration")))
    except ValueError as error:
        raise PlayError(400, "invalid", str(error)) from error
    expiry_ms = found.expiry_ms + by_ms
    if context.get("validateOnly") is not True:
        call.play.defer(found.token, by_ms)
    details: JSON = {"productId": found.base.plan.product_id, "expiryTime": rfc3339(expiry_ms)}
    return {"itemExpiryTimeDetails": [details]}


def _revoke(call: Call) -> JSON:
    found, context = _subscription(call), call.part("revocationContext")
    if "proratedRefund" in context:
        length = max(found.paid_until_ms - (found.start_ms or 0), 1)
        left = max(found.paid_until_ms - call.play.now_ms, 0)
        call.play.revoke(found.token, part_ppm=min(1_000_000 * left // length, 1_000_000))
    elif "fullRefund" in context or "itemBasedRefund" in context:
        call.play.revoke(found.token)
    else:
        raise PlayError(400, "required", "a kind of refund is required")
    return {}


# -- one-time products


def _get_product_v2(call: Call) -> JSON:
    return product_v2_json(call.play.one_time_purchase(call.path["token"]))


def _get_product(call: Call) -> JSON:
    bought = call.play.one_time_purchase(call.path["token"])
    if bought.product.product_id != call.path["product_id"]:
        raise PlayError(404, "purchaseTokenDoesNotMatchProductId", "The purchase token does not match the product.")
    return product_json(bought)


def _acknowledge_product(call: Call) -> None:
    _get_product(call)
    bought = call.play.one_time_purchase(call.path["token"])
    if bought.state != "PURCHASED":
        raise PlayError(400, "productNotOwnedByUser", "The product is not owned by the user.")
    bought.acknowledged = True


def _consume_product(call: Call) -> None:
    _acknowledge_product(call)
    call.play.one_time_purchase(call.path["token"]).consumed = True


# -- orders


def _may_view_orders(call: Call) -> None:
    if not call.play.financial_permission:
        message = "The current user has insufficient permissions to perform the requested operation."
        raise PlayError(403, "permissionDenied", message)


def _get_order(call: Call) -> JSON:
    _may_view_orders(call)
    return order_json(call.play.order(call.path["order_id"]))


def _get_orders(call: Call) -> JSON:
    """All or nothing."""
    _may_view_orders(call)
    order_ids = call.texts("orderIds")
    if not 1 <= len(order_ids) <= MAX_BATCH:
        raise PlayError(400, "invalid", f"between 1 and {MAX_BATCH} order ids are required")
    return {"orders": [order_json(call.play.order(order_id)) for order_id in order_ids]}


def _refund_order(call: Call) -> None:
    order = call.play.order(call.path["order_id"])
    bought = call.play.one_time.get(order.token)
    if bought is not None and call.text("revoke") == "true":
        call.play.refund_product(order.token)
    else:
        call.play.refund_order(order.id, revoke=call.text("revoke") == "true")


def _review_refund(call: Call) -> None:
    call.play.order(call.path["order_id"])
    body = call.json()
    if body.get("refundPreference") not in ("DECLINE", "APPROVE", "NEUTRAL") or not body.get("pendingRefundToken"):
        raise PlayError(400, "required", "pendingRefundToken and refundPreference are required")


def _list_voided(call: Call) -> JSON:
    now_ms = call.play.now_ms
    kind, size = call.number("type", 0), call.number("maxResults", DEFAULT_PAGE)
    partial = call.text("includeQuantityBasedPartialRefund") == "true"
    start_ms = call.number("startTime", now_ms - VOIDED_WINDOW_MS)
    end_ms, offset = call.number("endTime", now_ms), 0
    page_token = call.text("token")
    if page_token is not None:
        start_ms, end_ms, offset = _read_page_token(page_token)
    elif start_ms < now_ms - VOIDED_WINDOW_MS or end_ms > now_ms or start_ms > end_ms:
        raise PlayError(400, "invalid", "startTime or endTime is outside the last 30 days")
    if not 1 <= size <= MAX_VOIDED_PAGE:
        raise PlayError(400, "invalid", f"maxResults is between 1 and {MAX_VOIDED_PAGE}")
    rows = [
        row
        for row in call.play.voided
        if start_ms <= row.seen_ms <= end_ms
        and (kind == 1 or not row.subscription)
        and (partial or row.quantity is None)
    ]
    out: JSON = {}
    if rows[offset:]:
        out["voidedPurchases"] = [voided_json(row) for row in rows[offset : offset + size]]
    if offset + size < len(rows):
        token = base64.urlsafe_b64encode(f"{start_ms} {end_ms} {offset + size}".encode()).decode()
        out["tokenPagination"] = {"nextPageToken": token}
    return out


def _read_page_token(token: str) -> tuple[int, int, int]:
    try:
        start_ms, end_ms, offset = map(int, base64.urlsafe_b64decode(token).decode().split())
    except ValueError as error:
        raise PlayError(400, "invalid", "Invalid page token") from error
    return start_ms, end_ms, offset


# -- catalogue


def _plans_by_product(play: "FakePlay") -> dict[str, list[Plan]]:
    plans: dict[str, list[Plan]] = {}
    for product in play.catalogue.values():
        if isinstance(product, Plan):
            plans.setdefault(product.product_id, []).append(product)
    return plans


def _list_subscriptions(call: Call) -> JSON:
    play = call.play
    plans = _plans_by_product(play).values()
    return {"subscriptions": [catalogue_subscription_json(play.package_name, group, play.region) for group in plans]}


def _get_catalogue_subscription(call: Call) -> JSON:
    play = call.play
    plans = _plans_by_product(play).get(call.path["product_id"])
    if plans is None:
        raise PlayError(404, "subscriptionNotFound", "The subscription was not found.")
    return catalogue_subscription_json(play.package_name, plans, play.region)


def _list_offers(call: Call) -> JSON:
    play = call.play
    plan = play.plan(f"{call.path['product_id']}:{call.path['plan_id']}")
    offers = offers_json(play.package_name, plan, play.region)
    return {"subscriptionOffers": offers} if offers else {}


def _list_one_time_products(call: Call) -> JSON:
    play = call.play
    products = [p for p in play.catalogue.values() if isinstance(p, OneTimeProduct)]
    return {"oneTimeProducts": [one_time_product_json(play.package_name, p, play.region) for p in products]}


def _get_one_time_product(call: Call) -> JSON:
    product = call.play.one_time_product(call.path["product_id"])
    return one_time_product_json(call.play.package_name, product, call.play.region)


# -- trust


def _trust_routes(play: "FakePlay", prefix: str) -> list[Route]:
    async def token(request: Request) -> Response:
        fault = play.kernel.faults.take(request.url.path)
        if fault is not None:
            return JSONResponse({"error": "server_error"}, status_code=fault.status)
        form = dict(parse_qsl((await request.body()).decode()))
        try:
            return JSONResponse(play.identity.grant(form, play.token_uri))
        except GrantRefused as error:
            return JSONResponse({"error": error.error, "error_description": error.description}, status_code=400)

    async def certs(request: Request) -> Response:
        fault = play.kernel.faults.take(request.url.path)
        if fault is not None:
            return JSONResponse({"error": "server_error"}, status_code=fault.status)
        headers = {"Cache-Control": f"public, max-age={CERTS_MAX_AGE_S}, must-revalidate, no-transform"}
        return JSONResponse(play.identity.jwks(), headers=headers)

    return [
        Route(f"{prefix}/token", token, methods=["POST"]),
        Route(f"{prefix}/oauth2/v3/certs", certs, methods=["GET"]),
    ]
