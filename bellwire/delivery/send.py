"""One attempt: build, send through the guarded client, classify, and write down what happened."""

import time
from collections.abc import Mapping
from typing import Protocol

import msgspec
import structlog
from msgspec.structs import replace

from bellwire.db.attempts import AttemptRecord
from bellwire.db.outbox_claim import Claimed
from bellwire.delivery import observed
from bellwire.delivery.classify import Verdict, judge, verdict
from bellwire.delivery.target import Target
from bellwire.destinations.base import Answer, AttemptContext, OutboundRequest, Outcome, Skip
from bellwire.model.events import Event
from bellwire.observe import tracing

log = structlog.get_logger()

decode_event = msgspec.json.Decoder(Event).decode
_encode = msgspec.json.Encoder().encode
encode_event = _encode
"""An event as `events.payload` holds it."""


class HTTPCaller(Protocol):
    """The guarded way out. Never raises for transport trouble."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = ...,
        body: bytes = b"",
        timeout_s: float = 60.0,
        max_response_bytes: int | None = None,
    ) -> Answer: ...


class Attempted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An attempt that has ended: what to write down and what follows. The record does not know the future yet."""

    record: AttemptRecord
    verdict: Verdict
    ended_at_ms: int
    retry_after_s: float | None = None


async def attempt(
    target: Target, row: Claimed, *, trigger: str, client: HTTPCaller, timeout_s: float, traceparent: bool = False
) -> Attempted:
    """Try to deliver one event. Raises nothing but cancellation; a fault of our own becomes a visible failed attempt.

    With `traceparent` the request names our span, so that a receiver can hang its own below it.
    """
    started_ns = time.time_ns()
    started_at_ms = started_ns // 1_000_000
    context = AttemptContext(attempt=row.attempt + 1, sent_at_s=started_ns // 1_000_000_000, event_json=row.payload)
    try:
        built = target.destination.build(decode_event(row.payload), target.settings, context)
    except Exception:
        log.exception("delivery.build_failed", integration_id=row.integration_id, event_id=row.event_id)
        return unsent(row, trigger, verdict(Outcome.RETRY, "internal error: the request could not be built"))
    if isinstance(built, Skip):
        return unsent(row, trigger, verdict(Outcome.SKIPPED, built.reason))
    if traceparent:
        parent = tracing.traceparent(row.event_id, row.integration_id, row.fence)
        built = replace(built, headers=built.headers | {"traceparent": parent})
    if tracing.on:
        observed.built(row, started_ns)
    answer = await client.request(
        built.method,
        built.url,
        headers=built.headers,
        body=built.body,
        timeout_s=min(built.timeout_s, timeout_s),
    )
    judged = judge(target.destination, target.settings, answer)
    return Attempted(
        record=record_of(target, row, trigger, started_at_ms, built, answer, judged),
        verdict=judged,
        ended_at_ms=started_at_ms + answer.duration_ms,
        retry_after_s=answer.retry_after_s,
    )


def unsent(row: Claimed, trigger: str, judged: Verdict) -> Attempted:
    """An attempt that ended before anything was sent."""
    now_ms = time.time_ns() // 1_000_000
    record = AttemptRecord(
        project_id=row.project_id,
        integration_id=row.integration_id,
        event_seq=row.event_seq,
        event_id=row.event_id,
        event_type=row.event_type,
        app_user_id=row.app_user_id,
        environment=row.environment,
        attempt=row.attempt + 1,
        trigger=trigger,
        outcome=judged.outcome.value,
        reason=judged.reason,
        started_at_ms=now_ms,
    )
    return Attempted(record=record, verdict=judged, ended_at_ms=now_ms)


def record_of(
    target: Target,
    row: Claimed,
    trigger: str,
    started_at_ms: int,
    request: OutboundRequest,
    answer: Answer,
    judged: Verdict,
) -> AttemptRecord:
    veil = target.veil
    return AttemptRecord(
        project_id=row.project_id,
        integration_id=row.integration_id,
        event_seq=row.event_seq,
        event_id=row.event_id,
        event_type=row.event_type,
        app_user_id=row.app_user_id,
        environment=row.environment,
        attempt=row.attempt + 1,
        trigger=trigger,
        outcome=judged.outcome.value,
        reason=veil.text(judged.reason),
        started_at_ms=started_at_ms,
        duration_ms=answer.duration_ms,
        timings=_encode(answer.timings).decode(),
        status_code=answer.status,
        error=None if answer.error is None else answer.error.value,
        request_method=request.method,
        request_url=veil.url(request),
        request_headers=veil.headers(request),
        request_body=veil.bytes(request.body),
        response_headers=veil.json(answer.headers),
        response_body=veil.bytes(answer.body),
        response_truncated=answer.truncated,
    )
