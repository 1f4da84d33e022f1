"""Wiring: one process with doors, timers, delivery and dashboard on one database (architecture D1)."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path

import sqlalchemy as sa
import structlog
import uvicorn
import uvloop
from starlette.applications import Starlette

from bellwire.db.config import ConfigCache
from bellwire.db.engine import open_engine, reader
from bellwire.db.migrate import upgrade
from bellwire.db.secrets import Sealer
from bellwire.db.writer import Writer
from bellwire.delivery.service import Delivery
from bellwire.ingest.recovery import Recovery
from bellwire.ingest.service import Ingest
from bellwire.ingest.timers import Timers
from bellwire.kit.clock import Clock, SharedClock, SystemClock
from bellwire.kit.doorstep import doorstep
from bellwire.kit.http import GuardedClient
from bellwire.kit.listening import close_all, listen_on
from bellwire.kit.logs import configure_logs
from bellwire.model.enums import Store
from bellwire.settings import Settings, make_data_dir
from bellwire.stores.apple import AppleAdapter
from bellwire.stores.base import HTTPCaller, StoreAdapter
from bellwire.stores.google import GoogleAdapter
from bellwire.web.app import build_web
from bellwire.web.services import Services

log = structlog.get_logger()

_DELIVERY_ENDS_WITHIN_S = 10.0


def build_adapters(client: HTTPCaller, settings: Settings) -> dict[Store, StoreAdapter]:
    """One adapter for each store that this build knows."""
    apple = AppleAdapter(client, allow_test_roots=settings.allow_test_roots)
    google = GoogleAdapter(client, allow_test_roots=settings.allow_test_roots)
    return {Store.APP_STORE: apple, Store.MAC_APP_STORE: apple, Store.PLAY_STORE: google}


def domain_clock(settings: Settings) -> Clock:
    """The clock that purchases live by; a virtual one only in front of the simulator."""
    if settings.dangerous_clock_file:
        return SharedClock(Path(settings.dangerous_clock_file))
    return SystemClock()


class Hub:
    """Everything that runs in one process; `start` inside a running event loop, `stop` returns what it holds."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        make_data_dir(settings.data_dir)
        self.settings = settings
        self.clock = domain_clock(settings) if clock is None else clock
        self.wall = SystemClock()
        self.sealer = Sealer.open_or_create(settings.data_dir, settings.secret_key)
        self.engine: sa.Engine = open_engine(settings.resolved_database_url())
        upgrade(self.engine)
        self.read_engine = reader(self.engine)
        self.config = ConfigCache(self.engine, self.sealer)
        self.config.current()  # opens every secret: with another sealing key no work could be done
        self.writer = Writer(self.engine)
        self.client = GuardedClient(allow_private=settings.allow_private_addresses)
        self.adapters = build_adapters(self.client, settings)
        self.ingest = Ingest(
            engine=self.read_engine,
            writer=self.writer,
            config=self.config,
            adapters=self.adapters,
            clock=self.clock,
            wall=self.wall,
        )
        self.timers = Timers(
            engine=self.read_engine,
            writer=self.writer,
            config=self.config,
            adapters=self.adapters,
            runner=self.ingest.runner,
            processor=self.ingest.processor,
            clock=self.clock,
            wall=self.wall,
            interval_s=settings.timer_interval_s,
        )
        self.recovery = Recovery(
            engine=self.read_engine,
            writer=self.writer,
            config=self.config,
            adapters=self.adapters,
            ingest=self.ingest,
            timers=self.timers,
            clock=self.clock,
            wall=self.wall,
            interval_s=settings.recovery_interval_s,
        )
        self.delivery = Delivery(self.read_engine, self.writer, self.config, self.client, settings)
        self.services = Services(
            settings=settings,
            clock=self.clock,
            config=self.config,
            writer=self.writer,
            engine=self.read_engine,
            ingest=self.ingest,
            delivery=self.delivery,
            sealer=self.sealer,
        )
        self.web = build_web(self.services)
        self.broken = asyncio.Event()
        """A loop has ended that never should: what is left of the hub would take things in and do nothing with them."""
        self._loops: list[asyncio.Task[None]] = []
        self._delivering: list[asyncio.Task[None]] = []

    async def start(self, *, timers: bool = True) -> None:
        """Begin to work: inbox, delivery and, unless a test moves time itself, timers and recovery."""
        loops = [self.ingest.processor.run()]
        if timers:
            loops += [self.timers.run(), self.recovery.run()]
        self._loops = [asyncio.create_task(self._guard(loop)) for loop in loops]
        self._delivering = [asyncio.create_task(self._guard(self.delivery.run()))]

    async def stop(self) -> None:
        """Finish what is in hand, give back what is not, close the database."""
        self.delivery.stop()
        await _end(self._loops)
        if self._delivering:  # a cancelled turn would leave what it has just taken on lease
            await asyncio.wait(self._delivering, timeout=_DELIVERY_ENDS_WITHIN_S)
        await _end(self._delivering)
        await self.client.close()
        await asyncio.to_thread(self.writer.close)
        self.engine.dispose()

    @contextlib.asynccontextmanager
    async def running(self, *, timers: bool = True) -> AsyncIterator["Hub"]:
        """Start and stop around a block."""
        await self.start(timers=timers)
        try:
            yield self
        finally:
            await self.stop()

    async def _guard(self, loop: Coroutine[None, None, None]) -> None:
        try:
            await loop
        except Exception:
            log.exception("loop.failed")
            self.broken.set()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def configure_logging(settings: Settings) -> None:
    """As the operator wants it."""
    configure_logs(level=settings.log_level, as_json=settings.log_json)


def serve(settings: Settings) -> int:
    """Run until SIGINT or SIGTERM; returns the exit code."""
    configure_logging(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


class _Server(uvicorn.Server):
    """uvicorn that says when it listens, ends live pages first, and has no signal to raise again after a stop."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        log.info("hub.started", address=f"http://{host}:{port}")

    # pyrefly: ignore[missing-override-decorator]
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.delivery.end_streams()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    # pyrefly: ignore[missing-override-decorator]
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def _spare_the_collector() -> None:
    """What is alive after the start stays: the collector need not walk through it again and again under load."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def server_config(app: Starlette, settings: Settings) -> uvicorn.Config:
    """How the hub's doors are served; whom to believe about client addresses is said here, never by the environment."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=doorstep(settings.request_timeout_s),
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        forwarded_allow_ips=[address.strip() for address in settings.trusted_proxies.split(",") if address.strip()],
        timeout_graceful_shutdown=2,
    )


async def _serve(settings: Settings) -> int:
    """Everything that can be wrong with the settings is found before the first loop runs."""
    sockets = listen_on(settings.host, settings.port)
    try:
        hub = Hub(settings)
        async with hub.running():
            _spare_the_collector()
            server = _Server(server_config(hub.web, settings), hub)
            watch = asyncio.create_task(_stop_when_broken(hub, server))
            await server.serve(sockets)
            await _end([watch])
    finally:
        close_all(sockets)
    log.info("hub.stopped", broken=hub.broken.is_set())
    return 1 if hub.broken.is_set() else 0


async def _stop_when_broken(hub: Hub, server: uvicorn.Server) -> None:
    """So that whoever keeps the process running starts it anew; nothing is lost by that."""
    await hub.broken.wait()
    server.should_exit = True
