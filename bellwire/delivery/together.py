"""Several events in one request: cut to the destination's limits, sent in order, and each with an outcome of its own."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from bellwire.db.outbox_claim import Claimed
from bellwire.delivery.classify import explain, verdict
from bellwire.delivery.send import Attempted, HTTPCaller, decode_event, record_of, unsent
from bellwire.delivery.target import Target
from bellwire.destinations.base import (
    Answer,
    AttemptContext,
    Batch,
    ItemAnswer,
    OutboundRequest,
    Outcome,
    Part,
    Skip,
)
from bellwire.destinations.outcomes import standard_outcome

log = structlog.get_logger()

SHARED_ANSWER_BYTES = 1024
"""How much of an answer is kept with each event of a request where the destination does not say what is about it: with
500 events, the whole would be kept 500 times."""

Note = Callable[[Claimed, Attempted], None]


class _Item(NamedTuple):
    row: Claimed
    part: Part


class Together:
    """Sends the rows of one lane to a destination that batches. `note` hears of each row as soon as it has ended."""

    def __init__(
        self,
        target: Target,
        batch: Batch,
        client: HTTPCaller,
        *,
        timeout_s: float,
        trigger_of: Callable[[Claimed], str],
        note: Note,
    ) -> None:
        self._target = target
        self._batch = batch
        self._client = client
        self._timeout_s = timeout_s
        self._trigger_of = trigger_of
        self._note = note

    async def send(self, rows: Sequence[Claimed]) -> None:
        """In as few requests as the limits allow, one after another; rows whose lease would not last are left out.

        Raises nothing but cancellation.
        """
        items = [item for row in rows if (item := self._item(row)) is not None]
        for group in within_limits(items, self._batch):
            await self._send(group)

    def _item(self, row: Claimed) -> _Item | None:
        context = AttemptContext(attempt=row.attempt + 1, sent_at_s=int(time.time()), event_json=row.payload)
        try:
            part = self._batch.part(decode_event(row.payload), self._target.settings, context)
        except Exception:
            log.exception("delivery.build_failed", integration_id=row.integration_id, event_id=row.event_id)
            self._unsent(row, Outcome.RETRY, "internal error: the request could not be built")
            return None
        if isinstance(part, Skip):
            self._unsent(row, Outcome.SKIPPED, part.reason)
            return None
        return _Item(row, part)

    async def _send(self, items: Sequence[_Item]) -> None:
        """One request; halves of it where it was refused as a whole."""
        parts = [item.part for item in items]
        started_at_ms = time.time_ns() // 1_000_000
        if min(item.row.lease_until_ms for item in items) < started_at_ms + self._timeout_s * 1000:
            return
        try:
            request = self._batch.wrap(parts, self._target.settings, started_at_ms // 1000)
        except Exception:
            log.exception("delivery.build_failed", integration_id=items[0].row.integration_id, events=len(items))
            for item in items:
                self._unsent(item.row, Outcome.RETRY, "internal error: the request could not be built")
            return
        answer = await self._client.request(
            request.method,
            request.url,
            headers=request.headers,
            body=request.body,
            timeout_s=min(request.timeout_s, self._timeout_s),
        )
        said = self._read(answer, items)
        if said is None:
            middle = len(items) // 2
            await self._send(items[:middle])
            await self._send(items[middle:])
            return
        for item, one in zip(items, said, strict=True):
            self._ended(item, one, request, answer, started_at_ms, company=len(items) - 1)

    def _read(self, answer: Answer, items: Sequence[_Item]) -> Sequence[ItemAnswer] | None:
        """What the answer says about each; None = the request is tried again in halves."""
        try:
            said = self._batch.classify(answer, [item.part for item in items], self._target.settings)
            if said is not None and len(said) != len(items):
                raise ValueError(f"{len(said)} answers for {len(items)} events")
        except Exception:
            log.exception("delivery.answer_unread", integration_id=items[0].row.integration_id, status=answer.status)
            return [ItemAnswer(outcome=Outcome.RETRY, reason="internal error: the answer could not be read")] * len(
                items
            )
        if said is None and len(items) == 1:
            return [ItemAnswer(outcome=standard_outcome(answer), retry_after_s=answer.retry_after_s)]
        return said

    def _ended(
        self,
        item: _Item,
        said: ItemAnswer,
        request: OutboundRequest,
        answer: Answer,
        started_at_ms: int,
        *,
        company: int,
    ) -> None:
        reason = explain(answer, said.outcome) if said.reason is None else said.reason
        if company:
            reason += f" (in a request with {company} other event{'s' if company > 1 else ''})"
        judged = verdict(said.outcome, reason, retry_every_failure=self._target.destination.retry_every_failure)
        if said.body is not None:
            answer = replace(answer, body=said.body)
        elif company and len(answer.body) > SHARED_ANSWER_BYTES:
            answer = replace(answer, body=answer.body[:SHARED_ANSWER_BYTES], truncated=True)
        if company:
            request = replace(request, body=item.part.body)
        trigger = self._trigger_of(item.row)
        attempted = Attempted(
            record=record_of(self._target, item.row, trigger, started_at_ms, request, answer, judged),
            verdict=judged,
            ended_at_ms=started_at_ms + answer.duration_ms,
            retry_after_s=said.retry_after_s,
        )
        self._note(item.row, attempted)

    def _unsent(self, row: Claimed, outcome: Outcome, reason: str) -> None:
        self._note(row, unsent(row, self._trigger_of(row), verdict(outcome, reason)))


def within_limits(items: Sequence[_Item], batch: Batch) -> Iterator[list[_Item]]:
    """In order, each group within count and bytes; an event that alone is too large goes alone, for the tool to judge."""
    group: list[_Item] = []
    size = batch.overhead_bytes
    for item in items:
        more = len(item.part.body) + 1
        if group and (len(group) >= batch.max_count or size + more > batch.max_bytes):
            yield group
            group, size = list[_Item](), batch.overhead_bytes
        group.append(item)
        size += more
    if group:
        yield group
