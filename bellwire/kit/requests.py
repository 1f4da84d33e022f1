"""Which URLs and headers may be put on the wire: nothing that could smuggle a second header, host or password."""

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from yarl import URL

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BAD_IN_VALUE = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_FRAMING = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""What tells where a message ends and what becomes of the connection is not a caller's to say."""
_USERINFO = re.compile(r"[^/?#]*//[^/?#]*@")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_ENDS_IN_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LONGEST_NAME = 253
_BAD_IN_URL = re.compile("[\x00-\x20\x7f\\\\\ud800-\udfff]")


class UnusableRequest(ValueError):
    """The request can not be sent as it is; the message says why and shows nothing of it."""


@lru_cache(maxsize=1024)
def check_url(url: str, *, allow_http: bool) -> URL:
    """Parse an absolute http(s) URL whose host every parser reads alike. Raises UnusableRequest.

    What one library reads as a name and another as an address (`127.1`, `0x7f000001`, `%31.1.1.1`, zones) is refused
    here; what an ordinary name leads to is judged when its socket is opened.
    """
    if _BAD_IN_URL.search(url):
        raise UnusableRequest("the URL holds a space, a backslash or a control character")
    try:
        parsed = URL(url)
        port = parsed.port
    except ValueError as error:
        raise UnusableRequest("the URL can not be read") from error
    if parsed.scheme != "https" and not (allow_http and parsed.scheme == "http"):
        raise UnusableRequest("the URL must begin with https://" + (" or http://" if allow_http else ""))
    if not parsed.raw_host or not port:
        raise UnusableRequest("the URL names no host")
    if _USERINFO.match(url):
        raise UnusableRequest("the URL holds a user name or password: use a header instead")
    if not (_is_plain_host(parsed.raw_host) and _is_plain_authority(url, address=":" in parsed.raw_host)):
        raise UnusableRequest("the URL's host is neither a plain name nor a plain address")
    return parsed


def _is_plain_host(host: str) -> bool:
    """A name of letters, digits, hyphens and underscores, or an address in its usual form."""
    try:
        if ":" in host:
            return IPv6Address(host).scope_id is None
        labels = host.removesuffix(".").split(".")
        if _ENDS_IN_NUMBER.fullmatch(labels[-1]):
            return str(IPv4Address(host)) == host
    except ValueError:
        return False
    return len(host) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, labels))


def _is_plain_authority(url: str, *, address: bool) -> bool:
    """Brackets around an IPv6 address alone; the port ASCII digits: `int` would take other digits, signs, underscores."""
    authority = url.partition("//")[2]
    end = min((at for at in map(authority.find, "/?#") if at >= 0), default=len(authority))
    bracket, _, rest = authority[:end].rpartition("]")
    port = rest.partition(":")[2]
    return bool(bracket) == address and (not port or (port.isascii() and port.isdigit()))


def check_headers(method: str, headers: Mapping[str, str]) -> None:
    """Raises UnusableRequest when a name or value could end its line early. Names the header, never the value."""
    if not _TOKEN.fullmatch(method):
        raise UnusableRequest("the method is no HTTP method")
    for name, value in headers.items():
        _check_header_name(name)
        if value.isascii() and value.isprintable():
            continue
        if _BAD_IN_VALUE.search(value):
            raise UnusableRequest(f"the value of header {name} holds a line break or control character")


@lru_cache(maxsize=1024)
def _check_header_name(name: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise UnusableRequest(f"{name[:40]!r} is no header name")
    if name.lower() in _FRAMING:
        raise UnusableRequest(f"header {name} can not be chosen")
