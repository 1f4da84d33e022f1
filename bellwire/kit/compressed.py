"""Unpacking compressed answers without trusting them: never more than a limit comes out, whatever goes in."""

import zlib

_WINDOW_BITS = {"gzip": (zlib.MAX_WBITS | 16,), "x-gzip": (zlib.MAX_WBITS | 16,), "deflate": (zlib.MAX_WBITS, -15)}
"""Two tries for `deflate`: the standard means zlib, some servers send the bare stream."""


def decompress(raw: bytes, encoding: str, limit: int) -> tuple[bytes, bool]:
    """At most `limit` bytes of what `raw` unpacks to, and whether more was there.

    `raw` may be cut anywhere: what it holds so far is given. Unknown or layered encodings and broken data come back
    as they are.
    """
    for window_bits in _WINDOW_BITS.get(encoding.strip().lower(), ()):
        try:
            return _unpack(raw, window_bits, limit)
        except zlib.error:
            continue
    return raw, False


def _unpack(raw: bytes, window_bits: int, limit: int) -> tuple[bytes, bool]:
    """All members of the stream, one after the other."""
    out = b""
    while raw:
        member = zlib.decompressobj(window_bits)
        out += member.decompress(raw, limit + 1 - len(out))
        if len(out) > limit:
            return out[:limit], True
        if not member.eof:
            break
        raw = member.unused_data
    return out, False
