"""Keeps secrets out of the attempt log, wherever a request or an answer (an echo, an error page) may show them."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import msgspec

from bellwire.destinations.base import OutboundRequest
from bellwire.destinations.settings import MASK, split

_SHORTEST = 6
"""Shorter secrets are masked where they are named, but not looked for in text: they would be found by chance."""

_encode = msgspec.json.Encoder().encode


class Veil:
    """Masks what one integration's settings declare as secret."""

    def __init__(self, settings: msgspec.Struct) -> None:
        found = {text for value in split(settings)[1].values() for text in _texts(value) if len(text) >= _SHORTEST}
        spelled = (
            found
            | {quote(text, safe="") for text in found}
            | {msgspec.json.encode(text).decode()[1:-1] for text in found}
        )
        self._secrets = sorted(spelled, key=len, reverse=True)
        self._secret_bytes = [secret.encode() for secret in self._secrets]

    def headers(self, request: OutboundRequest) -> str:
        """The request's headers as JSON, fit to be shown."""
        named = {name.lower() for name in request.secret_headers}
        shown = {name: MASK if name.lower() in named else value for name, value in request.headers.items()}
        return self.json(shown)

    def json(self, texts: Mapping[str, str]) -> str:
        """These as JSON, the values fit to be shown."""
        encoded = _encode(texts).decode()
        if any(secret in encoded for secret in self._secrets):  # among them as JSON spells them
            encoded = _encode({name: self.text(value) for name, value in texts.items()}).decode()
        return encoded

    def url(self, request: OutboundRequest) -> str:
        """The request's URL, fit to be shown."""
        shown = request.url
        for name in request.secret_params:
            shown = re.sub(rf"(?<=[?&]){re.escape(name)}=[^&#]*", lambda _: f"{name}={MASK}", shown)  # noqa: B023
        return self.text(shown)

    def text(self, text: str) -> str:
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        return text

    def bytes(self, data: bytes) -> bytes:
        for secret in self._secret_bytes:
            if secret in data:
                data = data.replace(secret, _MASK_BYTES)
        return data


_MASK_BYTES = MASK.encode()


def _texts(value: object) -> Iterator[str]:
    """Every string inside a JSON-able value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part)
