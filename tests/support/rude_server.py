"""A real HTTP/1.1 server on loopback that behaves as told, byte by byte: hangs, resets, drips, lies."""

import asyncio
import gzip
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request as it came; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    raw_head: bytes


Reply = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]
"""Writes an answer; when it returns the connection goes on to the next request, unless it was closed."""


@dataclass
class RudeServer:
    """`replies` maps paths (without query) to what is done; everything else is answered 200 `ok`."""

    base_url: str
    port: int
    requests: list[Received] = field(default_factory=list)
    replies: dict[str, Reply] = field(default_factory=dict)
    connections: int = 0

    def to(self, path: str) -> list[Received]:
        """Requests for one path, in order."""
        return [request for request in self.requests if request.target.split("?")[0] == path]

    async def until(self, path: str, count: int) -> None:
        """Wait until a path has been asked so often; the test's own time-out is the bound."""
        while len(self.to(path)) < count:
            await asyncio.sleep(0.005)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                reply = self.replies.get(request.target.split("?")[0], status(200, b"ok"))
                await reply(request, writer)
                if writer.is_closing():
                    break
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def rude_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[RudeServer]:
    """Run one in this loop, on a free port."""
    running = RudeServer("", 0)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await running._serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()  # the test is over; ending quietly keeps the loop from reporting it
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    running.port = server.sockets[0].getsockname()[1]
    running.base_url = f"{'https' if tls else 'http'}://127.0.0.1:{running.port}"
    try:
        yield running
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Received | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method=method, target=target, headers=headers, body=body, raw_head=head)


def status(code: int, body: bytes = b"", **headers: str) -> Reply:
    """A well-behaved answer. Underscores in header names stand for dashes."""
    lines = [f"HTTP/1.1 {code} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def raw(answer: bytes) -> Reply:
    """Exactly these bytes."""

    async def reply(_request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return reply


def in_turn(*replies: Reply) -> Reply:
    """The first reply for the first request, and so on; the last one stays."""
    left = list(replies)

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request, writer)

    return reply


async def hang(_request: Received, _writer: asyncio.StreamWriter) -> None:
    """Never answers."""
    await asyncio.Event().wait()


async def hang_in_body(_request: Received, writer: asyncio.StreamWriter) -> None:
    """Says 200 at once and never finishes."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await asyncio.Event().wait()


async def drip(_request: Received, writer: asyncio.StreamWriter) -> None:
    """A byte now and then, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.02)


async def reset(_request: Received, writer: asyncio.StreamWriter) -> None:
    """RST instead of an answer."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def hang_up(_request: Received, writer: asyncio.StreamWriter) -> None:
    """Closes without a word."""
    writer.close()


async def half_answer(_request: Received, writer: asyncio.StreamWriter) -> None:
    """Promises 100 bytes, sends 4, closes."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.close()


async def ten_megabytes(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n")
    for _ in range(160):
        writer.write(b"x" * 65536)
        await writer.drain()


def gzip_bomb() -> Reply:
    """40 KB on the wire, 40 MB unpacked."""
    return status(200, gzip.compress(b"\0" * 40_000_000, mtime=0), Content_Encoding="gzip")
