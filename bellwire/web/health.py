"""For load balancers: alive (`/healthz`), and able to work (`/readyz`)."""

import asyncio

import sqlalchemy as sa
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bellwire.db.engine import reader
from bellwire.web.services import Services

log = structlog.get_logger()


def health_routes(services: Services) -> list[Route]:
    """Both answer JSON; neither needs a key nor tells anything but yes or no."""

    async def alive(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def ready(_request: Request) -> JSONResponse:
        try:
            await asyncio.to_thread(_ask_database, services.engine)
        except sa.exc.SQLAlchemyError as error:
            log.warning("readiness.failed", error=type(error).__name__)
            return JSONResponse({"status": "database not reachable"}, status_code=503)
        return JSONResponse({"status": "ok"})

    return [Route("/healthz", alive), Route("/readyz", ready)]


def _ask_database(engine: sa.Engine) -> None:
    with reader(engine).connect() as connection:
        connection.execute(sa.text("SELECT 1"))
