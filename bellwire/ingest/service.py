"""What doors call: notifications in, receipts in, customers asked for. Every change ends in a unit of work."""

import asyncio
import hashlib
import weakref
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec
import sqlalchemy as sa
import structlog

from bellwire.db.config import ConfigCache
from bellwire.db.customers import find_customer_ids, load_customers
from bellwire.db.inbox import IGNORED_TYPE, PROCESSED, RECEIVED, REJECTED, InboxEntry, append_entries
from bellwire.db.purchases import load_chains_of
from bellwire.db.writer import Writer
from bellwire.engine.attributes import AttributeChange, AttributeError
from bellwire.engine.identity import InvalidAppUserId, check_app_user_id
from bellwire.ingest import observed
from bellwire.ingest.calls import (
    CustomerView,
    IngestError,
    NotificationAnswer,
    ReceiptCall,
    ReceiptResult,
    Visit,
)
from bellwire.ingest.credentials import note_accepted, note_credentials
from bellwire.ingest.finisher import kind_of
from bellwire.ingest.jobs import EveryJob, Jobs
from bellwire.ingest.observed import Walk
from bellwire.ingest.processor import HANDED_OVER_MS, Processor
from bellwire.ingest.units import ApplyReceipt, Identify, SeeCustomer, Seen, Unit, UnitRunner
from bellwire.kit.clock import Clock
from bellwire.kit.ids import new_row_id
from bellwire.model.enums import CredentialStatus, ProductType, Store
from bellwire.model.facts import Snapshot
from bellwire.model.projects import App
from bellwire.observe import tracing
from bellwire.observe.tracing import Ref
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

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode

_REJECTED_BODY_LIMIT = 4096
_REJECTED_PER_MINUTE = 60
_REFUSALS = {7651: "pending", 7103: "refused", 7107: "credentials", 7234: "credentials"}
"""What the codes of a receipt's errors mean for its metric; all others say that the store could not be asked."""
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})


class Ingest:
    """One per process. `engine` is for reading only; changes go through `writer`."""

    def __init__(
        self,
        *,
        engine: sa.Engine,
        writer: Writer,
        config: ConfigCache,
        adapters: Mapping[Store, StoreAdapter],
        clock: Clock,
        wall: Clock,
        jobs: Jobs | None = None,
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._config = config
        self._adapters = adapters
        self._clock = clock
        self._wall = wall
        self.runner = UnitRunner(config, clock, wall)
        self._receipt_locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._rejected: dict[str, tuple[int, int]] = {}
        self.processor = Processor(
            engine=engine,
            writer=writer,
            config=config,
            adapters=adapters,
            runner=self.runner,
            clock=clock,
            wall=wall,
            jobs=jobs or EveryJob(),
        )

    # ---- notifications

    async def receive_notification(self, app: App, headers: Mapping[str, str], raw: bytes) -> NotificationAnswer:
        """Verify, keep, answer; the work comes after (spec: stores 1.2). `headers` keys are lower case."""
        adapter = self._adapters[app.store]
        walk = Walk()
        try:
            await adapter.verify(app, headers, raw, now_ms=self._clock.now_ms())
            notification = adapter.decode(app, raw)
        except Rejected as error:
            await self._keep_rejected(app, raw, error.reason)
            observed.received(app, walk, "rejected", reason=error.reason)
            return NotificationAnswer(status=error.status, body={"error": error.reason})
        except StoreUnavailable as error:
            observed.received(app, walk, "unverifiable", reason=str(error))
            return NotificationAnswer(status=503, body={"error": "verification is not possible right now"})
        walk.ended("verify")
        entry = self._entry(app, headers, raw, notification)
        fresh = await self._writer.write(_append, entry)
        walk.ended("commit")
        observed.received(app, walk, "received" if fresh else "duplicate", notification=notification, entry_id=entry.id)
        if not fresh:
            return NotificationAnswer(status=200, body={"status": "duplicate"})
        if entry.status == RECEIVED:
            self.processor.offer(app, entry.id, notification, entry.received_at_ms)
        elif notification.is_test:
            await self.processor.note_test(app)
        return NotificationAnswer(status=200, body={"status": "ok"})

    def _entry(self, app: App, headers: Mapping[str, str], raw: bytes, notification: Notification) -> InboxEntry:
        now = self._wall.now_ms()
        idle = not notification.snapshots and not notification.store_keys
        status = RECEIVED
        if notification.ignored is not None or (idle and not notification.is_test):
            status = IGNORED_TYPE
        elif notification.is_test:
            status = PROCESSED
        kept = {name: "***" if name in _SECRET_HEADERS else value for name, value in headers.items()}
        return InboxEntry(
            id=new_row_id(),
            project_id=app.project_id,
            app_id=app.id,
            store=app.store,
            kind="notification",
            dedup_key=notification.dedup_key,
            type=notification.type,
            subtype=notification.subtype,
            environment=notification.environment,
            store_key=_first_key(notification),
            occurred_at_ms=notification.occurred_at_ms,
            received_at_ms=now,
            body=raw,
            headers=_encode(kept).decode(),
            status=status,
            error=notification.ignored,
            next_attempt_at_ms=now + HANDED_OVER_MS if status == RECEIVED else None,
            processed_at_ms=None if status == RECEIVED else now,
        )

    async def _keep_rejected(self, app: App, raw: bytes, reason: str) -> None:
        """For the operator's eyes, under a random key that no genuine message can have; bounded in size and number."""
        minute = self._wall.now_ms() // 60_000
        since, count = self._rejected.get(app.id, (minute, 0))
        count = count + 1 if since == minute else 1
        self._rejected[app.id] = (minute, count)
        if count > _REJECTED_PER_MINUTE:
            return
        entry_id = new_row_id()
        now = self._wall.now_ms()
        await self._writer.write(
            _append,
            InboxEntry(
                id=entry_id,
                project_id=app.project_id,
                app_id=app.id,
                store=app.store,
                kind="notification",
                dedup_key=f"rejected:{entry_id}",
                received_at_ms=now,
                body=raw[:_REJECTED_BODY_LIMIT],
                status=REJECTED,
                error=reason,
                processed_at_ms=now,
            ),
        )

    # ---- receipts

    async def post_receipt(self, call: ReceiptCall) -> ReceiptResult:
        """Prove a receipt with its store and apply it. Raises IngestError.

        The same token posted twice at once is worked through one after the other; a repeat changes nothing.
        """
        _check_id(call.app_user_id)
        app = self._app(call)
        walk, ref = Walk(), tracing.fresh_ref()
        try:
            result, event_ids = await self._post(app, call, walk, ref)
        except IngestError as error:
            observed.receipt(app, walk, _REFUSALS.get(error.code, "unavailable"), ref=ref)
            raise
        observed.receipt(app, walk, "applied", ref=ref, event_ids=event_ids)
        return result

    async def _post(
        self, app: App, call: ReceiptCall, walk: Walk, ref: Ref | None
    ) -> tuple[ReceiptResult, Sequence[str]]:
        token = hashlib.sha256(f"{app.id}\0{call.posted.fetch_token}".encode()).hexdigest()
        lock = self._receipt_locks.setdefault(token, asyncio.Lock())
        async with lock:
            received_ms, received_wall_ms = self._clock.now_ms(), self._wall.now_ms()
            snapshots = await self._prove(app, call)
            walk.ended("prove")
            await note_accepted(self._writer, app, received_wall_ms)
            seen = await self._seen(
                ApplyReceipt(
                    app=app,
                    call=call,
                    snapshots=tuple(snapshots),
                    received_ms=received_ms,
                    received_wall_ms=received_wall_ms,
                    caused_by=ref,
                )
            )
            walk.ended("commit")
        catalogue = self._config.current().catalogue(app.project_id)
        self.processor.finish(app, snapshots)
        pending = snapshots and all(snapshot.pending for snapshot in snapshots)
        if pending:
            raise IngestError(400, 7651, "The payment of this purchase is pending; it counts once the store has it.")
        consumable = {
            period.product_id: kind is ProductType.CONSUMABLE
            for snapshot in snapshots
            if snapshot.product_type is not ProductType.SUBSCRIPTION
            for period in snapshot.periods
            if (kind := kind_of(snapshot, catalogue)) is not ProductType.ONE_TIME
        }
        event_ids = () if seen.applied is None else seen.applied.event_ids
        result = ReceiptResult(view=seen.view, attribute_errors=seen.attribute_errors, consumable_products=consumable)
        return result, event_ids

    def _app(self, call: ReceiptCall) -> App:
        app = self._config.current().apps.get(call.app_id)
        if app is None or app.project_id != call.project_id:
            raise IngestError(400, 7226, "There is no app for this receipt in the project.")
        if app.unreadable:
            raise IngestError(503, 7110, "This app's credentials cannot be opened; its page says why.")
        return app

    async def _prove(self, app: App, call: ReceiptCall) -> list[Snapshot]:
        """Ask the store. Only a definite 'invalid' is a 4xx: SDKs drop the purchase on those (spec: api 0, rule 4)."""
        google = app.store is Store.PLAY_STORE
        adapter = self._adapters[app.store]
        try:
            try:
                return await adapter.verify_receipt(app, call.posted)
            except PaymentPending:
                # Whose it is must be kept: SDKs do not post it again, the store tells when it is paid (api 1.5, 7651).
                return await adapter.pull(app, call.posted.fetch_token, known=None, hints={})
        except (PurchaseNotFound, PurchaseGone, Rejected) as error:
            raise IngestError(400, 7103, f"The store does not confirm this purchase: {error}") from error
        except CredentialError as error:
            await note_credentials(self._writer, app, CredentialStatus.INVALID, str(error), self._wall.now_ms())
            code = 7107 if google else 7234
            raise IngestError(500, code, "The store refuses the hub's credentials for this app.") from error
        except StoreUnavailable as error:
            after = None if error.retry_after_ms is None else max(1, error.retry_after_ms // 1000)
            code = 7231 if google else 7101
            raise IngestError(503, code, "The store cannot be asked right now; try again.", after) from error
        except StoreError as error:
            raise IngestError(503, 7101, f"The store gave no usable answer: {error}") from error

    # ---- customers

    async def get_customer(self, project_id: str, app_user_id: str, visit: Visit | None) -> CustomerView:
        """Get or create. A server's read of a known customer (`visit` None) writes nothing."""
        _check_id(app_user_id)
        if visit is None:
            view = await asyncio.to_thread(self._read, project_id, app_user_id)
            if view is not None:
                return view
        unit = SeeCustomer(project_id=project_id, app_user_id=app_user_id, visit=visit)
        return (await self._seen(unit)).view

    async def set_attributes(
        self,
        project_id: str,
        app_user_id: str,
        changes: Mapping[str, AttributeChange],
        visit: Visit | None,
        *,
        strict_reserved: bool = False,
    ) -> tuple[CustomerView, list[AttributeError]]:
        """Save good keys, list bad ones. Dispatches nothing."""
        _check_id(app_user_id)
        seen = await self._seen(
            SeeCustomer(
                project_id=project_id,
                app_user_id=app_user_id,
                visit=visit,
                changes=dict(changes),
                strict_reserved=strict_reserved,
            )
        )
        return seen.view, seen.attribute_errors

    async def identify(
        self, project_id: str, app_user_id: str, new_app_user_id: str, visit: Visit | None
    ) -> CustomerView:
        """Log in. `created` says whether the new id was unknown."""
        _check_id(app_user_id)
        _check_id(new_app_user_id)
        unit = Identify(project_id=project_id, app_user_id=app_user_id, new_app_user_id=new_app_user_id, visit=visit)
        return (await self._seen(unit)).view

    async def _seen(self, unit: Unit) -> Seen:
        result = await self._writer.write(self.runner.handle, unit)
        if not isinstance(result, Seen):
            raise TypeError(f"unit {type(unit).__name__} answered {type(result).__name__}")
        return result

    def _read(self, project_id: str, app_user_id: str) -> CustomerView | None:
        config = self._config.current()
        with self._engine.connect() as connection:
            found = find_customer_ids(connection, {(project_id, app_user_id)})
            if not found:
                return None
            customer_id = found[(project_id, app_user_id)]
            customers = load_customers(connection, {customer_id})
            chains = load_chains_of(connection, {customer_id})
        return CustomerView(
            customer=customers[0],
            chains=tuple(sorted(chains, key=lambda chain: chain.id)),
            catalogue=config.catalogue(project_id),
            settings=config.projects[project_id].settings,
            now_ms=self._clock.now_ms(),
        )


def _append(connection: sa.Connection, entries: Sequence[InboxEntry]) -> list[bool]:
    return append_entries(connection, entries)


def _check_id(app_user_id: str) -> None:
    try:
        check_app_user_id(app_user_id)
    except InvalidAppUserId as error:
        raise IngestError(400, error.code, error.message) from error


def _first_key(notification: Notification) -> str | None:
    if notification.snapshots:
        return notification.snapshots[0].store_key
    return notification.store_keys[0] if notification.store_keys else None
