"""Wiring: one process with doors, timers, delivery and dashboard on one database (architecture D1)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import sqlalchemy as sa
import structlog

from bellwire.db.aging import Policy
from bellwire.db.config import Config, ConfigCache
from bellwire.db.engine import claim_file, open_engine, reader
from bellwire.db.migrate import upgrade_at_start
from bellwire.db.notify import Audience, Listener, Topic, with_audience
from bellwire.db.partitions import prepare
from bellwire.db.postgres import DatabaseUnusable, check_server
from bellwire.db.presence import Presence
from bellwire.db.retention import Retention
from bellwire.db.secrets import SealBroken, Sealer
from bellwire.db.workers import Role
from bellwire.db.writer import Writer
from bellwire.delivery.alerts.service import Alerts
from bellwire.delivery.service import Delivery
from bellwire.ingest.recovery import Recovery
from bellwire.ingest.service import Ingest
from bellwire.ingest.store_calls import TimedCaller
from bellwire.ingest.timers import Timers
from bellwire.kit.clock import Clock, SharedClock, SystemClock
from bellwire.kit.http import GuardedClient
from bellwire.kit.logs import configure_logs
from bellwire.model.enums import Store
from bellwire.settings import Settings, make_data_dir
from bellwire.stores.apple import AppleAdapter
from bellwire.stores.base import HTTPCaller, StoreAdapter
from bellwire.stores.google import GoogleAdapter
from bellwire.web.app import build_web
from bellwire.web.health import Health
from bellwire.web.services import Services

log = structlog.get_logger()

_DELIVERY_ENDS_WITHIN_S = 10.0
_READS_END_WITHIN_S = 2.0
_LOOK_EVERY_S = 1.0
"""How often the configuration is looked at although nobody told of a change."""


def build_adapters(client: HTTPCaller, settings: Settings) -> dict[Store, StoreAdapter]:
    """One adapter for each store that this build knows."""
    apple = AppleAdapter(TimedCaller(client, Store.APP_STORE), allow_test_roots=settings.allow_test_roots)
    google = GoogleAdapter(TimedCaller(client, Store.PLAY_STORE), allow_test_roots=settings.allow_test_roots)
    return {Store.APP_STORE: apple, Store.MAC_APP_STORE: apple, Store.PLAY_STORE: google}


def domain_clock(settings: Settings) -> Clock:
    """The clock that purchases live by; a virtual one only in front of the simulator."""
    if settings.dangerous_clock_file:
        return SharedClock(Path(settings.dangerous_clock_file))
    return SystemClock()


class Hub:
    """Everything that runs in one process; `start` inside a running event loop, `stop` returns what it holds."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None, role: Role = Role.ALL) -> None:
        make_data_dir(settings.data_dir)
        self.settings = settings
        self.role = role
        self.clock = domain_clock(settings) if clock is None else clock
        self.wall = SystemClock()
        self.sealer = Sealer.open_or_create(settings.data_dir, settings.secret_key, settings.secret_keys_old)
        self.engine: sa.Engine = open_engine(
            settings.resolved_database_url(),
            connections=settings.database_connections,
            application=f"bellwire {role}",
        )
        alone = self.engine.dialect.name == "sqlite"
        if alone and role is not Role.ALL:
            raise DatabaseUnusable(f"a process with the role {role} needs PostgreSQL: set BELLWIRE_DATABASE_URL")
        self._claim = claim_file(self.engine)
        check_server(self.engine)
        upgrade_at_start(self.engine)
        with contextlib.suppress(sa.exc.OperationalError):  # somebody is at the table; rows find a place without it
            prepare(self.engine, self.wall.now_ms())
        self.read_engine = reader(self.engine)
        self.config = ConfigCache(self.engine, self.sealer, followed=not alone)
        _refuse_another_key(self.config.current())
        audience = Audience()
        self.writer = Writer(with_audience(self.engine, audience))
        self.presence = Presence(self.writer, role, self.wall, audience, alone=alone)
        self.listener = None if alone else Listener(self.engine, audience, self._hear, each_round=self._look_around)
        self.client = GuardedClient(allow_private=settings.allow_private_addresses, own_port=settings.port)
        self.adapters = build_adapters(self.client, settings)
        self.ingest = Ingest(
            engine=self.read_engine,
            writer=self.writer,
            config=self.config,
            adapters=self.adapters,
            clock=self.clock,
            wall=self.wall,
            jobs=self.presence,
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
            jobs=self.presence,
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
            jobs=self.presence,
        )
        self.retention = Retention(
            self.engine,
            self.writer,
            self.wall,
            Policy.of_days(attempts=settings.attempts_kept_days, bodies=settings.inbox_bodies_kept_days),
        )
        self.health = Health(self.engine, self.writer)
        self.delivery = Delivery(
            self.read_engine,
            self.writer,
            self.config,
            self.client,
            settings,
            workers=lambda: self.presence.working,
        )
        self.alerts = Alerts(self.read_engine, self.writer, self.config, self.sealer, self.client, settings)
        self.services = Services(
            settings=settings,
            clock=self.clock,
            config=self.config,
            writer=self.writer,
            engine=self.read_engine,
            ingest=self.ingest,
            delivery=self.delivery,
            sealer=self.sealer,
            health=self.health,
        )
        self.web = build_web(self.services)
        self.broken = asyncio.Event()
        """A loop has ended that never should: what is left of the hub would take things in and do nothing with them."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next_look_s = 0.0
        self._loops: list[asyncio.Task[None]] = []
        self._delivering: list[asyncio.Task[None]] = []

    async def start(self, *, timers: bool = True) -> None:
        """Begin to work: inbox, delivery and, unless a test moves time itself, timers and recovery."""
        self._loop = asyncio.get_running_loop()
        await self.presence.start()
        loops = [self.presence.run, self.ingest.processor.run]
        if timers and self.role.works:
            loops += [self.timers.run, self.recovery.run, self.alerts.run, self.retention.run]
        self._loops = [asyncio.create_task(self._guard(loop)) for loop in loops]
        if self.role.works:
            self._delivering = [asyncio.create_task(self._guard(self.delivery.run))]
        if self.listener is not None:
            self.listener.start()
            self.delivery.on_attempts(self.listener.tell_attempts)

    def lead_out(self) -> None:
        """Say that the hub is not ready any more and take no more deliveries: rows that are held go back at once, and
        what is on the wire may end. Doors are served as before until `stop`."""
        self.health.stopping = True
        self.delivery.stop()

    async def stop(self) -> None:
        """Finish what is in hand, give back what is not, close the database."""
        self.lead_out()
        await _end(self._loops)
        if self._delivering:  # a cancelled turn would leave what it has just taken on lease
            await asyncio.wait(self._delivering, timeout=_DELIVERY_ENDS_WITHIN_S)
        await _end(self._delivering)
        await self.client.close()
        if self.listener is not None:
            await asyncio.to_thread(self.listener.stop)
        await self.presence.stop()
        await asyncio.to_thread(self.writer.close)
        self.health.close()
        await self._all_returned()
        self.engine.dispose()
        if self._claim is not None:
            self._claim.release()

    @contextlib.asynccontextmanager
    async def running(self, *, timers: bool = True) -> AsyncIterator["Hub"]:
        """Start and stop around a block."""
        await self.start(timers=timers)
        try:
            yield self
        finally:
            await self.stop()

    def _hear(self, topic: Topic, number: int) -> None:
        """What another process told, on the listener's thread."""
        if topic is Topic.CONFIG:
            self.config.follow()
        if self._loop is None or self._loop.is_closed():
            return
        if topic is Topic.OUTBOX:
            self._loop.call_soon_threadsafe(self.delivery.look_now)
        elif topic is Topic.ATTEMPTS:
            self._loop.call_soon_threadsafe(self.delivery.tell, number)

    def _look_around(self) -> None:
        """What is not told, or was not heard: on the listener's thread."""
        now_s = time.monotonic()
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + _LOOK_EVERY_S
            self.config.follow()

    async def _all_returned(self) -> None:
        """Wait a moment for threads that still read: what they give back to a closed pool nobody would close."""
        pool = self.engine.pool
        if isinstance(pool, sa.QueuePool):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_READS_END_WITHIN_S):
                    while pool.checkedout():  # noqa: ASYNC110 - nobody tells
                        await asyncio.sleep(0.01)

    async def _guard(self, loop: Callable[[], Awaitable[None]]) -> None:
        try:
            await loop()
        except Exception:
            log.exception("loop.failed")
            self.health.broken = True
            self.broken.set()


def _refuse_another_key(config: Config) -> None:
    """One broken seal is that row's trouble; where none opens, the key is another one and no work could be done."""
    broken = config.unreadable()
    if broken and len(broken) == len(config.apps) + len(config.integrations):
        raise SealBroken(broken[0].unreadable)
    config.log_unreadable()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def configure_logging(settings: Settings) -> None:
    """As the operator wants it."""
    configure_logs(level=settings.log_level, as_json=settings.log_json)
