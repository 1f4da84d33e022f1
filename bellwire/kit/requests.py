"""Which URLs and headers may be put on the wire: nothing that could smuggle a second header, host or password."""

import re
from collections.abc import Mapping
from functools import lru_cache

from yarl import URL

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BAD_IN_VALUE = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_USERINFO = re.compile(r"[^/?#]*//[^/?#]*@")
_BAD_IN_URL = re.compile("[\x00-\x20\x7f\\\\\ud800-\udfff]")


class UnusableRequest(ValueError):
    """The request can not be sent as it is; the message says why and shows nothing of it."""


@lru_cache(maxsize=1024)
def check_url(url: str, *, allow_http: bool) -> URL:
    """Parse an absolute http(s) URL. Raises UnusableRequest."""
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
    return parsed


def check_headers(method: str, headers: Mapping[str, str]) -> None:
    """Raises UnusableRequest when a name or value could end its line early. Names the header, never the value."""
    if not _TOKEN.fullmatch(method):
        raise UnusableRequest("the method is no HTTP method")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise UnusableRequest(f"{name[:40]!r} is no header name")
        if _BAD_IN_VALUE.search(value):
            raise UnusableRequest(f"the value of header {name} holds a line break or control character")
