"""What is told of deliveries once they are written down: figures, one wide log line each, spans. A whole turn at once."""

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from bellwire.db.attempts import AttemptRecord
from bellwire.db.outbox_claim import Claimed
from bellwire.delivery.turn import Ended, Turn, TurnResult
from bellwire.kit import logs
from bellwire.kit.ids import row_id_ms
from bellwire.model.projects import Integration
from bellwire.observe import metrics, tracing
from bellwire.observe.tracing import Span

_DELETED = "deleted"
"""Destination of what belonged to an integration that is gone."""


class _Attempted(logs.Line, kw_only=True, tag="delivery.attempted"):
    project_id: str
    integration_id: str
    destination: str
    event_id: str
    event_type: str
    attempt: int
    trigger: str
    outcome: str
    status: int | None = None
    error: str | None = None
    duration_ms: int
    waited_ms: int | None = None
    """From the event's commit to the start of this attempt; first attempts only."""
    next_attempt_at_ms: int | None = None
    parked: bool = False


def observe(turn: Turn, result: TurnResult, integrations: Mapping[str, Integration], *, began_s: float) -> None:
    """A turn was committed; it was handed over at `began_s` of `time.perf_counter`."""
    metrics.TURN_SECONDS.observe((time.perf_counter() - began_s) * 1000)
    if result.expired:
        metrics.LEASES_EXPIRED.add(result.expired)
    if turn.ended:
        metrics.TURN_ATTEMPTS.observe(len(turn.ended))
        observe_attempts(turn.ended, integrations)


def observe_attempts(ended: Sequence[Ended], integrations: Mapping[str, Integration]) -> None:
    """Attempts that were written down."""
    destinations = {one.record.integration_id: _DELETED for one in ended}
    for integration_id in destinations:
        if integration_id in integrations:
            destinations[integration_id] = integrations[integration_id].destination
    _count(ended, destinations)
    _log(ended, destinations)
    if tracing.on:
        _trace(ended, destinations)


def built(row: Claimed, began_ns: int) -> None:
    """A request was made up since `began_ns`; only where spans are made. Attempts begin at whole milliseconds."""
    whole = tracing.attempt_ref(row.event_id, row.integration_id, row.fence)
    ref = tracing.inside(whole, "build")
    tracing.record(
        Span(name="build", ref=ref, parent=whole, start_ns=began_ns - began_ns % 1_000_000, end_ns=time.time_ns())
    )


def _count(ended: Sequence[Ended], destinations: Mapping[str, str]) -> None:
    waits: defaultdict[str, list[int]] = defaultdict(list)
    answers: defaultdict[str, list[int]] = defaultdict(list)
    outcomes: list[tuple[str, str, str]] = []
    for one in ended:
        record = one.record
        destination = destinations[record.integration_id]
        outcomes.append((record.integration_id, destination, record.outcome))
        if record.error is not None:
            metrics.TRANSPORT_ERRORS.add(1, record.integration_id, destination, record.error)
        if record.parked and not one.settled:
            metrics.PARKED.add(1, record.integration_id, destination)
        if record.request_method is not None:
            answers[destination].append(record.duration_ms)
            if one.committed_at_ms is not None:
                waits[destination].append(record.started_at_ms - one.committed_at_ms)
    metrics.ATTEMPTS.add_all(outcomes)
    for destination, durations in answers.items():
        metrics.SENT_TO_ANSWERED.observe_all(durations, destination)
    for destination, durations in waits.items():
        metrics.COMMITTED_TO_SENT.observe_all(durations, destination)


def _log(ended: Sequence[Ended], destinations: Mapping[str, str]) -> None:
    """What failed is a warning, though an expected one."""
    well, ill = logs.wanted(logging.INFO), logs.wanted(logging.WARNING)
    if not ill:
        return
    now = logs.timestamp()
    logs.write([_line(one, destinations, now) for one in ended if well or not one.settled])


def _line(one: Ended, destinations: Mapping[str, str], now: str) -> _Attempted:
    record = one.record
    return _Attempted(
        level="info" if one.settled else "warning",
        timestamp=now,
        project_id=record.project_id,
        integration_id=record.integration_id,
        destination=destinations[record.integration_id],
        event_id=record.event_id,
        event_type=record.event_type,
        attempt=record.attempt,
        trigger=record.trigger,
        outcome=record.outcome,
        status=record.status_code,
        error=record.error,
        duration_ms=record.duration_ms,
        waited_ms=None if one.committed_at_ms is None else record.started_at_ms - one.committed_at_ms,
        next_attempt_at_ms=record.next_attempt_at_ms,
        parked=record.parked and not one.settled,
    )


def _trace(ended: Sequence[Ended], destinations: Mapping[str, str]) -> None:
    now_ns = time.time_ns()
    for one in ended:
        tracing.record(*_spans(one, destinations[one.record.integration_id], now_ns))


def _spans(one: Ended, destination: str, now_ns: int) -> list[Span]:
    """The attempt, and within it: the wait until it was claimed, the wait for a slot, the request, the writing down."""
    record = one.record
    whole = tracing.attempt_ref(record.event_id, record.integration_id, one.held.fence)
    claimed_ns = row_id_ms(one.held.fence) * 1_000_000 if one.held.fence else None
    started_ns = record.started_at_ms * 1_000_000
    answered_ns = started_ns + record.duration_ms * 1_000_000
    began_ns = one.committed_at_ms * 1_000_000 if one.committed_at_ms is not None else (claimed_ns or started_ns)
    spans = [
        Span(
            name=f"deliver {destination}",
            ref=whole,
            parent=tracing.event_ref(record.event_id),
            start_ns=began_ns,
            end_ns=now_ns,
            kind="consumer",
            attributes=_attributes(record, destination),
            failed=not one.settled,
        )
    ]

    def part(name: str, start_ns: int, end_ns: int, kind: str = "internal") -> None:
        ref = tracing.inside(whole, name)
        spans.append(Span(name=name, ref=ref, parent=whole, start_ns=start_ns, end_ns=end_ns, kind=kind))

    if claimed_ns is not None:
        if one.committed_at_ms is not None:
            part("claim", began_ns, claimed_ns)
        part("wait for a slot", claimed_ns, started_ns)
    if record.request_method is not None:
        part("send", started_ns, answered_ns, "client")
    part("record", answered_ns, now_ns)
    return spans


def _attributes(record: AttemptRecord, destination: str) -> dict[str, str | int]:
    known: dict[str, str | int | None] = {
        "bellwire.project_id": record.project_id,
        "bellwire.integration_id": record.integration_id,
        "bellwire.destination": destination,
        "bellwire.event_id": record.event_id,
        "bellwire.event_type": record.event_type,
        "bellwire.attempt": record.attempt,
        "bellwire.trigger": record.trigger,
        "bellwire.outcome": record.outcome,
        "http.request.method": record.request_method,
        "http.response.status_code": record.status_code,
        "error.type": record.error,
    }
    return {name: value for name, value in known.items() if value is not None}
