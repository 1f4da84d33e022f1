"""Refresh timers: no store is trusted to notify (spec: stores 1.5). A timer pulls; what emits is the engine.

Of several processes each looks after the apps that are its own. Should two ask about one purchase, both hear the same.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence

import sqlalchemy as sa
import structlog

from bellwire.db.config import ConfigCache
from bellwire.db.postgres import is_away
from bellwire.db.purchases import load_due_chains, postpone_checks
from bellwire.db.writer import Writer
from bellwire.ingest.credentials import note_accepted, note_credentials
from bellwire.ingest.jobs import EveryJob, Jobs
from bellwire.ingest.processor import Processor
from bellwire.ingest.units import Applied, ApplyFacts, PullFailed, UnitRunner
from bellwire.kit.clock import Clock
from bellwire.model.enums import CredentialStatus, Store
from bellwire.model.facts import Snapshot
from bellwire.model.projects import DAY_MS, App
from bellwire.model.purchases import Chain
from bellwire.stores.base import (
    CredentialError,
    PurchaseGone,
    PurchaseNotFound,
    StoreAdapter,
    StoreError,
)

log = structlog.get_logger()

_BATCH = 200
_AT_ONCE = 8
"""Calls for one app at a time."""
_ENOUGH_FAILURES = 3


class Timers:
    """Looks for chains whose check is due and asks their store."""

    def __init__(
        self,
        *,
        engine: sa.Engine,
        writer: Writer,
        config: ConfigCache,
        adapters: Mapping[Store, StoreAdapter],
        runner: UnitRunner,
        processor: Processor,
        clock: Clock,
        wall: Clock,
        interval_s: float,
        jobs: Jobs | None = None,
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._config = config
        self._adapters = adapters
        self._runner = runner
        self._processor = processor
        self._clock = clock
        self._wall = wall
        self._interval_s = interval_s
        self._jobs = jobs or EveryJob()

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            try:
                full = await self.check_due() == _BATCH
            except Exception as error:
                if is_away(error):
                    log.warning("timers.wait", why="the database is away")
                else:
                    log.exception("timers.failed")
                full = False
            if not full:
                await asyncio.sleep(self._interval_s)

    async def check_due(self) -> int:
        """Pull every chain that is due now, at most one batch; returns how many."""
        chains = await asyncio.to_thread(self._load_due)
        by_app: defaultdict[str, list[Chain]] = defaultdict(list)
        for chain in chains:
            by_app[chain.app_id or ""].append(chain)
        await asyncio.gather(*(self._check_all(app_id, due) for app_id, due in by_app.items()))
        return len(chains)

    async def _check_all(self, app_id: str, chains: Sequence[Chain]) -> None:
        """The due chains of one app. Once its store has failed some times running, the rest is not asked for: time-outs
        of one store must not put off what is due at the others."""
        app = self._config.current().apps.get(app_id)
        if app is None or app.store not in self._adapters:
            log.warning("timer.nobody_to_ask", app_id=app_id, chains=len(chains))
            await self._writer.write(_postpone, {chain.id: self._clock.now_ms() + DAY_MS for chain in chains})
            return
        left = list(reversed(chains))
        failures = 0

        async def check() -> None:
            nonlocal failures
            while left:
                chain = left.pop()
                if failures >= _ENOUGH_FAILURES:
                    await self._failed(app, chain, gone=False)
                else:
                    failures = 0 if await self._check(app, chain) else failures + 1

        await asyncio.gather(*(check() for _ in range(_AT_ONCE)))

    def _load_due(self) -> list[Chain]:
        left = [app_id for app_id in self._config.current().apps if not self._jobs.mine(app_id)]
        with self._engine.connect() as connection:
            return load_due_chains(connection, self._clock.now_ms(), _BATCH, left_to_others=left)

    async def _check(self, app: App, chain: Chain) -> bool:
        """Ask about one chain; False when the store did not answer."""
        try:
            snapshots = await self._adapters[app.store].pull(app, chain.store_key, known=chain, hints={})
            await note_accepted(self._writer, app, self._wall.now_ms())
            await self.apply_pulled(app, snapshots)
        except (PurchaseGone, PurchaseNotFound):
            await self._failed(app, chain, gone=True)
        except CredentialError as error:
            await note_credentials(self._writer, app, CredentialStatus.INVALID, str(error), self._wall.now_ms())
            await self._failed(app, chain, gone=False)
            return False
        except StoreError as error:
            log.warning("timer.pull_failed", app_id=app.id, store=app.store, reason=str(error))
            await self._failed(app, chain, gone=False)
            return False
        except Exception:
            log.exception(
                "timer.failed", app_id=app.id, chain_id=chain.id
            )  # backs off as well, or it comes first always
            await self._failed(app, chain, gone=False)
        return True

    async def apply_pulled(self, app: App, snapshots: list[Snapshot], *, create: bool = False) -> Applied | None:
        """Apply what a store answered without having been asked by a message."""
        result = await self._writer.write(
            self._runner.handle,
            ApplyFacts(
                app=app,
                snapshots=tuple(snapshots),
                create=create,
                received_ms=self._clock.now_ms(),
                received_wall_ms=self._wall.now_ms(),
                pulled=True,
            ),
        )
        self._processor.finish(app, snapshots)
        return result if isinstance(result, Applied) else None

    async def _failed(self, app: App, chain: Chain, *, gone: bool) -> None:
        key = (app.id, chain.environment.value, chain.store_key)
        await self._writer.write(self._runner.handle, PullFailed(app=app, key=key, gone=gone))


def _postpone(connection: sa.Connection, moments: Sequence[Mapping[int, int]]) -> list[None]:
    for at_ms_by_chain in moments:
        postpone_checks(connection, at_ms_by_chain)
    return [None] * len(moments)
