"""How the guarded client gets its connections: names looked up aside, addresses checked, stages timed."""

import asyncio
import functools
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohappyeyeballs import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.tracing import Trace

from bellwire.kit.addresses import refusal, refusal_always

REFUSED = "refused address"
"""How the message of AddressRefused begins; aiohttp hands on the words and not always the exception."""

_DNS_THREADS = 16


class AddressRefused(OSError):
    """A socket to this address is not opened."""


def ms_since(began_ns: int) -> int:
    """Whole milliseconds since a `time.perf_counter_ns`."""
    return (time.perf_counter_ns() - began_ns) // 1_000_000


def socket_opener(*, allow_private: bool, own_port: int | None) -> Callable[[AddrInfoType], socket.socket]:
    """What aiohttp calls for each socket it opens, with the very address it will connect to, names and literals alike.

    `own_port` is where this process listens: the hub does not call itself, also by a public address of this machine.
    """

    def open_socket(address: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, place = address
        host, port = str(place[0]), place[1]
        reason = refusal_always(host) if allow_private else refusal(host)
        if reason is None and not allow_private and port == own_port and is_this_machine(family, host):
            reason = "this hub"
        if reason is not None:
            raise AddressRefused(f"{REFUSED} ({reason})")
        return socket.socket(family, kind, protocol)

    return open_socket


def is_this_machine(family: int, host: str) -> bool:
    """Whether a packet to `host` (numeric) would stay here. Asks the routing table; nothing is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError:
            return False
        return bool(probe.getsockname()[0] == host)


stages: ContextVar[dict[str, int]] = ContextVar("stages")
"""Where the request that runs in this task notes how long its stages took. aiohttp's own tracing would do it as well,
for 30 µs a request, a third of what the request costs (measured), and mostly on kept connections that have no stages.
"""


wire_limit: ContextVar[int] = ContextVar("wire_limit")
"""How many bytes the request that runs in this task may get back, whatever they are."""


class AnswerTooLong(aiohttp.ClientError):
    """Far more came than the answer's body may have: headers, chunks or empty lines without end."""


class BoundedHandler(ResponseHandler):
    """Hangs up on who goes on speaking: 1xx answers, chunk extensions and empty lines count in no limit of aiohttp's,
    and reading them kept a core busy until the deadline."""

    _left = 0

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    def set_response_params(self, **named: Any) -> None:
        self._left = wire_limit.get()
        super().set_response_params(**named)

    # pyrefly: ignore[missing-override-decorator]
    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            super().data_received(data)
        elif self.transport is not None:
            error = AnswerTooLong()
            if self._payload is not None:
                self._payload.set_exception(error)
            self.set_exception(error)
            self.transport.abort()

    def expect_nothing(self) -> None:
        """Between two requests every byte is one too many: it would be read as the next one's answer."""
        self._left = 0


class TimedConnector(aiohttp.TCPConnector):
    """Notes how long opening a connection took, TLS included and DNS not."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self._factory = functools.partial(BoundedHandler, loop=self._loop)

    # pyrefly: ignore[missing-override-decorator]
    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if isinstance(protocol, BoundedHandler):
            protocol.expect_nothing()
        super()._release(key, protocol, should_close=should_close)

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's name
    ) -> ResponseHandler:
        began_ns = time.perf_counter_ns()
        handler = await super()._create_connection(req, traces, timeout)
        noted = stages.get()
        noted["connect"] = max(0, ms_since(began_ns) - noted.get("dns", 0))
        return handler


class Resolver(AbstractResolver):
    """getaddrinfo on threads of its own: names that hang use up neither the loop's nor anybody else's threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_DNS_THREADS, thread_name_prefix="bellwire-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        began_ns = time.perf_counter_ns()
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, _look_up, host, port, family)
        except UnicodeError as error:
            raise OSError(None, f"{host!r} is no host name") from error
        finally:
            stages.get()["dns"] = ms_since(began_ns)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: int) -> list[tuple[int, str]]:
    found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [(kind, str(address[0])) for kind, _, _, _, address in found]
