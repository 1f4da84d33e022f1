"""A webhook receiver that remembers every request: when it came, what was in it, what it was answered.

It speaks HTTP/1.1 itself, so that it can break off at any byte. `/LANE` is the endpoint of one integration.
"""

import asyncio
import json
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum


class Mood(StrEnum):
    """What a request gets."""

    TAKE = "take"
    """200."""
    SLOW = "slow"
    """200 after a while."""
    FAIL = "fail"
    """500."""
    RESET = "reset"
    """A reset instead of an answer."""
    HANG_UP = "hang up"
    """Closed without a word."""
    HALF = "half"
    """The head of a 200, half of its body, and the end."""
    MUTE = "mute"
    """Nothing at all until the sender gives up."""


RUDE = (Mood.SLOW, Mood.SLOW, Mood.FAIL, Mood.RESET, Mood.HANG_UP, Mood.HALF, Mood.MUTE)
"""What a request may get while the receiver is in a bad way."""


@dataclass(kw_only=True)
class Heard:
    """One complete request. Times are `time.monotonic()`."""

    lane: str
    event_id: str
    event: dict[str, object]
    headers: dict[str, str]
    came_at: float
    came_at_ms: int
    """The same on the machine's wall clock."""
    mood: Mood
    answered_at: float | None = None
    """When the answer, or what there was of it, had been handed to the system; None = never."""

    @property
    def taken(self) -> bool:
        """The whole 200 was sent: whoever asked may believe that it arrived."""
        return self.answered_at is not None and self.mood in (Mood.TAKE, Mood.SLOW)


@dataclass
class Receiver:
    """Running on `port` of every loopback address. `rudeness`: the share of requests that are treated badly."""

    chance: random.Random
    port: int = 0
    rudeness: float = 0.0
    heard: list[Heard] = field(default_factory=list)
    open: set[int] = field(default_factory=set)
    """Indexes into `heard` of requests that wait for their answer."""
    when_came: list[Callable[[], None]] = field(default_factory=list)
    """Called once each, by the next request that comes."""
    when_answered: list[Callable[[], None]] = field(default_factory=list)
    """Called once each, by the next answer that has left."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while not writer.is_closing():
                await self._exchange(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        event: dict[str, object] = json.loads(body)["event"]
        heard = Heard(
            lane=first.split(" ")[1].removeprefix("/"),
            event_id=str(event["id"]),
            event=event,
            headers=headers,
            came_at=time.monotonic(),
            came_at_ms=time.time_ns() // 1_000_000,
            mood=self._mood(),
        )
        self.heard.append(heard)
        index = len(self.heard) - 1
        self.open.add(index)
        _call_all(self.when_came)
        try:
            await self._answer(heard, writer)
        finally:
            self.open.discard(index)
        _call_all(self.when_answered)

    def _mood(self) -> Mood:
        return self.chance.choice(RUDE) if self.chance.random() < self.rudeness else Mood.TAKE

    async def _answer(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        match heard.mood:
            case Mood.TAKE | Mood.SLOW:
                if heard.mood is Mood.SLOW:
                    await asyncio.sleep(self.chance.uniform(0.05, 1.0))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
            case Mood.FAIL:
                writer.write(b"HTTP/1.1 500 Whatever\r\nContent-Length: 2\r\n\r\nno")
                await writer.drain()
            case Mood.RESET:
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            case Mood.HANG_UP:
                writer.close()
            case Mood.HALF:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                await writer.drain()
                writer.close()
            case Mood.MUTE:
                await asyncio.sleep(30)
                writer.close()
        heard.answered_at = time.monotonic()


def _call_all(waiting: list[Callable[[], None]]) -> None:
    called = list(waiting)
    waiting.clear()
    for call in called:
        call()


@asynccontextmanager
async def running_receiver(chance: random.Random) -> AsyncIterator[Receiver]:
    """Serve one in this loop, on all of 127.0.0.0/8: names may point anywhere there."""
    receiver = Receiver(chance)
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await receiver.serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()  # the round is over; ending quietly keeps the loop from reporting it
        finally:
            connections.discard(task)

    server = await asyncio.start_server(serve, "0.0.0.0", 0)  # noqa: S104  # names may resolve to any of 127.0.0.0/8
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()
