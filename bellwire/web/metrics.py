"""`/metrics`: what the process counts, and what is asked of it and of the database at the moment of the scrape."""

import asyncio
import hmac
import ipaddress
import platform
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import version

import sqlalchemy as sa
import structlog
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.pool import QueuePool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bellwire.db.backlog import Backlog, load_backlog
from bellwire.db.engine import reader
from bellwire.db.lane_states import BreakerState, LaneState
from bellwire.kit.asking import Asking
from bellwire.kit.clock import SystemClock
from bellwire.observe import metrics
from bellwire.settings import Settings
from bellwire.web.services import Services

log = structlog.get_logger()

_DATABASE_ANSWERS_WITHIN_S = 3.0
_FRESH_S = 2.0
_SHARE = 100
"""A look at the backlog is kept a hundred times as long as it took: scrapes cost the database a hundredth at most."""
_BREAKER = {BreakerState.CLOSED: 0.0, BreakerState.HALF_OPEN: 0.5, BreakerState.OPEN: 1.0}
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class Scrape:
    """Makes the page. One per process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._engine = reader(services.engine)
        self._backlog: Backlog | None = None
        self._keep_until_s = 0.0
        self._asking = Asking(self._look, within_s=_DATABASE_ANSWERS_WITHIN_S, name="bellwire-metrics")
        self._build = version("bellwire"), platform.python_version(), services.engine.dialect.name

    async def page(self, accept: str) -> tuple[bytes, str]:
        """The text of all metrics, and its content type."""
        began_s = time.perf_counter()
        await asyncio.sleep(0)
        gauges = self._gauges(time.perf_counter() - began_s, await self._services.health.reasons())
        families = [*gauges, *(await self._waiting())]
        registry = CollectorRegistry()
        for collector in (*_COUNTED, _Families(families)):
            registry.register(collector)
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        encode, content_type = choose_encoder(accept)
        return await asyncio.to_thread(encode, registry), content_type

    def _gauges(self, lag_s: float, reasons: list[str]) -> list[Metric]:
        found = [
            metrics.BUILD_INFO.family([(self._build, 1)]),
            metrics.READY.alone(0 if reasons else 1),
            metrics.LOOP_LAG.alone(lag_s),
            metrics.WRITER_QUEUE.alone(self._services.writer.waiting),
        ]
        pool = self._services.engine.pool
        if isinstance(pool, QueuePool):
            found.append(metrics.POOL.family([(("used",), pool.checkedout()), (("idle",), pool.checkedin())]))
        return found

    async def _waiting(self) -> list[Metric]:
        try:
            backlog = await self._asking.ask()
        except (sa.exc.SQLAlchemyError, TimeoutError) as error:
            log.warning("metrics.no_backlog", error=type(error).__name__)
            return [metrics.BACKLOG_READ.alone(0)]
        return [metrics.BACKLOG_READ.alone(1), *self._shown(backlog)]

    def _look(self) -> Backlog:
        """The backlog, as of now or of a moment ago."""
        began_s = time.monotonic()
        if self._backlog is None or began_s >= self._keep_until_s:
            with self._engine.connect() as connection:
                self._backlog = load_backlog(
                    connection, list(self._services.config.current().integrations), now_ms=SystemClock().now_ms()
                )
            took_s = time.monotonic() - began_s
            self._keep_until_s = began_s + max(_FRESH_S, _SHARE * took_s)
        return self._backlog

    def _shown(self, backlog: Backlog) -> Iterator[Metric]:
        config = self._services.config.current()
        now_ms = SystemClock().now_ms()
        lanes = [
            (config.integrations[one.integration_id], one)
            for one in backlog.lanes
            if one.integration_id in config.integrations
        ]
        yield metrics.INTEGRATION_INFO.family(
            ((it.id, it.destination, it.name, config.projects[it.project_id].name), 1) for it, _ in lanes
        )
        yield metrics.OUTBOX_ROWS.family(
            ((it.id, it.destination, state), getattr(lane, state))
            for it, lane in lanes
            for state in ("fresh", "late", "leased", "parked")
        )
        yield metrics.OUTBOX_AGE.family(
            ((it.id, it.destination), _age_s(lane.oldest_due_ms, now_ms)) for it, lane in lanes
        )
        states = [((it.id, it.destination), backlog.states.get(it.id, LaneState())) for it, _ in lanes]
        yield metrics.LANE_BREAKER.family((labels, _BREAKER[state.breaker]) for labels, state in states)
        yield metrics.LANE_PAUSED.family((labels, state.paused_at_ms is not None) for labels, state in states)
        yield metrics.LANE_FAILING.family((labels, _age_s(state.failing_since_ms, now_ms)) for labels, state in states)
        yield metrics.REPLAY_DELIVERIES.family(
            ((it.id, it.destination, state), getattr(backlog.replays[it.id], state))
            for it, _ in lanes
            if it.id in backlog.replays
            for state in ("selected", "put_out", "delivered")
        )
        roles = Counter(worker.role.value for worker in backlog.workers)
        yield metrics.PROCESSES.family(((role,), number) for role, number in roles.items())
        yield metrics.INBOX_OPEN.alone(backlog.inbox_open)
        yield metrics.INBOX_AGE.alone(_age_s(backlog.inbox_oldest_due_ms, now_ms))


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


_COUNTED = [metric for metric in metrics.METRICS if not isinstance(metric, metrics.Gauge)]


def metrics_route(services: Services, *, public: bool) -> Route:
    """`public`: the address is that of the doors, which strangers reach."""
    scrape = Scrape(services)

    async def show(request: Request) -> Response:
        if not _may_read(request, services.settings, public=public):
            text = "Metrics are for this machine, or for who sends BELLWIRE_METRICS_TOKEN as bearer token.\n"
            return PlainTextResponse(text, status_code=403, headers={"WWW-Authenticate": "Bearer"})
        body, content_type = await scrape.page(request.headers.get("accept", ""))
        return Response(body, media_type=content_type, headers={"Cache-Control": "no-store"})

    return Route("/metrics", show)


def _may_read(request: Request, settings: Settings, *, public: bool) -> bool:
    if settings.metrics_token:
        presented = request.headers.get("authorization", "").encode()
        return hmac.compare_digest(presented, b"Bearer " + settings.metrics_token.encode())
    if not public:
        return True
    passed_on = any(name in request.headers for name in _FORWARDED)
    return not settings.public_url and not passed_on and _is_this_machine(request)


def _is_this_machine(request: Request) -> bool:
    """The peer, and the name it asks by: a browser here can be led to this port by a page whose own name leads here."""
    return request.client is not None and _is_loopback(request.client.host) and _is_loopback(request.url.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _age_s(since_ms: int | None, now_ms: int) -> float:
    return 0.0 if since_ms is None else max(0, now_ms - since_ms) / 1000
