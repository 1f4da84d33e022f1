"""One HTTP/1.1 request and its answer on a connection of aiohttp's pool.

aiohttp's connector (pool, happy eyeballs, TLS) and its parser in C do the work; its session, which would stand between
them, is left out. It costs 50 of 75 µs a request (measured) for what an outgoing request of ours must not have anyway:
redirects, cookies, proxies, credentials from files, decompression without bound, a task for every body.
"""

from collections.abc import Mapping
from typing import TypeAlias

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

from bellwire.kit.connections import TimedConnector

_NO_TIMEOUTS = aiohttp.ClientTimeout()
"""The caller's deadline covers everything."""
_ORIGINS_KEPT = 1024
_WITHOUT_LENGTH = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_READ_AHEAD = 64 * 1024

Answered: TypeAlias = tuple[RawResponseMessage, StreamReader]


class Wire:
    """Connections to wherever, and what is said on them. `defaults` are headers that a request may replace."""

    def __init__(self, connector: TimedConnector, defaults: Mapping[str, str]) -> None:
        self._connector = connector
        self._defaults = [(name.lower(), f"{name}: {value}\r\n") for name, value in defaults.items()]
        self._all_defaults = "".join(line for _, line in self._defaults)
        self._default_names = {"host", *(name for name, _ in self._defaults)}
        self._origins: dict[tuple[str, str | None, int | None], aiohttp.ClientRequest] = {}

    async def connect(self, target: URL) -> Connection:
        """A connection that was kept, or a new one. The caller ends with `release` or `close`."""
        return await self._connector.connect(self._origin(target), [], _NO_TIMEOUTS)

    async def converse(
        self, connection: Connection, method: str, target: URL, headers: Mapping[str, str], body: bytes
    ) -> Answered:
        """Say the request whole; returns when the head of the answer is there. Headers and method have been checked."""
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None:
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(
            skip_payload=method == "HEAD", read_until_eof=True, auto_decompress=False, read_bufsize=_READ_AHEAD
        )
        transport.write(self._head(method, target, headers, body) + body)
        return await _final_head(protocol)

    async def close(self) -> None:
        """Close all connections, those in use too."""
        await self._connector.close()

    def _origin(self, target: URL) -> aiohttp.ClientRequest:
        """What the connector asks a request for: where it goes. One serves all requests to an origin."""
        key = (target.scheme, target.raw_host, target.port)
        known = self._origins.pop(key, None)
        if known is None:
            known = aiohttp.ClientRequest("GET", target.origin(), loop=self._connector._loop)
            if len(self._origins) >= _ORIGINS_KEPT:
                del self._origins[next(iter(self._origins))]
        self._origins[key] = known
        return known

    def _head(self, method: str, target: URL, headers: Mapping[str, str], body: bytes) -> bytes:
        given = {name.lower() for name in headers}
        host = f"Host: {target.host_port_subcomponent}\r\n"
        defaults = self._all_defaults
        if not given.isdisjoint(self._default_names):
            host = "" if "host" in given else host
            defaults = "".join([line for name, line in self._defaults if name not in given])
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if body and "content-type" not in given:
            lines += "Content-Type: application/octet-stream\r\n"
        if body or method not in _WITHOUT_LENGTH:
            lines += f"Content-Length: {len(body)}\r\n"
        return f"{method} {target.raw_path_qs} HTTP/1.1\r\n{host}{defaults}{lines}\r\n".encode()


async def _final_head(protocol: ResponseHandler) -> Answered:
    """The head of the answer, past all that only announce one."""
    while True:
        message, content = await protocol.read()
        if not 100 <= message.code < 200 or message.code == 101:
            return message, content


def finish(connection: Connection, content: StreamReader) -> None:
    """Keep a connection on which both sides have said all they had to say; else close it."""
    transport = connection.transport
    if content.is_eof() and transport is not None and not transport.get_write_buffer_size():
        connection.release()
    else:
        cut(connection)


def cut(connection: Connection) -> None:
    """Close at once: what the peer has not read yet is dropped, or a peer that reads nothing would keep it for ever."""
    if connection.transport is not None:
        connection.transport.abort()
    connection.close()
