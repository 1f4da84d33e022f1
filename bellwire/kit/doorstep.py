"""Connections that are not kept open for who does not finish speaking, and not too many of them.

uvicorn waits for ever for a request to become whole and sets no limit to its headers: a stranger without any key could
hold connections and fill the memory, a byte at a time. Nor does it count connections in a way that strangers could not
use: it would refuse everybody once somebody holds enough of them.
"""

import asyncio
from asyncio.events import TimerHandle
from collections import Counter

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bellwire.kit.buckets import Proxies, household

MAX_HEAD_BYTES = 65_536
"""Request line and headers together; after them as much for all that is not body, and a byte for each of the body."""
MAX_PIPELINED = 32
"""Requests of one connection that wait for the answer to an earlier one: each costs far more memory than its bytes."""

_TOO_MUCH = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class DoorstepProtocol(HttpToolsProtocol):
    """Closes a connection whose request is not whole `request_timeout_s` after it was opened or the request began.

    The time that the hub takes to answer does not count, nor how long an answer goes on.
    """

    request_timeout_s = 30.0
    doorkeeper: "Doorkeeper"
    _client = ""
    _deadline: TimerHandle | None = None
    _overhead_bytes = 0
    _body_bytes = 0
    _in_body = False

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, tuple) else ""
        self._expect()
        self.doorkeeper.welcome(self, self._client)

    # pyrefly: ignore[missing-override-decorator]
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_expecting()
        self.doorkeeper.part(self._client)
        super().connection_lost(exc)

    # pyrefly: ignore[missing-override-decorator]
    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._expect()
        super().data_received(data)
        if self._deadline is None or self.transport.is_closing():
            return
        self._overhead_bytes += len(data)
        if self._overhead_bytes - self._body_bytes <= MAX_HEAD_BYTES + self._body_bytes:
            return
        if self._in_body:  # chunk extensions, tiny chunks or trailers without end
            self.transport.abort()
        else:
            self.transport.write(_TOO_MUCH)
            self.transport.close()

    # pyrefly: ignore[missing-override-decorator]
    def on_header(self, name: bytes, value: bytes) -> None:
        """Those behind the body are dropped: they would appear among the request's headers after these were judged."""
        if not self._in_body:
            super().on_header(name, value)

    # pyrefly: ignore[missing-override-decorator]
    def on_headers_complete(self) -> None:
        self._in_body = True
        super().on_headers_complete()
        if len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()

    # pyrefly: ignore[missing-override-decorator]
    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    # pyrefly: ignore[missing-override-decorator]
    def on_message_complete(self) -> None:
        self._in_body = False
        self._overhead_bytes = self._body_bytes = 0
        self._stop_expecting()
        super().on_message_complete()

    def _expect(self) -> None:
        self.doorkeeper.waiting[self] = None
        self._deadline = self.loop.call_later(self.request_timeout_s, self._give_up)

    def _stop_expecting(self) -> None:
        self.doorkeeper.waiting.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        self.transport.abort()


class Doorkeeper:
    """Counts the connections of one server. Trusted proxies bring those of many clients and have no limit of their own."""

    def __init__(self, *, most: int, most_per_client: int, proxies: Proxies) -> None:
        self._most = most
        self._most_per_client = most_per_client
        self._proxies = proxies
        self._open = 0
        self._by_client: Counter[str] = Counter()
        self.waiting: dict[DoorstepProtocol, None] = {}
        """Connections whose request is not whole, the one that has waited longest first."""

    def welcome(self, connection: DoorstepProtocol, client: str) -> None:
        """Count one that was just opened, and close one where there are too many."""
        self._open += 1
        self._by_client[household(client)] += 1
        if self._by_client[household(client)] > self._most_per_client and not self._proxies.hide(client):
            connection.transport.abort()
        elif self._open > self._most:
            next(iter(self.waiting)).transport.abort()

    def part(self, client: str) -> None:
        """One was closed."""
        self._open -= 1
        self._by_client[household(client)] -= 1
        if not self._by_client[household(client)]:
            del self._by_client[household(client)]


def doorstep(request_timeout_s: float, doorkeeper: Doorkeeper) -> type[DoorstepProtocol]:
    """The protocol with this deadline and counter, as uvicorn wants it: a class."""
    return type("Doorstep", (DoorstepProtocol,), {"request_timeout_s": request_timeout_s, "doorkeeper": doorkeeper})
