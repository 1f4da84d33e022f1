"""Everything that SDKs and v1 clients call, under one roof: `/v1` and `/rcbilling` (spec: api 1.1, 3)."""

from collections.abc import Mapping, Sequence

from bellwire.kit.cors import CORS
from bellwire.kit.endpoints import Call, Endpoint, Reply, Surface
from bellwire.web.answers import note_answers
from bellwire.web.errors import error_body, translate
from bellwire.web.limits import InboundLimits
from bellwire.web.sdk.attributes import post_attributes
from bellwire.web.sdk.catalogue import get_mapping, get_offerings
from bellwire.web.sdk.door import Handler, Keys, endpoint
from bellwire.web.sdk.identify import post_alias, post_identify
from bellwire.web.sdk.receipts import post_receipt
from bellwire.web.sdk.refusals import EMPTY_ANSWERS, EMPTY_WEB_ANSWERS, REFUSALS, answering, refusing
from bellwire.web.sdk.subscribers import get_subscriber
from bellwire.web.services import Services

_ENDPOINTS: tuple[tuple[str, str, Handler, Keys], ...] = (
    ("GET", "/v1/subscribers/{app_user_id}", get_subscriber, Keys.ANY),
    ("POST", "/v1/subscribers/{app_user_id}/attributes", post_attributes, Keys.ANY),
    ("POST", "/v1/receipts", post_receipt, Keys.ANY),
    ("POST", "/v1/subscribers/identify", post_identify, Keys.PUBLIC),
    ("POST", "/v1/subscribers/{app_user_id}/alias", post_alias, Keys.PUBLIC),
    ("GET", "/v1/subscribers/{app_user_id}/offerings", get_offerings, Keys.PUBLIC),
    ("GET", "/v1/offerings", get_offerings, Keys.PUBLIC),
    ("GET", "/v1/product_entitlement_mapping", get_mapping, Keys.PUBLIC),
)

_CORS = CORS(
    methods=("GET", "POST", "PATCH", "DELETE", "OPTIONS"),
    headers=(
        "Authorization",
        "Content-Type",
        "Accept",
        "X-Platform",
        "X-Version",
        "X-Platform-Flavor",
        "X-Platform-Flavor-Version",
        "X-Is-Sandbox",
        "X-RC-Subscriber-Token",
    ),
    exposed=("X-RevenueCat-Request-Time", "X-RevenueCat-ETag", "X-Request-ID", "Retry-After"),
)


def sdk_surfaces(services: Services, limits: InboundLimits) -> list[Surface]:
    """The surfaces, to be asked in this order."""
    v1 = [endpoint(services, limits, method, path, handler, keys=keys) for method, path, handler, keys in _ENDPOINTS]
    v1 += _empty(services, limits, EMPTY_ANSWERS)
    v1 += [
        endpoint(services, limits, method, path, refusing(status, code, message), keys=Keys.PUBLIC)
        for method, path, status, code, message in REFUSALS
    ]
    v1.append(Endpoint("GET", "/v1/health", _health))
    return [
        _surface(services, "/v1", v1),
        _surface(services, "/rcbilling", _empty(services, limits, EMPTY_WEB_ANSWERS)),
    ]


def _empty(
    services: Services, limits: InboundLimits, table: Sequence[tuple[str, str, Mapping[str, object], Keys]]
) -> list[Endpoint]:
    return [endpoint(services, limits, method, path, answering(body), keys=keys) for method, path, body, keys in table]


def _surface(services: Services, prefix: str, endpoints: Sequence[Endpoint]) -> Surface:
    def stamp() -> dict[str, str]:
        return {"X-RevenueCat-Request-Time": str(services.clock.now_ms()), "Cache-Control": "no-store"}

    return Surface(
        prefix,
        endpoints,
        error_body=error_body,
        translate=translate,
        stamp=stamp,
        note=note_answers(prefix),
        max_body_bytes=services.settings.max_body_bytes,
        cors=_CORS,
    )


async def _health(_call: Call) -> Reply:
    """SDKs ask without a key whether anybody is there."""
    return Reply(200, {})
