"""Taking the address that a server listens on, before anything else is begun."""

import errno
import os
import socket
from collections.abc import Sequence


class CannotListen(OSError):
    """The address cannot be listened on; the message says which and why."""


def listen_on(host: str, port: int) -> list[socket.socket]:
    """Bound sockets, not yet accepting, one for each address of `host`; with port 0 all on the same free one.

    Raises CannotListen.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise CannotListen(f"cannot listen on {host}: {getattr(error, 'strerror', None) or error}") from error
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(addresses):
            taken_port = bound[0].getsockname()[1] if bound else port
            one = _bind(family, kind, protocol, (address[0], taken_port, *address[2:]))
            bound += [] if one is None else [one]
    except OSError as error:
        close_all(bound)
        raise _explained(host, port, error) from error
    if not bound:
        raise CannotListen(f"cannot listen on {host}: this machine has no such address")
    return bound


def close_all(sockets: Sequence[socket.socket]) -> None:
    """Give the addresses back."""
    for one in sockets:
        one.close()


def _bind(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket | None:
    """None where the machine does not have this address, such as IPv6's part of `localhost`."""
    try:
        made = socket.socket(family, kind, protocol)
    except OSError:
        return None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return made


def _explained(host: str, port: int, error: OSError) -> CannotListen:
    if error.errno == errno.EADDRINUSE:
        return CannotListen(f"port {port} of {host} is in use: stop what listens there, or choose another port")
    return CannotListen(f"cannot listen on port {port} of {host}: {os.strerror(error.errno or 0)}")
