"""Which internet addresses a request may go to: ordinary public ones, nothing that a registry marks as special.

Source: IANA IPv4 and IPv6 special-purpose address registries (RFC 6890 and updates), as of 2026.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_REFUSED_V4 = tuple(
    (IPv4Network(network), name)
    for network, name in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud platform"),  # public by number, but inside Azure it answers with machine secrets
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "multicast tunnelling"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "AS112"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)

_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    (IPv6Network(network), name)
    for network, name in (
        ("2001::/32", "Teredo"),
        ("2001::/23", "protocol assignments"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("2620:4f:8000::/48", "AS112"),
        ("3fff::/20", "documentation"),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
"""How the second half of an ISATAP address begins (RFC 5214 6.1); an IPv4 address follows."""
_MACHINE_SECRETS = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # AWS, Google Cloud, Azure, OpenStack, ...
            "169.254.170.2",  # AWS, of containers
            "169.254.170.23",
            "fd00:ec2::254",  # AWS
            "fd00:ec2::23",
            "fd20:ce::254",  # Google Cloud
            "fe80::a9fe:a9fe",  # OpenStack
            "100.100.100.200",  # Alibaba Cloud
            "168.63.129.16",  # Azure
            "192.0.0.192",  # Oracle Cloud
        ),
    )
)


def refusal(address: str) -> str | None:
    """Why `address` (numeric, IPv6 zone allowed) must not be connected to, or None when it is an ordinary public one.

    Addresses that carry an IPv4 address and still reach it (mapped, NAT64) are judged by that; outdated tunnels
    (6to4, Teredo, ISATAP) are refused whole. A NAT64 prefix that a network has chosen for itself (RFC 6052) looks like
    any other address: who runs one keeps its translator from private addresses.
    """
    parsed = _parse(address)
    if parsed is None:
        return "not a numeric address"
    return _refusal_v4(parsed) if isinstance(parsed, IPv4Address) else _refusal_v6(parsed)


def refusal_always(address: str) -> str | None:
    """Why not even a hub that may speak to private networks connects to `address`: it hands out a machine's secrets."""
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        parsed = _carried(parsed) or parsed
    return "cloud metadata" if parsed in _MACHINE_SECRETS else None


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(address.split("%", 1)[0])
    except ValueError:
        return None


def _carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that is reached by this one."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped


def _refusal_v4(address: IPv4Address) -> str | None:
    return next((name for network, name in _REFUSED_V4 if address in network), None)


def _refusal_v6(address: IPv6Address) -> str | None:
    carried = _carried(address)
    if carried is not None:
        return _refusal_v4(carried)
    if address not in _GLOBAL_UNICAST_V6:
        return "loopback" if address.is_loopback else "not global unicast"
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        return "ISATAP"
    return next((name for network, name in _REFUSED_V6 if address in network), None)
