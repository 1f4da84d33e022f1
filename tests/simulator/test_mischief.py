"""Trouble at the receivers on request, over real HTTP, and what delivery makes of it."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import uvicorn
from starlette.applications import Starlette

from bellwire.kit.http import GuardedClient
from bellwire.simulator.mischief import Order
from bellwire.simulator.sink import Receiver, Sink
from tests.support.deliveries import open_hub, play, until

SECRET = "whsec_" + "a" * 32


@asynccontextmanager
async def served(sink: Sink) -> AsyncIterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        Starlette(routes=sink.routes()), log_level="critical", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


def sink_of(*names: str) -> Sink:
    return Sink(
        random.Random(1), *(Receiver(name=name, secret=SECRET, authorization="Bearer of-the-sink") for name in names)
    )


@pytest.mark.parametrize(
    ("order", "outcome", "code", "error"),
    [
        ({"mode": "fail", "status": 204}, "misconfigured", 204, None),
        ({"mode": "fail", "status": 503, "retry_after": 1}, "retry", 503, None),
        ({"mode": "redirect"}, "misconfigured", 302, None),
        ({"mode": "hang"}, "retry", None, "timeout"),
        ({"mode": "bomb"}, "delivered", 200, None),
        ({"mode": "huge"}, "delivered", 200, None),
    ],
    ids=lambda value: value.get("mode") if isinstance(value, dict) else "",
)
def test_trouble_once_then_well_again(
    tmp_path: Path, order: dict[str, object], outcome: str, code: int | None, error: str | None
) -> None:
    async def scene() -> None:
        sink = sink_of("a", "b")
        async with served(sink) as url, open_hub(tmp_path, delivery_timeout_s=2.0) as hub:
            command = msgspec.json.encode({"name": "a", **order})
            assert (await hub.client.request("POST", f"{url}/_control/sink", body=command)).status == 200
            settings = {"signing_secret": SECRET, "authorization": "Bearer of-the-sink"}
            first, other = hub.webhook(f"{url}/sink/a", **settings), hub.webhook(f"{url}/sink/b", **settings)
            async with hub.delivering():
                hub.emit(first, other)
                await until(lambda: len(hub.attempts()) == 2)
                hub.emit(first, customer_id=2)
                await until(lambda: len(hub.attempts()) == 3)
            troubled, well = hub.attempts(first)
            assert (troubled.outcome, troubled.status_code, troubled.error) == (outcome, code, error)
            assert well.outcome == "delivered"
            assert hub.attempts(other)[0].outcome == "delivered"
            told = await hub.client.request("GET", f"{url}/_control/sink")
            deliveries = msgspec.json.decode(told.body)["deliveries"]
            assert sorted((one["name"], one["mode"]) for one in deliveries if one["name"] == "b") == [("b", None)]
            assert [one["mode"] for one in deliveries if one["name"] == "a"] == [order["mode"], None]
            assert {one["event_id"] for one in deliveries} == {row.event_id for row in hub.attempts()}

    play(scene)


def test_orders_that_make_no_sense_are_refused() -> None:
    async def scene() -> None:
        async with served(sink_of("a")) as url:
            client = GuardedClient(allow_private=True)
            for body in (b"", b"{}", b'{"name": "z"}', b'{"name": "a", "mode": "sing"}', b'{"name": "a", "more": 1}'):
                answer = await client.request("POST", f"{url}/_control/sink", body=body)
                assert (answer.status, b"error" in answer.body) == (400, True)
            await client.close()

    play(scene)


def test_an_order_can_be_taken_back() -> None:
    sink = sink_of("a")
    body = b'{"api_version":"1.0","event":{"id":"E1","type":"TEST"}}'
    sink.mischief.order(Order(name="a", times=5))
    assert sink.mischief.due("a", body) is not None
    sink.mischief.order(Order(name="a", times=0))
    assert sink.mischief.due("a", body) is None
    assert sink.mischief.due("a", body) is None
