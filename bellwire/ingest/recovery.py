"""After an outage: ask the stores for what they told nobody (spec: stores 1.8 `recover`, 2.2, 3.2)."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import sqlalchemy as sa
import structlog

from bellwire.db.apps import load_health, note_recovered
from bellwire.db.config import ConfigCache
from bellwire.db.purchases import schedule_checks
from bellwire.db.writer import Writer
from bellwire.ingest.credentials import note_credentials
from bellwire.ingest.jobs import EveryJob, Jobs
from bellwire.ingest.service import Ingest
from bellwire.ingest.timers import Timers
from bellwire.kit.clock import Clock
from bellwire.model.enums import CredentialStatus, Store
from bellwire.model.projects import DAY_MS, App
from bellwire.stores.base import (
    CredentialError,
    PurchaseGone,
    PurchaseNotFound,
    RecoveredNotification,
    StoreAdapter,
    StoreError,
    StoreUnavailable,
)

log = structlog.get_logger()

_AGAIN_S = 60.0
_OVERLAP_MS = 3_600_000
"""Looked at again before the last run's end: stores file messages late. Deduplication makes it free."""
_GAP_MS = DAY_MS + _OVERLAP_MS
"""Silence of the hub from which on every running chain is pulled: shorter ones the stores' own retries cover."""


class Recovery:
    """Runs once at start and then at an interval. Of several processes each asks about the apps that are its own."""

    def __init__(
        self,
        *,
        engine: sa.Engine,
        writer: Writer,
        config: ConfigCache,
        adapters: Mapping[Store, StoreAdapter],
        ingest: Ingest,
        timers: Timers,
        clock: Clock,
        wall: Clock,
        interval_s: float,
        jobs: Jobs | None = None,
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._config = config
        self._adapters = adapters
        self._ingest = ingest
        self._timers = timers
        self._clock = clock
        self._wall = wall
        self._interval_s = interval_s
        self._jobs = jobs or EveryJob()
        self._due_s: dict[str, float] = {}

    async def run(self) -> None:
        """Recover until cancelled: each app that is this process's, when it becomes so and then at the interval. A store
        that is down is asked again in a minute."""
        while True:
            for app in list(self._config.current().apps.values()):
                if not self._jobs.mine(app.id):
                    self._due_s.pop(app.id, None)
                elif time.monotonic() >= self._due_s.get(app.id, 0.0):
                    wait_s = self._interval_s if await self._try(app) else _AGAIN_S
                    self._due_s[app.id] = time.monotonic() + min(wait_s, self._interval_s)
            await asyncio.sleep(min(_AGAIN_S, self._interval_s))

    async def _try(self, app: App) -> bool:
        try:
            await self.recover(app)
        except StoreError as error:
            log.warning("recovery.failed", app_id=app.id, store=app.store, reason=str(error))
        except Exception:
            log.exception("recovery.failed", app_id=app.id)
        else:
            return True
        return False

    async def recover(self, app: App) -> int:
        """Everything of one app since the last complete run; returns how many messages and chains that were."""
        adapter = self._adapters.get(app.store)
        if adapter is None:
            return 0
        until = self._clock.now_ms()
        known = await asyncio.to_thread(self._recovered_until, app)
        since = (app.created_at_ms if known is None else known) - _OVERLAP_MS
        count = 0
        try:
            async for found in adapter.recover(app, min(since, until), until):
                count += 1
                if isinstance(found, RecoveredNotification):
                    answer = await self._ingest.receive_notification(app, {}, found.raw)
                    if answer.status >= 500:
                        raise StoreUnavailable("a missed notification could not be taken in")
                else:
                    await self._refresh(app, found.store_key, found.hints)
        except CredentialError as error:
            await note_credentials(self._writer, app, CredentialStatus.INVALID, str(error), self._wall.now_ms())
            raise
        gap = known is not None and until - known > _GAP_MS
        await self._writer.write(_complete, (app, until, gap))
        log.info("recovery.done", app_id=app.id, store=app.store, found=count, gap=gap)
        return count

    async def _refresh(self, app: App, store_key: str, hints: Mapping[str, str]) -> None:
        chain = await self._ingest.processor.finder.find(app.id, store_key)
        if chain is None and not app.track_new_purchases:
            return
        try:
            snapshots = await self._adapters[app.store].pull(app, store_key, known=chain, hints=hints)
        except (PurchaseGone, PurchaseNotFound):
            return
        await self._timers.apply_pulled(app, snapshots, create=app.track_new_purchases)

    def _recovered_until(self, app: App) -> int | None:
        with self._engine.connect() as connection:
            health = load_health(connection, app.project_id, app.id)
        return None if health is None else health.recovered_until_ms


def _complete(connection: sa.Connection, runs: Sequence[tuple[App, int, bool]]) -> list[None]:
    for app, until_ms, gap in runs:
        note_recovered(connection, app.project_id, app.id, until_ms=until_ms)
        if gap:
            schedule_checks(connection, app.id, until_ms)
    return [None] * len(runs)
