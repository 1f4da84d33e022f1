"""What is told of work on what comes in: figures, one wide log line for each unit of work, spans."""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from bellwire.db.events import StagedEvent
from bellwire.kit import logs
from bellwire.model.projects import App
from bellwire.observe import metrics, tracing
from bellwire.observe.tracing import Ref, Span
from bellwire.stores.base import Notification


class Walk:
    """When the stages of one unit of work ended, in Unix nanoseconds."""

    __slots__ = ("began_ns", "stages")

    def __init__(self) -> None:
        self.began_ns = time.time_ns()
        self.stages: list[tuple[str, int]] = []

    def ended(self, stage: str) -> None:
        """The stage that began where the last one ended is over."""
        self.stages.append((stage, time.time_ns()))

    def ms(self, wanted: str) -> float | None:
        """How long a stage took; None = it did not come to it."""
        began_ns = self.began_ns
        for stage, ended_ns in self.stages:
            if stage == wanted:
                return _ms(began_ns, ended_ns)
            began_ns = ended_ns
        return None

    def spans(
        self, name: str, ref: Ref, *, kind: str = "internal", parent: Ref | None = None, **more: str
    ) -> list[Span]:
        """The whole and its stages; `more` are attributes."""
        attributes = {f"bellwire.{key}": value for key, value in more.items()}
        end_ns = self.stages[-1][1] if self.stages else self.began_ns
        whole = Span(
            name=name, ref=ref, parent=parent, start_ns=self.began_ns, end_ns=end_ns, kind=kind, attributes=attributes
        )
        found, began_ns = [whole], self.began_ns
        for stage, ended_ns in self.stages:
            inner = tracing.inside(ref, stage)
            found.append(Span(name=stage, ref=inner, parent=ref, start_ns=began_ns, end_ns=ended_ns))
            began_ns = ended_ns
        return found


class _Received(logs.Line, kw_only=True, tag="notification.received"):
    app_id: str
    store: str
    result: str
    entry_id: int | None = None
    type: str | None = None
    subtype: str | None = None
    reason: str | None = None
    verify_ms: float | None = None
    commit_ms: float | None = None


class _Applied(logs.Line, kw_only=True, tag="notification.applied"):
    app_id: str
    store: str
    result: str
    entry_id: int
    type: str | None = None
    attempt: int
    waited_ms: float
    """Since the notification was kept."""
    duration_ms: float
    event_ids: Sequence[str] = ()


class _Receipt(logs.Line, kw_only=True, tag="receipt.applied"):
    app_id: str
    store: str
    result: str
    prove_ms: float | None = None
    commit_ms: float | None = None
    event_ids: Sequence[str] = ()


def received(
    app: App,
    walk: Walk,
    result: str,
    *,
    notification: Notification | None = None,
    entry_id: int | None = None,
    reason: str | None = None,
) -> None:
    """A notification was answered. `result` is one of the metric's."""
    metrics.NOTIFICATIONS.add(1, app.store, result)
    genuine = notification is not None
    if logs.wanted(logging.INFO if genuine else logging.WARNING):
        line = _Received(
            level="info" if genuine else "warning",
            timestamp=logs.timestamp(),
            app_id=app.id,
            store=app.store,
            result=result,
            entry_id=entry_id,
            type=None if notification is None else notification.type,
            subtype=None if notification is None else notification.subtype,
            reason=reason,
            verify_ms=walk.ms("verify"),
            commit_ms=walk.ms("commit"),
        )
        logs.write([line])
    if tracing.on and entry_id is not None:
        ref = tracing.entry_ref(entry_id)
        tracing.record(*walk.spans("receive notification", ref, kind="server", store=app.store, app_id=app.id))


def applied(
    app: App,
    walk: Walk,
    result: str,
    *,
    notification: Notification,
    entry_id: int,
    attempt: int,
    kept_at_ms: int,
    event_ids: Sequence[str] = (),
) -> None:
    """The work on a notification has ended, or goes on later."""
    now_ns = time.time_ns()
    metrics.APPLIED.add(1, app.store, result)
    _note_commit(app, kept_at_ms * 1_000_000, now_ns, event_ids)
    if logs.wanted():
        line = _Applied(
            level="info",
            timestamp=logs.timestamp(),
            app_id=app.id,
            store=app.store,
            result=result,
            entry_id=entry_id,
            type=notification.type,
            attempt=attempt,
            waited_ms=_ms(kept_at_ms * 1_000_000, walk.began_ns),
            duration_ms=_ms(walk.began_ns, now_ns),
            event_ids=event_ids,
        )
        logs.write([line])
    if tracing.on:
        whole = tracing.entry_ref(entry_id)
        spans = walk.spans(
            "apply notification",
            tracing.entry_ref(entry_id, "apply"),
            parent=whole,
            kind="consumer",
            store=app.store,
            app_id=app.id,
            result=result,
        )
        tracing.record(*spans)


def receipt(app: App, walk: Walk, result: str, *, ref: Ref | None = None, event_ids: Sequence[str] = ()) -> None:
    """A posted receipt was worked through, or could not be. `ref` is its place among spans, where they are made."""
    metrics.RECEIPTS.add(1, app.store, result)
    _note_commit(app, walk.began_ns, time.time_ns(), event_ids)
    if logs.wanted():
        line = _Receipt(
            level="info",
            timestamp=logs.timestamp(),
            app_id=app.id,
            store=app.store,
            result=result,
            prove_ms=walk.ms("prove"),
            commit_ms=walk.ms("commit"),
            event_ids=event_ids,
        )
        logs.write([line])
    if ref is not None:
        tracing.record(*walk.spans("post receipt", ref, kind="server", store=app.store, app_id=app.id, result=result))


def committed(staged: Sequence[StagedEvent], committed_at_ms: int) -> None:
    """New events are about to be committed."""
    metrics.EVENTS.add_all([(_store(one), one.record.event.type.value) for one in staged])
    delays: defaultdict[str, list[int]] = defaultdict(list)
    for one in staged:
        if one.store_time_ms is not None and not one.record.historical:
            delays[_store(one)].append(one.received_at_ms - one.store_time_ms)
    for store, found in delays.items():
        metrics.STORE_TO_RECEIVED.observe_all(found, store)
    if tracing.on:
        for one in staged:
            tracing.record(_span(one, committed_at_ms))


def _span(staged: StagedEvent, committed_at_ms: int) -> Span:
    record = staged.record
    return Span(
        name=f"event {record.event.type.value}",
        ref=tracing.event_ref(record.event.id),
        start_ns=staged.received_at_ms * 1_000_000,
        end_ns=committed_at_ms * 1_000_000,
        kind="producer",
        attributes={
            "bellwire.project_id": record.project_id,
            "bellwire.event_id": record.event.id,
            "bellwire.event_type": record.event.type.value,
            "bellwire.store": _store(staged),
        },
        links=() if staged.caused_by is None else (staged.caused_by,),
    )


def _note_commit(app: App, began_ns: int, ended_ns: int, event_ids: Sequence[str]) -> None:
    if event_ids:
        took_ms = (ended_ns - began_ns) // 1_000_000
        metrics.RECEIVED_TO_COMMITTED.observe_all([took_ms] * len(event_ids), app.store)


def _store(staged: StagedEvent) -> str:
    store = staged.record.event.store
    return "none" if isinstance(store, msgspec.UnsetType) else store.value


def _ms(began_ns: int, ended_ns: int) -> float:
    """With two decimals."""
    return (ended_ns - began_ns) // 10_000 / 100
