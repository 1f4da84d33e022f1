"""Token buckets for many keys in bounded memory, and whose address is whose."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

MAX_KEYS = 10_000
"""Those that were quiet longest are forgotten beyond this: their buckets would mostly be full again."""


class Buckets:
    """`per_s` tokens a second for each key, at most `burst` saved up. One per process; a restart fills them all."""

    def __init__(self, per_s: float, burst: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, key: str) -> float:
        """Take a token: 0.0, or the seconds until there will be one. Without a rate everything is 0.0."""
        if self._per_s <= 0:
            return 0.0
        now_s = self._clock()
        level, at_s = self._levels.get(key, (self._burst, now_s))
        level = min(self._burst, level + (now_s - at_s) * self._per_s)
        wait_s = 0.0 if level >= 1 else (1 - level) / self._per_s
        self._levels[key] = (level if wait_s else level - 1, now_s)
        self._levels.move_to_end(key)
        if len(self._levels) > MAX_KEYS:
            self._levels.popitem(last=False)
        return wait_s


def household(client: str) -> str:
    """What counts as one client: an IPv4 address, or the 2^64 IPv6 addresses that whoever has one of them has."""
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return client[:254]
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))


class Proxies:
    """The reverse proxies that the operator trusts, as `BELLWIRE_TRUSTED_PROXIES` names them."""

    def __init__(self, names: str) -> None:
        self._names = {name.strip() for name in names.split(",") if name.strip()}
        self._networks = _networks(sorted(self._names))

    def hide(self, client: str | None) -> bool:
        """Whether `client` is such a proxy itself, so that nobody knows who speaks through it."""
        if client is None or client in self._names:
            return True
        try:
            address = ip_address(client.partition("%")[0])
        except ValueError:
            return True
        return any(address in network for network in self._networks)


def _networks(names: Sequence[str]) -> list[IPv4Network | IPv6Network]:
    networks: list[IPv4Network | IPv6Network] = []
    for name in names:
        try:
            networks.append(ip_network(name, strict=False))
        except ValueError:
            continue  # a name such as that of a Unix socket is compared as it is
    return networks
