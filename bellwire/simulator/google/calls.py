"""One request to the fake API, with what it asks for."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from bellwire.simulator.google.records import PlayError
from bellwire.simulator.google.views import JSON

if TYPE_CHECKING:
    from bellwire.simulator.google.play import FakePlay

Endpoint = Callable[["Call"], JSON | None]
"""Answers a call with a body, or with none (204). Raises PlayError."""


class Call:
    """One API request, authenticated and with its parameters checked."""

    def __init__(self, play: "FakePlay", path: dict[str, str], query: list[tuple[str, str]], body: bytes) -> None:
        self.play = play
        self.path = path
        self._query = query
        self._body = body

    def texts(self, name: str) -> list[str]:
        return [value for key, value in self._query if key == name]

    def text(self, name: str) -> str | None:
        values = self.texts(name)
        return values[-1] if values else None

    def number(self, name: str, default: int) -> int:
        text = self.text(name)
        try:
            return default if text is None else int(text)
        except ValueError as error:
            raise PlayError(400, "invalid", f"Invalid value for {name}: {text}") from error

    def json(self) -> JSON:
        try:
            body = json.loads(self._body or b"{}")
        except ValueError as error:
            raise PlayError(400, "parseError", "Parse Error") from error
        if not isinstance(body, dict):
            raise PlayError(400, "parseError", "Parse Error")
        return body

    def part(self, name: str) -> JSON:
        """A required member of the body."""
        value = self.json().get(name)
        if not isinstance(value, dict):
            raise PlayError(400, "required", f"{name} is required")
        return value
