"""The one guarded way out (architecture D10): every outgoing request of the hub goes through `GuardedClient`."""

import asyncio
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib.metadata import version

import aiohttp
import msgspec
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

from bellwire.kit.compressed import decompress
from bellwire.kit.connections import (
    REFUSED,
    AnswerTooLong,
    Resolver,
    TimedConnector,
    ms_since,
    socket_opener,
    stages,
    wire_limit,
)
from bellwire.kit.exchange import Wire, cut, finish
from bellwire.kit.requests import UnusableRequest, check_headers, check_url


class TransportError(StrEnum):
    """Why no answer came."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    RESET = "reset"
    BLOCKED = "blocked"
    """The guarded client refused the address."""
    INVALID_URL = "invalid_url"
    """The URL or a header can not be sent as it is."""
    PROTOCOL = "protocol"
    """The peer did not speak HTTP, or its answer broke a limit while being read."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What came back: a status, or a transport error. `body` is cut at the limit, `truncated` says so.

    Header names are lower case. With `error` set, status, headers and body are what had arrived before it.
    """

    status: int | None = None
    headers: dict[str, str] = {}
    body: bytes = b""
    truncated: bool = False
    error: TransportError | None = None
    error_detail: str = ""
    """In words, fit to be shown: host and cause, never path, query or headers."""
    retry_after_s: float | None = None
    duration_ms: int = 0
    timings: dict[str, int] = {}
    """Milliseconds of stages: dns, connect (with TLS), first_byte, total; the first two are missing on a connection
    that was kept alive."""


DEFAULT_RESPONSE_BYTES = 64 * 1024
_OVERHEAD_BYTES = 256 * 1024
"""Headers and framing, on top of twice the body's limit: a reader may be handed more than it asked for."""
_KEEP_ALIVE_S = 4.0
"""Shorter than the 5 s after which common servers hang up, so that a request seldom meets a closing connection."""
_ERROR_DETAIL_CHARACTERS = 300


class GuardedClient:
    """Sends requests to addresses that strangers choose. One per process, created inside the running loop.

    Checks the address of every socket it opens, never follows redirects, ignores the environment's proxies, keeps no
    cookies, cuts answers and what they decompress to, and has one deadline from DNS to the last byte. Cloud metadata is
    refused even with `allow_private`.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        own_port: int | None = None,
        max_response_bytes: int = DEFAULT_RESPONSE_BYTES,
        user_agent: str = f"Bellwire/{version('bellwire')}",
    ) -> None:
        self._allow_private = allow_private
        self._max_response_bytes = max_response_bytes
        self._resolver = Resolver()
        connector = TimedConnector(
            limit=0,
            resolver=self._resolver,
            socket_factory=socket_opener(allow_private=allow_private, own_port=own_port),
            keepalive_timeout=_KEEP_ALIVE_S,
        )
        self._wire = Wire(connector, {"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "gzip, deflate"})

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},  # never changed
        body: bytes = b"",
        timeout_s: float = 60.0,
        max_response_bytes: int | None = None,
    ) -> Answer:
        """Send one request and read its answer up to the limit. Never raises for transport trouble.

        A `body` that is empty sends none. Cancellation closes the connection.
        """
        limit = self._max_response_bytes if max_response_bytes is None else max_response_bytes
        call = _Call()
        stages.set(call.stages)
        wire_limit.set(2 * limit + _OVERHEAD_BYTES)
        try:
            target = check_url(url, allow_http=self._allow_private)
            check_headers(method, headers)
            async with asyncio.timeout(timeout_s):
                await self._exchange(call, method.upper(), target, headers, body, limit)
        except UnusableRequest as error:
            return call.failed(TransportError.INVALID_URL, str(error))
        except TimeoutError:
            return call.failed(TransportError.TIMEOUT, f"no complete answer within {timeout_s:g} s")
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
            return call.failed(*_explain(error))
        return call.answer()

    async def _exchange(
        self,
        call: "_Call",
        method: str,
        target: URL,
        headers: Mapping[str, str],
        body: bytes,
        limit: int,
    ) -> None:
        """Send and read; what arrives is noted in `call` at once, so that a later failure does not lose it."""
        connection = await self._wire.connect(target)
        try:
            message, content = await self._wire.converse(connection, method, target, headers, body)
            call.begin(message)
            try:
                await call.read(content, limit)
            finally:
                call.unpack(limit)
        except BaseException:
            cut(connection)
            raise
        finish(connection, content)

    async def close(self) -> None:
        """Close all connections; requests still on the wire end as `reset`."""
        await self._wire.close()
        await self._resolver.close()


class _Call:
    """One request while it runs: when it began, what has arrived."""

    def __init__(self) -> None:
        self.began_ns = time.perf_counter_ns()
        self.first_byte_ns: int | None = None
        self.stages: dict[str, int] = {}
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.raw: bytes | bytearray = bytearray()
        self.truncated = False

    def begin(self, message: RawResponseMessage) -> None:
        """The head of the answer is there."""
        self.first_byte_ns = time.perf_counter_ns()
        self.status = message.code
        self.headers = _plain_headers(message)

    async def read(self, content: StreamReader, limit: int) -> None:
        """The body, up to some more than the limit."""
        while chunk := await content.readany():
            self.raw += chunk
            if len(self.raw) > limit:
                self.truncated = True
                break

    def answer(self, error: TransportError | None = None, detail: str = "") -> Answer:
        total_ms = ms_since(self.began_ns)
        timings = {name: self.stages[name] for name in ("dns", "connect") if name in self.stages}
        if self.first_byte_ns is not None:
            timings["first_byte"] = (self.first_byte_ns - self.began_ns) // 1_000_000
        timings["total"] = total_ms
        return Answer(
            status=self.status,
            headers=self.headers,
            body=bytes(self.raw),
            truncated=self.truncated,
            error=error,
            error_detail=detail,
            retry_after_s=parse_retry_after(self.headers.get("retry-after"), now_s=time.time()),
            duration_ms=total_ms,
            timings=timings,
        )

    def unpack(self, limit: int) -> None:
        """Keep `limit` bytes of what came, decompressed."""
        raw = bytes(self.raw[:limit])
        encoding = self.headers.get("content-encoding")
        if encoding is not None:
            raw, cut = decompress(raw, encoding, limit)
            self.truncated = self.truncated or cut
        self.raw = raw

    def failed(self, error: TransportError, detail: str) -> Answer:
        return self.answer(error, detail[:_ERROR_DETAIL_CHARACTERS])


def parse_retry_after(value: str | None, *, now_s: float) -> float | None:
    """Seconds that a `Retry-After` header asks to wait (a number or an HTTP date); None when absent or unreadable."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None


def _explain(error: Exception) -> tuple[TransportError, str]:
    """Sort what aiohttp and the system raise into our few kinds, with words for the feed."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return TransportError.DNS, f"{error.host} does not resolve"
        case aiohttp.ClientSSLError():
            return TransportError.TLS, f"{error.host}: {error.os_error if error.os_error.args else error}"
        case aiohttp.ClientConnectorError():
            cause = str(error.os_error)
            return TransportError.BLOCKED if REFUSED in cause else TransportError.CONNECT, f"{error.host}: {cause}"
        case AnswerTooLong():
            return TransportError.PROTOCOL, "the answer does not end: too many bytes around its body"
        case aiohttp.ClientPayloadError():
            return TransportError.RESET, "the answer ended before it was complete"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return TransportError.RESET, "the connection was closed before an answer came"
        case HttpProcessingError():
            return TransportError.PROTOCOL, f"not a usable HTTP answer: {error.message}"
        case ConnectionError():
            return TransportError.RESET, "the connection was closed before an answer came"
        case ValueError():
            return TransportError.INVALID_URL, "the URL or a header can not be sent"
        case aiohttp.ClientError():
            return TransportError.PROTOCOL, type(error).__name__
        case _:
            return TransportError.CONNECT, str(error)


def _plain_headers(message: RawResponseMessage) -> dict[str, str]:
    """Names in lower case, repeated ones joined, bytes that are no text replaced."""
    headers: dict[str, str] = {}
    for name, value in message.headers.items():
        text = value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        key = name.lower()
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
