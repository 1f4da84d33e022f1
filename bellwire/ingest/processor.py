"""Working through notifications after they were answered: pull where needed, apply, acknowledge, try again later."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence

import msgspec
import sqlalchemy as sa
import structlog

from bellwire.db.apps import note_notification
from bellwire.db.config import ConfigCache
from bellwire.db.inbox import (
    FAILED,
    PROCESSED,
    RECEIVED,
    InboxOutcome,
    OpenEntry,
    load_open,
    put_off,
    record_outcomes,
)
from bellwire.db.postgres import is_away
from bellwire.db.writer import Writer
from bellwire.ingest import observed
from bellwire.ingest.credentials import note_accepted, note_credentials
from bellwire.ingest.finder import ChainFinder
from bellwire.ingest.finisher import Finisher
from bellwire.ingest.jobs import Jobs
from bellwire.ingest.lanes import Lanes
from bellwire.ingest.observed import Walk
from bellwire.ingest.units import Applied, ApplyFacts, UnitRunner
from bellwire.kit.clock import Clock
from bellwire.model.enums import CredentialStatus, Store
from bellwire.model.facts import Snapshot
from bellwire.model.projects import DAY_MS, App
from bellwire.model.purchases import Chain
from bellwire.observe import metrics, tracing
from bellwire.stores.base import (
    CredentialError,
    Notification,
    PaymentPending,
    PurchaseGone,
    PurchaseNotFound,
    Rejected,
    StoreAdapter,
    StoreError,
    StoreUnavailable,
)

log = structlog.get_logger()

AT_ONCE = 64
"""Notifications of one app that are worked on at the same time: an app whose store hangs holds up no other."""
HANDED_OVER_MS = 30_000
"""For so long a fresh notification is left to the process that received it; then whoever looks takes it."""
MAX_HELD = 5_000
"""Notifications in memory. What comes on top stays in the inbox until it is looked for."""
_HOLD_EVERY_S = 10.0
_POLL_S = 1.0
_POLL_LIMIT = 500
_BACKOFF_MS = (5_000, 30_000, 60_000, 300_000, 900_000, 3_600_000)
_GIVE_UP_AFTER = 40
"""Attempts, about a day and a half: then the entry is `failed`, kept, and the refresh timers go on asking."""
_EMBEDDED_AFTER = 3
"""Attempts after which a message that says enough by itself is applied although the store cannot be asked."""


class _Work(msgspec.Struct, frozen=True):
    app: App
    entry_id: int
    notification: Notification
    received_wall_ms: int
    attempts: int


class Processor:
    """Runs inside the process that received a message; whatever it leaves unfinished is found again in the inbox.

    Of several processes each looks there for what concerns the apps that are its own. A message that one holds is put off
    for the others as long as it holds it; should two work on it all the same, both hear the same of the store.
    """

    def __init__(
        self,
        *,
        engine: sa.Engine,
        writer: Writer,
        config: ConfigCache,
        adapters: Mapping[Store, StoreAdapter],
        runner: UnitRunner,
        clock: Clock,
        wall: Clock,
        jobs: Jobs,
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._config = config
        self._adapters = adapters
        self._runner = runner
        self._clock = clock
        self._wall = wall
        self._jobs = jobs
        self._running = False
        self._held: dict[int, float] = {}
        """Entries that are worked on, and since when (monotonic)."""
        self.finder = ChainFinder(engine)
        self._lanes: Lanes[_Work] = Lanes(self._do, at_once=AT_ONCE)
        self._finisher = Finisher(finder=self.finder, writer=writer, config=config, adapters=adapters, runner=runner)

    # ---- running

    async def run(self) -> None:
        """Work until cancelled. Starts with what an earlier process left open."""
        self._running = True
        alone = self._engine.dialect.name == "sqlite"
        ahead_ms = HANDED_OVER_MS if alone else 0  # nobody else can be at it
        next_hold_s = 0.0
        try:
            while True:
                try:
                    if not alone and time.monotonic() >= next_hold_s:
                        next_hold_s = time.monotonic() + _HOLD_EVERY_S
                        await self._hold_on()
                    if self._jobs.works:
                        await self.check_open(ahead_ms)
                    ahead_ms = 0
                except Exception as error:
                    if is_away(error):
                        log.warning("inbox.waits", why="the database is away")
                    else:
                        log.exception("inbox.check_failed")
                await asyncio.sleep(_POLL_S)
        finally:
            self._running = False
            await self._lanes.close()
            await self._finisher.close()
            self._held.clear()

    async def _hold_on(self) -> None:
        """Keep what takes long: not what has just begun, whose next try may soon be planned otherwise."""
        since_s = time.monotonic() - _HOLD_EVERY_S
        long = [entry_id for entry_id, began_s in self._held.items() if began_s <= since_s]
        if long:
            await self._writer.write(_hold, (long, self._wall.now_ms() + HANDED_OVER_MS))

    def offer(self, app: App, entry_id: int, notification: Notification, received_wall_ms: int) -> None:
        """A message that was just kept."""
        if len(self._held) < MAX_HELD:
            self._put(_Work(app, entry_id, notification, received_wall_ms, 0))

    async def settle(self) -> None:
        """Wait until everything offered so far is done."""
        while self._lanes.busy or self._finisher.busy:
            await self._lanes.idle()
            await self._finisher.idle()

    async def check_open(self, ahead_ms: int = 0) -> None:
        """Take up entries that are due for another try (in `ahead_ms`), or that a killed process left behind."""
        busy = frozenset(self._held)  # as of before the look: what it shows of these is old
        due_ms = self._wall.now_ms() + ahead_ms
        for entry in await asyncio.to_thread(self._load_open, due_ms, _POLL_LIMIT + len(busy)):
            if entry.id not in busy and len(self._held) < MAX_HELD:
                await self._resume(entry)

    def _load_open(self, due_ms: int, limit: int) -> list[OpenEntry]:
        left = [app_id for app_id in self._config.current().apps if not self._jobs.mine(app_id)]
        with self._engine.connect() as connection:
            return load_open(connection, due_ms, limit=limit, left_to_others=left)

    async def _resume(self, entry: OpenEntry) -> None:
        app = self._config.current().apps.get(entry.app_id)
        if app is None or app.store not in self._adapters:
            await self._conclude(entry.id, FAILED, "the app was removed")
            return
        try:
            notification = self._adapters[app.store].decode(app, entry.body)
        except Rejected as error:
            await self._conclude(entry.id, FAILED, error.reason)
        except Exception as error:
            log.exception("notification.failed", entry_id=entry.id, app_id=app.id)
            await self._later(app, entry.id, entry.attempts, f"unexpected: {type(error).__name__}")
        else:
            self._put(_Work(app, entry.id, notification, entry.received_at_ms, entry.attempts))

    def _put(self, work: _Work) -> None:
        if not self._running or work.entry_id in self._held:
            return
        self._held[work.entry_id] = time.monotonic()
        keys = [one.store_key for one in work.notification.snapshots] or list(work.notification.store_keys)
        self._lanes.put(work.app.id, keys[0] if keys else "", work)

    async def _do(self, work: _Work) -> None:
        try:
            await self._work(work)
        except Exception as error:
            if is_away(error):  # it stays in the inbox, and is taken up again when the database is there
                log.warning("notification.left", entry_id=work.entry_id, app_id=work.app.id)
                return
            log.exception("notification.failed", entry_id=work.entry_id, app_id=work.app.id)
            metrics.APPLIED.add(1, work.app.store, "failed")
            await self._later(work.app, work.entry_id, work.attempts, f"unexpected: {type(error).__name__}")
        finally:
            self._held.pop(work.entry_id, None)

    # ---- one notification

    async def _work(self, work: _Work) -> None:
        walk = Walk()
        result, event_ids = await self._tried(work, walk)
        observed.applied(
            work.app,
            walk,
            result,
            notification=work.notification,
            entry_id=work.entry_id,
            attempt=work.attempts + 1,
            kept_at_ms=work.received_wall_ms,
            event_ids=event_ids,
        )

    async def _tried(self, work: _Work, walk: Walk) -> tuple[str, Sequence[str]]:
        """What became of it, as the metric has it, and the events that came of it."""
        try:
            snapshots, pulled = await self._statements(work)
        except (PurchaseNotFound, PurchaseGone) as error:
            await self._conclude(work.entry_id, PROCESSED, str(error))
            return "settled", ()
        except PaymentPending:
            await self._conclude(work.entry_id, PROCESSED, "payment is pending")
            return "settled", ()
        except CredentialError as error:
            await note_credentials(self._writer, work.app, CredentialStatus.INVALID, str(error), self._wall.now_ms())
            await self._later(work.app, work.entry_id, work.attempts, str(error))
            return "postponed", ()
        except StoreUnavailable as error:
            await self._later(work.app, work.entry_id, work.attempts, str(error), error.retry_after_ms)
            return "postponed", ()
        walk.ended("pull" if pulled else "look")
        received_ms = self._clock.now_ms() - (self._wall.now_ms() - work.received_wall_ms)
        applied = await self._apply(
            ApplyFacts(
                app=work.app,
                snapshots=tuple(snapshots),
                create=work.app.track_new_purchases,
                received_ms=received_ms,
                received_wall_ms=work.received_wall_ms,
                pulled=pulled,
                inbox_id=work.entry_id,
                caused_by=tracing.entry_ref(work.entry_id, "apply") if tracing.on else None,
            )
        )
        walk.ended("commit")
        if not applied.unknown:
            self.finish(work.app, snapshots)
        return "unknown" if applied.unknown else "applied", applied.event_ids

    async def _statements(self, work: _Work) -> tuple[list[Snapshot], bool]:
        """What to apply: the embedded snapshot alone where it says enough, else what the store answers as well."""
        notification = work.notification
        embedded = list(notification.snapshots)
        adapter = self._adapters[work.app.store]
        wanted: dict[str, Chain | None] = {}
        for key in notification.store_keys:
            wanted[key] = await self.finder.find(work.app.id, key)
        for snapshot in embedded:
            chain = await self.finder.find(work.app.id, snapshot.store_key)
            if chain is None and not work.app.track_new_purchases:
                continue
            if reveals_a_gap(chain, snapshot):
                wanted.setdefault(snapshot.store_key, None)
        if not wanted:
            return embedded, False
        pulled: list[Snapshot] = []
        try:
            for key, known in wanted.items():
                pulled += await adapter.pull(work.app, key, known=known, hints=notification.hints)
        except (PurchaseNotFound, PurchaseGone):
            if embedded:  # it is signed by the store all the same
                return embedded, False
            raise
        except StoreError:
            if embedded and work.attempts >= _EMBEDDED_AFTER:
                return embedded, False
            raise
        await note_accepted(self._writer, work.app, self._wall.now_ms())
        return embedded + pulled, True

    async def _apply(self, unit: ApplyFacts) -> Applied:
        result = await self._writer.write(self._runner.handle, unit)
        if not isinstance(result, Applied):
            raise TypeError(f"facts answered {type(result).__name__}")
        return result

    async def _later(
        self, app: App, entry_id: int, attempts: int, reason: str, retry_after_ms: int | None = None
    ) -> None:
        now = self._wall.now_ms()
        if attempts >= _GIVE_UP_AFTER:
            await self._conclude(entry_id, FAILED, reason)
            return
        wait = _BACKOFF_MS[min(attempts, len(_BACKOFF_MS) - 1)]
        outcome = InboxOutcome(
            id=entry_id,
            status=RECEIVED,
            error=reason,
            next_attempt_at_ms=now + max(wait, min(retry_after_ms or 0, DAY_MS)),
        )
        log.warning("notification.postponed", app_id=app.id, reason=reason, attempts=attempts + 1)
        await self._writer.write(_record, outcome)

    async def _conclude(self, entry_id: int, status: str, error: str | None) -> None:
        now = self._wall.now_ms()
        await self._writer.write(_record, InboxOutcome(id=entry_id, status=status, error=error, processed_at_ms=now))

    async def note_test(self, app: App) -> None:
        """A store's test message counts as a sign of life."""
        await self._writer.write(_note_heard, (app, self._wall.now_ms()))

    def finish(self, app: App, snapshots: Sequence[Snapshot]) -> None:
        """Acknowledge purchases where the store wants it."""
        self._finisher.offer(app, snapshots)


def reveals_a_gap(chain: Chain | None, snapshot: Snapshot) -> bool:
    """Whether an embedded snapshot shows that periods before it are not known: the store's history is wanted first."""
    if snapshot.complete_history:
        return False
    if chain is None or not chain.periods:
        return True
    known = {period.period_key for period in chain.periods}
    latest = chain.periods[-1]
    for fact in snapshot.periods:
        if fact.period_key in known:
            continue
        if latest.expires_at_ms is None or fact.purchased_at_ms > latest.expires_at_ms + DAY_MS:
            return True
        if fact.purchased_at_ms < latest.purchased_at_ms:
            return True
    return False


def _record(connection: sa.Connection, outcomes: Sequence[InboxOutcome]) -> list[None]:
    record_outcomes(connection, outcomes)
    return [None] * len(outcomes)


def _hold(connection: sa.Connection, holds: Sequence[tuple[Collection[int], int]]) -> list[None]:
    for entry_ids, until_ms in holds:
        put_off(connection, entry_ids, until_ms)
    return [None] * len(holds)


def _note_heard(connection: sa.Connection, heard: Sequence[tuple[App, int]]) -> list[None]:
    for app, now_ms in heard:
        note_notification(connection, app.project_id, app.id, received_at_ms=now_ms)
    return [None] * len(heard)
