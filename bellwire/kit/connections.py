"""How the guarded client gets its connections: names looked up aside, addresses checked, stages timed."""

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import aiohttp
from aiohappyeyeballs import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace

from bellwire.kit.addresses import refusal

REFUSED = "refused address"
"""How the message of AddressRefused begins; aiohttp hands on the words and not always the exception."""

_DNS_THREADS = 16


class AddressRefused(OSError):
    """A socket to this address is not opened."""


def ms_since(began_ns: int) -> int:
    """Whole milliseconds since a `time.perf_counter_ns`."""
    return (time.perf_counter_ns() - began_ns) // 1_000_000


def open_socket(address: AddrInfoType) -> socket.socket:
    """A socket to wherever."""
    family, kind, protocol, _, _ = address
    return socket.socket(family, kind, protocol)


def open_public_socket(address: AddrInfoType) -> socket.socket:
    """Called for each socket aiohttp opens, with the very address it will connect to, names and literals alike."""
    reason = refusal(str(address[4][0]))
    if reason is not None:
        raise AddressRefused(f"{REFUSED} ({reason})")
    return open_socket(address)


stages: ContextVar[dict[str, int]] = ContextVar("stages")
"""Where the request that runs in this task notes how long its stages took. aiohttp's own tracing would do it as well,
for 30 µs a request, a third of what the request costs (measured), and mostly on kept connections that have no stages.
"""


class TimedConnector(aiohttp.TCPConnector):
    """Notes how long opening a connection took, TLS included and DNS not."""

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
