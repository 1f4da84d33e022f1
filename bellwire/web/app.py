"""The whole web side of a process: doors for stores, the SDKs' wire, the dashboard, health."""

from starlette.applications import Starlette
from starlette.middleware import Middleware

from bellwire.kit.endpoints import Surfaces
from bellwire.web.dashboard.routes import routes as dashboard_routes
from bellwire.web.health import health_routes
from bellwire.web.notifications.surface import notification_surface
from bellwire.web.sdk.surface import sdk_surfaces
from bellwire.web.services import Services


def build_web(services: Services) -> Starlette:
    """An ASGI application that serves at the root of a host: SDKs drop a path in front (spec: api 0, rule 1)."""
    surfaces = [notification_surface(services), *sdk_surfaces(services)]
    return Starlette(
        routes=[*health_routes(services), *dashboard_routes(services)],
        middleware=[Middleware(Surfaces, surfaces=surfaces)],
    )
