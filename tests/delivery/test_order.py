"""A customer's events arrive in sequence, whatever fails and however many workers deliver (architecture D4)."""

import asyncio
import contextlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bellwire.db.integrations import Filters
from bellwire.delivery.schedule import SCHEDULES_S
from tests.support.deliveries import now_ms, open_hub, play, until
from tests.support.postgres import PostgresMissing, PostgresServer, running_postgres
from tests.support.rude_server import Received, rude_server

CUSTOMERS = 4
EVENTS = 40
WORKERS = 3


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    try:
        with running_postgres() as server:
            yield server
    except PostgresMissing as error:
        pytest.skip(str(error))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    """Where the outbox is: a SQLite file with one worker, or a PostgreSQL database with several."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres").create_database()


@dataclass
class Receiver:
    """Fails at random, and notes what came before something that should have come first."""

    chance: random.Random
    wait_ms: int | None
    created_ms: dict[tuple[str, int], int] = field(default_factory=dict)
    accepted: set[tuple[str, int]] = field(default_factory=set)
    too_early: list[tuple[str, int]] = field(default_factory=list)
    refused: int = 0

    async def reply(self, request: Received, writer: asyncio.StreamWriter) -> None:
        event = json.loads(request.body)["event"]
        customer, sequence = event["app_user_id"], event["customer_sequence"]
        missing = [(customer, one) for one in range(1, sequence) if (customer, one) not in self.accepted]
        young = [one for one in missing if self.wait_ms is None or now_ms() - self.created_ms[one] < self.wait_ms]
        if young:
            self.too_early.append((customer, sequence))
        for _ in range(self.chance.randrange(30)):  # others overtake on the way
            await asyncio.sleep(0)
        if self.chance.random() < 0.4:
            self.refused += 1
            writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
        else:
            self.accepted.add((customer, sequence))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("wait_ms", [None, 60_000, 40], ids=["strict", "a minute", "40 ms"])
@pytest.mark.parametrize("seed", range(2))
def test_events_arrive_in_sequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str | None, wait_ms: int | None, seed: int
) -> None:
    monkeypatch.setitem(SCHEDULES_S, "extended", (0.01, 0.03) * 50)
    monkeypatch.setattr("bellwire.delivery.pump._POLL_MS", 10)
    chance = random.Random(seed)
    receiver = Receiver(chance, wait_ms)

    async def scene() -> None:
        async with contextlib.AsyncExitStack() as opened:
            server = await opened.enter_async_context(rude_server())
            server.replies["/in"] = receiver.reply
            first = await opened.enter_async_context(open_hub(tmp_path, url=url))
            hook = first.webhook(f"{server.base_url}/in", filters=Filters(concurrency=4, order_wait_ms=wait_ms))
            workers = [first]
            for _ in range(0 if url is None else WORKERS - 1):
                workers.append(await opened.enter_async_context(open_hub(tmp_path, url=url)))
            for worker in workers:
                await opened.enter_async_context(worker.delivering())
            numbers = {f"user-{one}": 0 for one in range(CUSTOMERS)}
            for _ in range(EVENTS):
                customer = chance.randrange(CUSTOMERS)
                numbers[f"user-{customer}"] += 1
                receiver.created_ms[f"user-{customer}", numbers[f"user-{customer}"]] = now_ms()
                await asyncio.to_thread(first.emit, hook, customer_id=customer)
            await until(lambda: len(receiver.accepted) == EVENTS)
            await until(lambda: not first.waiting())
            assert len(first.attempts()) == EVENTS + receiver.refused

    play(scene)
    assert receiver.too_early == []
    assert receiver.refused > 0
