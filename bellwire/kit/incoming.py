"""Reading a request's body within a limit."""

from collections.abc import Mapping

from starlette.types import Receive

_DISCARD_BYTES = 32 * 1024 * 1024
"""What is read and thrown away at most: a client that is still sending sees an answer only once it was heard out."""


class BodyTooLarge(Exception):
    """More bytes than the limit; the message tells it."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than {limit_bytes} bytes.")


class Disconnected(Exception):
    """The client went away before its body was complete: there is nobody to answer."""


async def read_body(headers: Mapping[str, str], receive: Receive, limit_bytes: int) -> bytes:
    """The whole body. `Content-Length` can only refuse early; what counts is what arrives.

    Raises BodyTooLarge, Disconnected.
    """
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit_bytes:
        if "expect" not in headers:
            await _discard(receive)
        raise BodyTooLarge(limit_bytes)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit_bytes:
            if message.get("more_body", False):
                await _discard(receive)
            raise BodyTooLarge(limit_bytes)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _discard(receive: Receive) -> None:
    left = _DISCARD_BYTES
    while left > 0:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        left -= len(message.get("body", b""))
        if not message.get("more_body", False):
            return
