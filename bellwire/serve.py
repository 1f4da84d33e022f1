"""`bellwire serve` from its start to its end: what it listens on, how it stops, and with which exit code."""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import structlog
import uvicorn
import uvloop
from starlette.applications import Starlette

from bellwire.app import Hub, configure_logging
from bellwire.db.workers import Role
from bellwire.kit.buckets import Proxies
from bellwire.kit.doorstep import Doorkeeper, doorstep
from bellwire.kit.listening import close_all, listen_on
from bellwire.settings import Settings, SettingsError
from bellwire.web.operations import build_operations

log = structlog.get_logger()

REQUESTS_END_WITHIN_S = 5
"""How long a stop waits for requests in hand; SDKs and stores send again what is cut off then."""
_FILES = 65_536
_FILES_OF_OURS = 512
"""Left for the database, deliveries, stores and log files."""
_STOP_WITHIN_S = 20.0
"""Beyond the drain: then the process ends whatever still hangs. What it held comes back when its leases run out."""


def serve(settings: Settings, role: Role = Role.ALL) -> int:
    """Run until SIGINT or SIGTERM; returns the exit code."""
    configure_logging(settings)
    bound = _Bound()
    try:
        with _tracing(settings), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(settings, role, bound))
    finally:
        bound.lift()


@contextlib.contextmanager
def _tracing(settings: Settings) -> Iterator[None]:
    """Send spans where that is wanted. Raises SettingsError without the extra that it needs."""
    if not settings.otel:
        yield
        return
    try:
        from bellwire.observe.otel import Exporting
    except ImportError as error:
        raise SettingsError("BELLWIRE_OTEL needs the extra `otel`: install bellwire[otel]") from error
    exporting = Exporting()
    exporting.start()
    try:
        yield
    finally:
        exporting.stop()


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to others."""

    @contextlib.contextmanager
    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    def capture_signals(self) -> Iterator[None]:
        yield


class _Doors(_Server):
    """Says when it listens, and ends live pages first."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    # pyrefly: ignore[missing-override-decorator]
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        log.info("hub.started", address=f"http://{host}:{port}", role=self._hub.role.value)

    # pyrefly: ignore[missing-override-decorator]
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.delivery.end_streams()
        await super().shutdown(sockets)


class _Signals:
    """SIGTERM or SIGINT asks for a stop, SIGINT for one without delay; the same one again ends the process where it is.

    The other one as well does no harm: a Ctrl-C reaches a whole group of processes, whose head then sends its SIGTERM.
    """

    def __init__(self) -> None:
        self.came = asyncio.Event()
        self.in_a_hurry = asyncio.Event()
        self._seen: set[signal.Signals] = set()

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._note, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _note(self, number: signal.Signals) -> None:
        if number in self._seen:
            log.warning("hub.cut_off", signal=number.name)
            os._exit(128 + number)
        self._seen.add(number)
        self.came.set()
        if number is signal.SIGINT:
            self.in_a_hurry.set()


def server_config(app: Starlette, settings: Settings) -> uvicorn.Config:
    """How the hub's doors are served; whom to believe about client addresses is said here, never by the environment."""
    keeper = Doorkeeper(
        most=min(settings.max_connections, max(8, _open_files() - _FILES_OF_OURS)),
        most_per_client=settings.max_connections_per_address,
        proxies=Proxies(settings.trusted_proxies),
    )
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=doorstep(settings.request_timeout_s, keeper),
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        forwarded_allow_ips=[address.strip() for address in settings.trusted_proxies.split(",") if address.strip()],
        timeout_graceful_shutdown=REQUESTS_END_WITHIN_S,
    )


def _open_files() -> int:
    """How many this process may have open; as many as the system lets it, up to what makes sense."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return _FILES if soft == resource.RLIM_INFINITY else soft


async def _serve(settings: Settings, role: Role, bound: "_Bound") -> int:
    """Everything that can be wrong with the settings is found before the first loop runs."""
    sockets = listen_on(settings.host, settings.port)
    try:
        with _listening_for_operators(settings) as aside:
            hub = Hub(settings, role=role)
            web = hub.web if role.serves else build_operations(hub.services, public=True)
            signals = _Signals()
            with signals.heeded():
                async with _operations(hub, aside), hub.running():
                    spare_the_collector()
                    doors = _Doors(server_config(web, settings), hub)
                    watch = asyncio.create_task(_lead_out(hub, doors, signals, bound))
                    await doors.serve(sockets)
                    watch.cancel()
    finally:
        close_all(sockets)
    log.info("hub.stopped", broken=hub.broken.is_set())
    return 1 if hub.broken.is_set() else 0


@contextlib.contextmanager
def _listening_for_operators(settings: Settings) -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    if settings.metrics_port:
        sockets = listen_on(settings.metrics_host, settings.metrics_port)
    try:
        yield sockets
    finally:
        close_all(sockets)


@contextlib.asynccontextmanager
async def _operations(hub: Hub, sockets: list[socket.socket]) -> AsyncIterator[None]:
    """Metrics and health on an address of their own, where one is set: from before the start until after the stop."""
    if not sockets:
        yield
        return
    server = _Server(server_config(build_operations(hub.services), hub.settings))
    serving = asyncio.create_task(server.serve(sockets))
    host, port = sockets[0].getsockname()[:2]
    log.info("metrics.served", address=f"http://{host}:{port}/metrics")
    try:
        yield
    finally:
        server.should_exit = True
        await serving


async def _lead_out(hub: Hub, doors: uvicorn.Server, signals: _Signals, bound: "_Bound") -> None:
    """Begin the stop when somebody asks for it, or when a part has died: whoever keeps the process running then starts
    it anew, and nothing is lost by that."""
    asked, broken = asyncio.create_task(signals.came.wait()), asyncio.create_task(hub.broken.wait())
    try:
        await asyncio.wait({asked, broken}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
        broken.cancel()
    bound.set(hub.settings.drain_s + _STOP_WITHIN_S)
    hub.lead_out()
    log.info("hub.stopping", broken=hub.broken.is_set())
    if not hub.broken.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(signals.in_a_hurry.wait(), hub.settings.drain_s)
    doors.should_exit = True


class _Bound:
    """A stop that hangs, on a database that does not answer say, ends all the same."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def set(self, within_s: float) -> None:
        """From now on the process has so long."""

        def end() -> None:
            log.error("hub.stop_overdue", after_s=within_s)
            os._exit(1)

        self._timer = threading.Timer(within_s, end)
        self._timer.daemon = True
        self._timer.start()

    def lift(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def spare_the_collector() -> None:
    """What is alive after the start stays: the collector need not walk through it again and again under load."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
