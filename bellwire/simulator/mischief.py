"""Trouble on request at the webhook receivers, and a memory of what they were sent."""

import asyncio
import gzip
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from bellwire.simulator.kernel import checked

REMEMBERED = 200
_BOMB_BYTES = 40_000_000
_HUGE_CHUNK = b"x" * 65_536
_HUGE_CHUNKS = 160


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /_control/sink: what the next `times` genuine requests to receiver `name` get; 0 = normal again."""

    name: str
    mode: Literal["fail", "hang", "redirect", "bomb", "huge"] = "fail"
    times: int = 1
    status: int = 500
    """Of `fail`; any status, so that `204` can be tried."""
    retry_after: int | None = None
    hang_s: float = 120.0


class Delivery(msgspec.Struct):
    """One genuine request and what it was answered; `mode` None = taken."""

    name: str
    at_ms: int
    event_id: str
    event_type: str
    mode: str | None
    body: str


class Mischief:
    """Orders by receiver; the newest replaces the one before."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._orders: dict[str, Order] = {}
        self.remembered: deque[Delivery] = deque(maxlen=REMEMBERED)

    def order(self, order: Order) -> None:
        """Raises ValueError for a receiver that does not exist."""
        if order.name not in self._names:
            raise ValueError(f"name is one of {', '.join(sorted(self._names))}")
        self._orders[order.name] = order

    def due(self, name: str, body: bytes) -> Order | None:
        """The order for this request, used up; remembers the request either way."""
        order = self._orders.get(name)
        if order is not None:
            order.times -= 1
            if order.times <= 0:
                del self._orders[name]
            if order.times < 0:
                order = None
        event = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        head = msgspec.json.decode(event["event"], type=_Head)
        self.remembered.append(
            Delivery(
                name=name,
                at_ms=time.time_ns() // 1_000_000,
                event_id=head.id,
                event_type=head.type,
                mode=None if order is None else order.mode,
                body=body.decode(),
            )
        )
        return order

    def routes(self) -> list[Route]:
        """GET /_control/sink lists the latest requests, POST gives an order."""

        async def give(request: Request) -> Response:
            self.order(msgspec.json.decode(await request.body(), type=Order))
            return JSONResponse({})

        async def told(_request: Request) -> Response:
            return Response(msgspec.json.encode({"deliveries": list(self.remembered)}), media_type="application/json")

        return [
            Route("/_control/sink", checked(give), methods=["POST"]),
            Route("/_control/sink", told, methods=["GET"]),
        ]


class _Head(msgspec.Struct):
    id: str
    type: str


async def answer(order: Order) -> Response:
    """Misbehave as ordered."""
    match order.mode:
        case "fail":
            headers = {} if order.retry_after is None else {"Retry-After": str(order.retry_after)}
            return Response(b"" if order.status == 204 else b"no", status_code=order.status, headers=headers)
        case "hang":
            await asyncio.sleep(order.hang_s)
            return JSONResponse({"ok": True})
        case "redirect":
            return RedirectResponse("/sink", status_code=302)
        case "bomb":
            return Response(gzip.compress(b"\0" * _BOMB_BYTES), headers={"Content-Encoding": "gzip"})
        case "huge":
            return StreamingResponse(_huge())


async def _huge() -> AsyncIterator[bytes]:
    for _ in range(_HUGE_CHUNKS):
        yield _HUGE_CHUNK
