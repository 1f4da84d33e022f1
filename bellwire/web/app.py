"""The whole web side of a process: doors for stores, the SDKs' wire, the dashboard, health."""

from http import HTTPStatus

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from bellwire.db.postgres import is_away
from bellwire.kit.endpoints import Surfaces
from bellwire.web.dashboard.headers import secure
from bellwire.web.dashboard.routes import routes as dashboard_routes
from bellwire.web.health import health_routes
from bellwire.web.limits import InboundLimits
from bellwire.web.metrics import metrics_route
from bellwire.web.notifications.surface import notification_surface
from bellwire.web.rest.surface import rest_surface
from bellwire.web.sdk.surface import sdk_surfaces
from bellwire.web.services import Services

log = structlog.get_logger()


def build_web(services: Services) -> Starlette:
    """An ASGI application that serves at the root of a host: SDKs drop a path in front (spec: api 0, rule 1)."""
    limits = InboundLimits(services.settings)
    surfaces = [
        notification_surface(services, limits),
        *sdk_surfaces(services, limits),
        rest_surface(services, limits),
    ]
    app = Starlette(
        routes=[
            *health_routes(services.health),
            metrics_route(services, public=True),
            *dashboard_routes(services),
        ],
        middleware=[Middleware(Surfaces, surfaces=surfaces)],
        exception_handlers={HTTPException: _refuse, Exception: _fail},
    )
    app.router.redirect_slashes = False  # the address to go to would be made of whatever Host the client names
    return app


async def _refuse(_request: Request, error: Exception) -> Response:
    """What no page answers."""
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    return secure(PlainTextResponse(HTTPStatus(status).phrase, status, headers=headers))


async def _fail(_request: Request, error: Exception) -> Response:
    """A database that is away, else a fault of ours: the traceback is for the log alone."""
    if is_away(error):
        log.warning("database.away", reason=type(error).__name__)
        return secure(PlainTextResponse("The database is not there right now.", 503, headers={"retry-after": "2"}))
    log.error("page.failed", exc_info=error)
    return secure(PlainTextResponse("Internal Server Error", 500))
