"""What operators' machines ask for, on an address of its own: a worker has no other, and doors stay closed to it."""

from starlette.applications import Starlette

from bellwire.web.health import health_routes
from bellwire.web.metrics import metrics_route
from bellwire.web.services import Services


def build_operations(services: Services, *, public: bool = False) -> Starlette:
    """`/metrics`, `/healthz` and `/readyz`; `public` as `metrics_route` has it."""
    return Starlette(routes=[*health_routes(services.health), metrics_route(services, public=public)])
