"""A plain connection to an address that strangers may choose, for what does not speak HTTP (architecture D10)."""

import asyncio
import socket

from bellwire.kit.addresses import refusal, refusal_always
from bellwire.kit.connections import REFUSED, AddressRefused


async def connect_checked(host: str, port: int, *, allow_private: bool, timeout_s: float) -> socket.socket:
    """A connected socket. The very address that is connected to is checked, whether it was a name or a number.

    Tries each address of a name in turn. Raises AddressRefused when all that is left is refused, OSError when nobody
    answers, TimeoutError after `timeout_s` over all.
    """
    async with asyncio.timeout(timeout_s):
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise OSError(None, f"{host!r} is no host name") from error
        failure: OSError = OSError(None, f"{host} has no address")
        for family, kind, protocol, _, address in found:
            reason = (refusal_always if allow_private else refusal)(str(address[0]))
            if reason is not None:
                failure = AddressRefused(f"{REFUSED} ({reason})")
                continue
            try:
                return await _connect(loop, family, kind, protocol, address)
            except OSError as error:
                failure = error
        raise failure


async def _connect(
    loop: asyncio.AbstractEventLoop,
    family: int,
    kind: int,
    protocol: int,
    address: tuple[str | int | bytes, ...],
) -> socket.socket:
    opened = socket.socket(family, kind, protocol)
    opened.setblocking(False)
    try:
        await loop.sock_connect(opened, address)
    except BaseException:
        opened.close()
        raise
    return opened
