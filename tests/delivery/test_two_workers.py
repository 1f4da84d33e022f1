"""Two workers on one PostgreSQL database: leases, fences, and what becomes of one that is slow or dead."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from bellwire.db.integrations import Filters
from bellwire.db.outbox import State, release_leases_of
from bellwire.db.tables import events
from bellwire.kit.ids import NODE_SHIFT, NODES
from tests.support.databases import chosen
from tests.support.deliveries import open_hub, play, until
from tests.support.postgres import PostgresServer
from tests.support.rude_server import rude_server, status

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(autouse=True)
def shared(postgres: PostgresServer, postgres_template: str, tmp_path: Path) -> Iterator[None]:
    url = postgres.create_database(postgres_template)
    with chosen(tmp_path, url):
        yield
    postgres.drop_database(url)


def test_a_slow_worker_cannot_finish_what_another_took_over(tmp_path: Path) -> None:
    """It is taken for dead while its request hangs; its late answer is logged, and changes nothing of the row."""

    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as slow, open_hub(tmp_path) as other:
            go = asyncio.Event()

            async def slowly(_request: object, writer: asyncio.StreamWriter) -> None:
                await go.wait()
                writer.write(OK)

            server.replies["/in"] = slowly
            hook = slow.webhook(f"{server.base_url}/in")
            async with slow.delivering():
                slow.emit(hook)
                await server.until("/in", 1)
                (held,) = slow.waiting()
                node = (held.lease >> NODE_SHIFT) & (NODES - 1)
                released = other.writer.submit_change(lambda connection: release_leases_of(connection, {node}))
                assert released.result() == 1
                server.replies["/in"] = status(503)
                async with other.delivering():
                    await until(lambda: other.attempts())
                    (retried,) = other.waiting()
                    assert (retried.state, retried.attempt) == (State.DUE, 1)
                    go.set()
                    await until(lambda: len(other.attempts()) == 2)
                    assert other.waiting() == [retried]
            outcomes = sorted(row.outcome for row in other.attempts())
            assert outcomes == ["delivered", "retry"]

    play(scene)


def test_two_workers_send_everything_once_and_in_order(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as first, open_hub(tmp_path) as second:
            server.replies["/in"] = status(200)
            hook = first.webhook(f"{server.base_url}/in", filters=Filters(concurrency=8))
            for _ in range(10):
                for customer in range(10):
                    first.emit(hook, customer_id=customer)
            async with first.delivering(), second.delivering():
                for _ in range(10):
                    for customer in range(10):
                        second.emit(hook, customer_id=customer)
                await until(lambda: not first.waiting())
            sent = [msgspec.json.decode(request.body)["event"] for request in server.to("/in")]
            assert Counter(Counter(event["id"] for event in sent).values()) == {1: 200}
            by_customer: defaultdict[str, list[str]] = defaultdict(list)
            for event in sent:
                by_customer[event["app_user_id"]].append(event["id"])
            with first.engine.connect() as connection:
                stored = connection.execute(sa.select(events.c.id, events.c.app_user_id).order_by(events.c.seq)).all()
            expected: defaultdict[str, list[str]] = defaultdict(list)
            for row in stored:
                expected[row.app_user_id].append(row.id)
            assert by_customer == expected
            assert {row.attempt for row in first.attempts()} == {1}

    play(scene)
