"""Several events in one request: when, how many, in which order, and each with an outcome of its own."""

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa

from bellwire.db.integrations import Filters
from bellwire.db.outbox import State
from bellwire.db.tables import outbox
from bellwire.delivery.together import SHARED_ANSWER_BYTES
from bellwire.model.projects import Integration
from tests.support.deliveries import Hub, open_hub, play, until
from tests.support.ledger import LEDGER, MAX_BYTES, MAX_COUNT, Ledger, Settings
from tests.support.rude_server import rude_server

pytestmark = pytest.mark.usefixtures("database")


class Stage(NamedTuple):
    hub: Hub
    ledger: Ledger
    integration: Integration


@asynccontextmanager
async def stage(folder: Path, *, concurrency: int = 2) -> AsyncIterator[Stage]:
    async with rude_server() as server, open_hub(folder, destinations={"ledger": LEDGER}) as hub:
        ledger = Ledger()
        ledger.open.set()
        server.replies["/"] = ledger.reply
        integration = hub.connect(
            "ledger", Settings(url=f"{server.base_url}/"), filters=Filters(concurrency=concurrency)
        )
        yield Stage(hub, ledger, integration)


def scene(folder: Path, act: Callable[[Stage], Awaitable[None]], *, concurrency: int = 2) -> None:
    async def main() -> None:
        async with stage(folder, concurrency=concurrency) as on:
            await act(on)

    play(main)


def test_a_lane_that_is_not_behind_sends_at_once(tmp_path: Path) -> None:
    async def act(on: Stage) -> None:
        async with on.hub.delivering():
            for customer in (1, 2, 3):
                on.hub.emit(on.integration, customer_id=customer)
                await until(lambda: not on.hub.waiting())
        assert [len(entries) for entries in on.ledger.requests] == [1, 1, 1]
        assert [row.reason for row in on.hub.attempts()] == ["the ledger says ok"] * 3

    scene(tmp_path, act)


def test_a_lane_that_is_behind_batches_and_each_event_keeps_its_own_record(tmp_path: Path) -> None:
    async def act(on: Stage) -> None:
        for customer in range(40):
            on.hub.emit(on.integration, customer_id=customer)
        async with on.hub.delivering():
            await until(lambda: not on.hub.waiting())
        sizes = [len(entries) for entries in on.ledger.requests]
        assert sum(sizes) == 40
        assert max(sizes) == MAX_COUNT
        rows = on.hub.attempts()
        assert {(row.outcome, row.attempt) for row in rows} == {("delivered", 1)}
        for row in rows:
            assert json.loads(row.request_body)["id"] == row.event_id
            assert json.loads(row.response_body) == {"id": row.event_id, "result": "ok"}
        assert "the ledger says ok (in a request with 9 other events)" in {row.reason for row in rows}

    scene(tmp_path, act)


def test_only_what_failed_is_sent_again(tmp_path: Path) -> None:
    async def act(on: Stage) -> None:
        for customer in range(20):
            on.hub.emit(on.integration, customer_id=customer)
        on.ledger.judge = lambda entry: {"user-3": "again", "user-7": "refused"}.get(entry.customer, "ok")
        async with on.hub.delivering():
            await until(lambda: len(on.hub.attempts()) == 20)
            (again,) = [row for row in on.hub.waiting() if row.state != 2]
            assert (again.customer_id, again.attempt, again.late) == (3, 1, True)
        on.ledger.judge = lambda _: "ok"
        on.hub.change(sa.update(outbox).where(outbox.c.id == again.id).values(due_at_ms=0))
        async with on.hub.delivering():
            await until(lambda: len(on.ledger.accepted) == 19)
        outcomes = {(row.app_user_id, row.attempt): (row.outcome, row.parked) for row in on.hub.attempts()}
        assert outcomes["user-3", 1] == ("retry", False)
        assert outcomes["user-3", 2] == ("delivered", False)
        assert outcomes["user-7", 1] == ("rejected", True)
        assert len(outcomes) == 21

    scene(tmp_path, act)


@pytest.mark.parametrize("seed", range(4))
def test_a_customers_events_stay_in_order(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)

    async def act(on: Stage) -> None:
        on.ledger.judge = lambda _: "again" if chance.random() < 0.15 else "ok"
        for _ in range(25):
            on.hub.emit(on.integration, customer_id=chance.randrange(4), count=chance.randrange(1, 6))
        while on.hub.waiting():
            on.hub.make_due()
            if chance.random() < 0.2:
                on.hub.emit(on.integration, customer_id=chance.randrange(4))
            async with on.hub.delivering():
                await until(lambda: not any(ready(on.hub)))
        assert on.ledger.out_of_order == []
        seen: dict[str, list[int]] = {}
        for entries in on.ledger.requests:
            for entry in entries:
                if entry.sequence not in seen.setdefault(entry.customer, []):
                    seen[entry.customer].append(entry.sequence)
        assert all(numbers == sorted(numbers) for numbers in seen.values())
        assert max(len(entries) for entries in on.ledger.requests) > 1

    scene(tmp_path, act, concurrency=3)


def ready(hub: Hub) -> list[bool]:
    """Of each customer's first waiting event: whether it is about to be sent, or on its way."""
    first = {row.customer_id: row for row in reversed(hub.waiting())}
    return [row.state == State.LEASED or row.due_at_ms == 0 for row in first.values()]


def test_what_follows_an_event_on_the_wire_waits_for_it(tmp_path: Path) -> None:
    async def act(on: Stage) -> None:
        on.ledger.open.clear()
        on.hub.emit(on.integration, customer_id=1, count=30)
        async with on.hub.delivering():
            await until(lambda: on.ledger.requests)
            on.hub.emit(on.integration, customer_id=2)
            await until(lambda: len(on.ledger.requests) == 2)
            assert {entry.customer for entry in on.ledger.requests[1]} == {"user-2"}
            on.ledger.open.set()
            await until(lambda: not on.hub.waiting())
        assert on.ledger.out_of_order == []

    scene(tmp_path, act)


def test_a_request_that_is_too_large_goes_in_halves(tmp_path: Path) -> None:
    async def act(on: Stage) -> None:
        on.ledger.too_large = 300
        for customer in range(20):
            on.hub.emit(on.integration, customer_id=customer)
        async with on.hub.delivering():
            await until(lambda: not on.hub.waiting())
        rows = on.hub.attempts()
        assert len(rows) == len(on.ledger.accepted) == 20
        assert {row.outcome for row in rows} == {"delivered"}

    scene(tmp_path, act)


def test_one_event_that_spoils_a_request_is_found_and_stands_alone(tmp_path: Path) -> None:
    async def act(on: Stage) -> None:
        for customer in range(20):
            on.hub.emit(on.integration, customer_id=customer)
        on.hub.change_payloads(b"pro_monthly", b"poison", customer_id=5)
        on.ledger.poison = "poison"
        async with on.hub.delivering():
            await until(lambda: len(on.hub.attempts()) == 20)
        bad = [row for row in on.hub.attempts() if row.outcome != "delivered"]
        assert [(row.app_user_id, row.outcome, row.reason) for row in bad] == [("user-5", "rejected", "answered 400")]
        assert len(on.ledger.accepted) == 19

    scene(tmp_path, act)


def test_a_whole_answer_is_not_kept_with_every_event(tmp_path: Path) -> None:
    async def act(on: Stage) -> None:
        on.ledger.judge = lambda _: "nonsense" * 1000
        for customer in range(20):
            on.hub.emit(on.integration, customer_id=customer)
        async with on.hub.delivering():
            await until(lambda: len(on.hub.attempts()) == 20)
        rows = on.hub.attempts()
        assert {row.outcome for row in rows} == {"retry"}
        assert {row.reason.split(" (")[0] for row in rows} == {"internal error: the answer could not be read"}
        assert {(len(row.response_body), row.response_truncated) for row in rows} == {(SHARED_ANSWER_BYTES, True)}

    scene(tmp_path, act)


def test_bytes_are_counted(tmp_path: Path) -> None:
    async def act(on: Stage) -> None:
        for customer in range(10):
            on.hub.emit(on.integration, customer_id=customer)
        on.hub.change_payloads(b"pro_monthly", b"x" * (MAX_BYTES // 3))
        async with on.hub.delivering():
            await until(lambda: not on.hub.waiting())
        assert {row.outcome for row in on.hub.attempts()} == {"delivered"}
        assert max(len(entries) for entries in on.ledger.requests) == 2

    scene(tmp_path, act)


def test_all_of_a_refused_request_is_due_again_and_held_by_nobody(tmp_path: Path) -> None:
    async def act(on: Stage) -> None:
        on.hub.emit(on.integration, customer_id=1, count=8)
        on.ledger.judge = lambda _: "again"
        async with on.hub.delivering():
            await until(lambda: len(on.hub.attempts()) >= 1 and all(row.state == 0 for row in on.hub.waiting()))
        assert len(on.hub.waiting()) == 8
        assert {row.lease for row in on.hub.waiting()} == {None}

    scene(tmp_path, act)


def test_the_test_button_says_why_nothing_is_sent(tmp_path: Path) -> None:
    async def act(on: Stage) -> None:
        await on.hub.delivery.send_test(on.hub.project_id, on.integration.id)
        (row,) = on.hub.attempts()
        assert (row.outcome, row.reason) == ("skipped", "the ledger takes no tests")
        assert on.ledger.requests == []

    scene(tmp_path, act)
