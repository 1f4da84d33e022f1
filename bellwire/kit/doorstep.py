"""Connections that are not kept open for who does not finish speaking.

uvicorn waits for ever for a request to become whole and sets no limit to its headers: a stranger without any key could
hold connections and fill the memory, a byte at a time.
"""

import asyncio
from asyncio.events import TimerHandle

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
"""Request line and headers together."""

_TOO_MUCH = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class DoorstepProtocol(HttpToolsProtocol):
    """Closes a connection whose request is not whole `request_timeout_s` after it was opened or the request began.

    The time that the hub takes to answer does not count, nor how long an answer goes on.
    """

    request_timeout_s = 30.0
    _deadline: TimerHandle | None = None
    _head_bytes = 0
    _in_body = False

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._expect()

    # pyrefly: ignore[missing-override-decorator]
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_expecting()
        super().connection_lost(exc)

    # pyrefly: ignore[missing-override-decorator]
    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._expect()
        super().data_received(data)
        if self._in_body or self._deadline is None or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.transport.write(_TOO_MUCH)
            self.transport.close()

    # pyrefly: ignore[missing-override-decorator]
    def on_headers_complete(self) -> None:
        self._in_body = True
        self._head_bytes = 0
        super().on_headers_complete()

    # pyrefly: ignore[missing-override-decorator]
    def on_message_complete(self) -> None:
        self._in_body = False
        self._stop_expecting()
        super().on_message_complete()

    def _expect(self) -> None:
        self._deadline = self.loop.call_later(self.request_timeout_s, self._give_up)

    def _stop_expecting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        self.transport.abort()


def doorstep(request_timeout_s: float) -> type[DoorstepProtocol]:
    """The protocol with this deadline, as uvicorn wants it: a class."""
    return type("Doorstep", (DoorstepProtocol,), {"request_timeout_s": request_timeout_s})
