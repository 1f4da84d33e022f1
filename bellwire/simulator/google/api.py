"""The Play Developer API, the token server and the public keys over HTTP."""

from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bellwire.simulator.google import catalogue_endpoints as catalogue
from bellwire.simulator.google import purchase_endpoints as purchases
from bellwire.simulator.google.calls import Call, Endpoint
from bellwire.simulator.google.identity import GrantRefused
from bellwire.simulator.google.records import PlayError

if TYPE_CHECKING:
    from bellwire.simulator.google.play import FakePlay

CERTS_MAX_AGE_S = 3600
STANDARD_PARAMETERS = frozenset({"alt", "fields", "key", "prettyPrint", "quotaUser", "$.xgafv"})


def api_routes(play: "FakePlay", prefix: str) -> list[Route]:
    """All routes below `prefix`."""
    root = f"{prefix}/androidpublisher/v3/applications/{{package_name}}"
    v2, v1 = f"{root}/purchases/subscriptionsv2/tokens", f"{root}/purchases/subscriptions"
    products = f"{root}/purchases/products/{{product_id}}/tokens/{{token}}"
    table: list[tuple[str, str, Endpoint, frozenset[str]]] = [
        ("POST", f"{v2}/{{token}}:cancel", purchases.cancel_v2, frozenset()),
        ("POST", f"{v2}/{{token}}:defer", purchases.defer_v2, frozenset()),
        ("POST", f"{v2}/{{token}}:revoke", purchases.revoke, frozenset()),
        ("GET", f"{v2}/{{token}}", purchases.get_subscription, frozenset()),
        (
            "POST",
            f"{v1}/{{subscription_id}}/tokens/{{token}}:acknowledge",
            purchases.acknowledge_subscription,
            frozenset(),
        ),
        ("POST", f"{v1}/{{subscription_id}}/tokens/{{token}}:cancel", purchases.cancel_v1, frozenset()),
        ("POST", f"{v1}/{{subscription_id}}/tokens/{{token}}:defer", purchases.defer_v1, frozenset()),
        ("GET", f"{root}/purchases/productsv2/tokens/{{token}}", purchases.get_product_v2, frozenset()),
        ("POST", f"{products}:acknowledge", purchases.acknowledge_product, frozenset()),
        ("POST", f"{products}:consume", purchases.consume_product, frozenset()),
        ("GET", products, purchases.get_product, frozenset()),
        ("GET", f"{root}/orders:batchGet", purchases.get_orders, frozenset({"orderIds"})),
        ("POST", f"{root}/orders/{{order_id}}:refund", purchases.refund_order, frozenset({"revoke"})),
        ("POST", f"{root}/orders/{{order_id}}:reviewrefund", purchases.review_refund, frozenset()),
        ("GET", f"{root}/orders/{{order_id}}", purchases.get_order, frozenset()),
        (
            "GET",
            f"{root}/purchases/voidedpurchases",
            purchases.list_voided,
            frozenset(
                {"type", "startTime", "endTime", "maxResults", "startIndex", "token"}
                | {"includeQuantityBasedPartialRefund"}
            ),
        ),
        (
            "GET",
            f"{root}/subscriptions",
            catalogue.list_subscriptions,
            frozenset({"pageSize", "pageToken", "showArchived"}),
        ),
        ("GET", f"{root}/subscriptions/{{product_id}}", catalogue.get_catalogue_subscription, frozenset()),
        (
            "GET",
            f"{root}/subscriptions/{{product_id}}/basePlans/{{plan_id}}/offers",
            catalogue.list_offers,
            frozenset({"pageSize", "pageToken"}),
        ),
        ("GET", f"{root}/oneTimeProducts", catalogue.list_one_time_products, frozenset({"pageSize", "pageToken"})),
        ("GET", f"{root}/oneTimeProducts/{{product_id}}", catalogue.get_one_time_product, frozenset()),
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
