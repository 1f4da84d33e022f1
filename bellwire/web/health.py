"""For load balancers and supervisors: alive (`/healthz`), and able to work (`/readyz`). Neither needs a key."""

import sqlalchemy as sa
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bellwire.db.engine import reader
from bellwire.db.migrate import is_usable
from bellwire.db.writer import Writer
from bellwire.kit.asking import Asking

log = structlog.get_logger()

_DATABASE_ANSWERS_WITHIN_S = 2.0


class Health:
    """How the process is; the hub says what it knows, the rest is asked when somebody wants to know."""

    def __init__(self, engine: sa.Engine, writer: Writer) -> None:
        self.stopping = False
        self.broken = False
        self._engine = reader(engine)
        self._writer = writer
        self._database = Asking(self._ask_database, within_s=_DATABASE_ANSWERS_WITHIN_S, name="bellwire-ready")

    async def reasons(self) -> list[str]:
        """Why the process should get no requests; empty = it should."""
        found: list[str] = []
        if self.stopping:
            found.append("stopping")
        if self.broken:
            found.append("a part of the hub has ended")
        if not self._writer.alive:
            found.append("nothing can be written")
        try:
            if not await self._database.ask():
                found.append("the database has an older schema than this version needs")
        except (sa.exc.SQLAlchemyError, TimeoutError) as error:
            log.warning("readiness.failed", error=type(error).__name__)
            found.append("database not reachable")
        return found

    def close(self) -> None:
        self._database.close()

    def _ask_database(self) -> bool:
        with self._engine.connect() as connection:
            return is_usable(connection)


def health_routes(health: Health) -> list[Route]:
    """Both answer JSON: `{"status": "ok"}`, or with status 503 what is wrong in a few words without particulars."""

    async def alive(_request: Request) -> JSONResponse:
        return _answer(["a part of the hub has ended"] if health.broken else [])

    async def ready(_request: Request) -> JSONResponse:
        return _answer(await health.reasons())

    return [Route("/healthz", alive), Route("/readyz", ready)]


def _answer(reasons: list[str]) -> JSONResponse:
    if reasons:
        return JSONResponse({"status": reasons[0], "reasons": reasons}, status_code=503)
    return JSONResponse({"status": "ok"})
