"""Bodies and headers as people read them: always text, never markup, secrets masked once more."""

import re

import msgspec
from markupsafe import Markup, escape

PRETTY_LIMIT = 262_144
"""Longer JSON is shown as it came, without colours."""
MASK = "••••••••"

_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key"})
_TOKEN = re.compile(r'(?P<string>"(?:[^"\\]|\\.)*")(?P<key>\s*:)?|(?P<number>-?\d[\d.eE+-]*)|(?P<word>true|false|null)')


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A body to show: as it came, and indented with colours where it is JSON."""

    raw: str
    pretty: Markup | None
    size: int


def read_body(body: bytes | None) -> Body | None:
    """Decode for showing; None for no body or an empty one. Bytes that are no UTF-8 become replacement characters."""
    if not body:
        return None
    return Body(raw=body.decode("utf-8", errors="replace"), pretty=_pretty(body), size=len(body))


def read_headers(text: str | None) -> list[tuple[str, str]]:
    """Header lines of a JSON object, in its order. Credentials are masked here too, whoever stored them."""
    if not text:
        return []
    try:
        headers = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError:
        return []
    return [(name, MASK if name.lower() in _SECRET_HEADERS else value) for name, value in headers.items()]


def read_timings(text: str) -> list[tuple[str, int]]:
    """Stages of one request in milliseconds, in their order; nothing where they are not told."""
    try:
        return list(msgspec.json.decode(text, type=dict[str, int]).items())
    except msgspec.DecodeError:
        return []


def _pretty(body: bytes) -> Markup | None:
    if len(body) > PRETTY_LIMIT or body.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        text = msgspec.json.format(body, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    parts: list[Markup] = []
    done = 0
    for token in _TOKEN.finditer(text):
        parts.append(escape(text[done : token.start()]))
        parts.append(_coloured(token))
        done = token.end()
    parts.append(escape(text[done:]))
    return Markup("").join(parts)


def _coloured(token: re.Match[str]) -> Markup:
    if token["string"] is None:
        return Markup('<span class="j-{}">{}</span>').format("n" if token["number"] else "w", token[0])
    kind = "s" if token["key"] is None else "k"
    return Markup('<span class="j-{}">{}</span>{}').format(kind, token["string"], token["key"] or "")
