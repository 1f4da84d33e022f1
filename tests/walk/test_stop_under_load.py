"""A real process is told to stop in the middle of its work: it says so, lets go of what it holds, and ends in order."""

import asyncio
import contextlib
import json
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bellwire.db.engine import open_engine
from bellwire.db.integrations import Filters
from bellwire.db.migrate import upgrade
from bellwire.db.tables import outbox
from bellwire.kit.http import GuardedClient
from bellwire.settings import Settings
from tests.support.deliveries import Hub
from tests.support.process import HubProcess
from tests.support.served import served

EVENTS = 1500
HANGING = 8


class Receiver:
    """Answers within a moment at /steady, at /hangs only when the test lets it."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.hanging: Counter[str] = Counter()
        self.answer_all = asyncio.Event()

    async def steady(self, request: Request) -> Response:
        event_id = json.loads(await request.body())["event"]["id"]
        self.received[event_id] += 1
        await asyncio.sleep(0.01)  # so that some are on the wire at any moment
        self.answered[event_id] += 1
        return Response()

    async def hang(self, request: Request) -> Response:
        self.hanging[json.loads(await request.body())["event"]["id"]] += 1
        await self.answer_all.wait()
        return Response()

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/steady", self.steady, methods=["POST"]),
                Route("/hangs", self.hang, methods=["POST"]),
            ]
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def process(folder: Path, **settings: str) -> HubProcess:
    environment = {"BELLWIRE_ALLOW_PRIVATE_ADDRESSES": "true", "BELLWIRE_LOG_LEVEL": "info"}
    return HubProcess(folder, port=free_port(), environment=environment | settings)


async def prepare(folder: Path, url: str) -> None:
    """Much to do for one receiver, a little for one that hangs."""
    engine = open_engine(f"sqlite:///{folder / 'bellwire.db'}")
    upgrade(engine)
    engine.dispose()
    client = GuardedClient()
    hub = Hub(folder, client, Settings(data_dir=folder))
    steady = hub.webhook(f"{url}/steady", filters=Filters(order_wait_ms=0))
    hanging = hub.webhook(f"{url}/hangs", filters=Filters(order_wait_ms=0))
    for customer_id in range(1, EVENTS // 100 + 1):
        hub.emit(steady, customer_id=customer_id, count=100)
    hub.emit(hanging, customer_id=999, count=HANGING)
    await client.close()
    hub.writer.close()
    hub.engine.dispose()


@contextlib.asynccontextmanager
async def scene(folder: Path, **settings: str) -> AsyncIterator[tuple[Receiver, HubProcess]]:
    receiver = Receiver()
    async with asyncio.timeout(90), served(receiver.app()) as url:
        await prepare(folder, url)
        hub = process(folder, **settings)
        try:
            yield receiver, hub
        finally:
            receiver.answer_all.set()
            await hub.kill()


def waiting(folder: Path) -> list[tuple[int, int]]:
    """State and attempts of every row that is left."""
    engine = open_engine(f"sqlite:///{folder / 'bellwire.db'}")
    with engine.connect() as connection:
        rows = connection.execute(sa.select(outbox.c.state, outbox.c.attempt)).all()
    engine.dispose()
    return [(row.state, row.attempt) for row in rows]


async def ready(hub: HubProcess) -> tuple[int, list[str]] | None:
    """What /readyz says; None when nobody answers any more."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{hub.url}/readyz") as answer:
            return answer.status, (await answer.json()).get("reasons", [])
    except aiohttp.ClientError:
        return None


async def until(receiver: Receiver, count: int) -> None:
    while receiver.answered.total() < count:
        await asyncio.sleep(0.002)


def test_stop_in_the_middle_of_deliveries(tmp_path: Path) -> None:
    """Nothing stays on lease, nothing is lost; sent again is only what was cut off on the wire, here what hung."""

    async def run() -> None:
        async with scene(tmp_path, BELLWIRE_DRAIN_S="600") as (receiver, hub):
            await hub.start()
            await until(receiver, EVENTS // 10)
            hub.send(signal.SIGTERM)
            while (said := await ready(hub)) is not None and said[0] == 200:
                await asyncio.sleep(0.005)
            assert said == (503, ["stopping"])
            hub.send(signal.SIGINT)  # enough of the drain
            assert await hub.ended() == 0
            delivered = receiver.answered.total()
            assert delivered < EVENTS, "it stopped only after everything was done: this proves nothing"
            left = waiting(tmp_path)
            assert len(left) == EVENTS - delivered + HANGING
            assert set(left) == {(0, 0)}, "due again as they were, none leased, no attempt counted"
            receiver.answer_all.set()
            await hub.start()
            while waiting(tmp_path):
                await asyncio.sleep(0.02)
            hub.send(signal.SIGINT)
            assert await hub.ended() == 0
            assert len(receiver.answered) == EVENTS
            assert set(receiver.received.values()) == {1}
            assert len(receiver.hanging) == HANGING
            assert max(receiver.hanging.values()) <= 2

    asyncio.run(run())


def test_same_signal_again_ends_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, BELLWIRE_DRAIN_S="600") as (receiver, hub):
            await hub.start()
            await until(receiver, 10)
            hub.send(signal.SIGTERM)
            while await ready(hub) != (503, ["stopping"]):
                await asyncio.sleep(0.005)
            hub.send(signal.SIGTERM)
            assert await hub.ended() == 128 + signal.SIGTERM
            assert any("hub.cut_off" in line for line in hub.log)

    asyncio.run(run())


def test_ctrl_c_does_not_wait_for_load_balancers(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, BELLWIRE_DRAIN_S="600") as (receiver, hub):
            await hub.start()
            await until(receiver, 10)
            hub.send(signal.SIGINT)
            hub.send(signal.SIGTERM)  # of the process above, which a Ctrl-C reaches as well
            assert await hub.ended() == 0
            assert {state for state, _ in waiting(tmp_path)} == {0}

    asyncio.run(run())
