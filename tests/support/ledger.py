"""A tool that takes many events in one request and answers for each of them: a destination, and its receiver."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import msgspec

from bellwire.destinations.base import (
    Answer,
    AttemptContext,
    Batch,
    Destination,
    ItemAnswer,
    OutboundRequest,
    Outcome,
    Part,
    Skip,
)
from bellwire.destinations.outcomes import alike_for_all
from bellwire.model.enums import EventType
from bellwire.model.events import Event
from tests.support.rude_server import Received

MAX_COUNT = 10
MAX_BYTES = 4096


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where it is."""

    url: str


class Entry(msgspec.Struct, frozen=True):
    """One event on the wire."""

    id: str
    customer: str
    sequence: int
    note: str = ""


class Result(msgspec.Struct, frozen=True):
    """What the tool says of one entry: `ok`, `again` or `refused`."""

    id: str
    result: str


class Entries(msgspec.Struct, frozen=True):
    entries: list[Entry]


def part(event: Event, settings: msgspec.Struct, context: AttemptContext) -> Part | Skip:
    if event.type is EventType.TEST:
        return Skip("the ledger takes no tests")
    sequence = event.customer_sequence
    assert isinstance(sequence, int)
    note = event.product_id if isinstance(event.product_id, str) else ""
    return Part(msgspec.json.encode(Entry(event.id, str(event.app_user_id), sequence, note)))


def wrap(parts: Sequence[Part], settings: msgspec.Struct, sent_at_s: int) -> OutboundRequest:
    return OutboundRequest(
        method="POST",
        url=cast(Settings, settings).url,
        headers={"Content-Type": "application/json"},
        body=b'{"entries":[' + b",".join(one.body for one in parts) + b"]}",
    )


def classify(answer: Answer, parts: Sequence[Part], settings: msgspec.Struct) -> Sequence[ItemAnswer] | None:
    if answer.status != 207 or answer.error is not None:
        return alike_for_all(answer, parts)
    meaning = {"ok": Outcome.DELIVERED, "again": Outcome.RETRY, "refused": Outcome.REJECTED}
    return [
        ItemAnswer(outcome=meaning[one.result], reason=f"the ledger says {one.result}", body=msgspec.json.encode(one))
        for one in msgspec.json.decode(answer.body, type=list[Result])
    ]


BATCH = Batch(max_count=MAX_COUNT, max_bytes=MAX_BYTES, part=part, wrap=wrap, classify=classify, overhead_bytes=20)
LEDGER = Destination(slug="ledger", title="Ledger", description="", settings=Settings, build=BATCH.build, batch=BATCH)


@dataclass
class Ledger:
    """A strict receiver: every event of a customer must find all earlier ones accepted, or stand behind them."""

    judge: Callable[[Entry], str] = lambda _: "ok"
    requests: list[list[Entry]] = field(default_factory=list)
    accepted: list[Entry] = field(default_factory=list)
    out_of_order: list[Entry] = field(default_factory=list)
    too_large: int = 1_000_000
    poison: str = ""
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """Answers wait for it."""

    async def reply(self, request: Received, writer: asyncio.StreamWriter) -> None:
        entries = msgspec.json.decode(request.body, type=Entries).entries
        assert len(request.body) <= MAX_BYTES or len(entries) == 1
        self.requests.append(entries)
        await self.open.wait()
        if len(request.body) > self.too_large and len(entries) > 1:
            return answer(writer, 413, b"")
        if self.poison and any(entry.note == self.poison for entry in entries):
            return answer(writer, 400, b"x" * 5000)
        return answer(writer, 207, msgspec.json.encode([Result(entry.id, self._take(entry)) for entry in entries]))

    def _take(self, entry: Entry) -> str:
        done = {one.sequence for one in self.accepted if one.customer == entry.customer}
        here = {one.sequence for one in self.requests[-1] if one.customer == entry.customer}
        if not set(range(1, entry.sequence)) <= done | here:
            self.out_of_order.append(entry)
        result = self.judge(entry)
        if result == "ok":
            self.accepted.append(entry)
        return result


def answer(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    writer.write(b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
