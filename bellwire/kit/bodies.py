"""JSON bodies into structs, with errors that name the field.

NUL characters and lone surrogates are refused wherever they are: databases and other programs choke on them later.
Of repeated keys the last one counts. Unknown fields are ignored.
"""

import functools
import json
from collections.abc import Iterator
from typing import TypeVar

import msgspec

T = TypeVar("T")


class BadBody(ValueError):
    """The body is not what it should be. `field` is its path (`attributes.note.value`), empty for the body as a whole."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = str(self)


def decode_json(raw: bytes | msgspec.Raw, kind: type[T], *, at: str = "") -> T:
    """Decode UTF-8 JSON. `at` is the path of `raw` within a larger body, for messages. Raises BadBody."""
    data = bytes(raw)
    if not data.strip():
        raise BadBody(at, "the body is empty; a JSON object is expected")
    try:
        value: T = _decoder(kind).decode(data)
    except msgspec.ValidationError as error:
        raise _wrong_shape(error, at) from None
    except RecursionError:
        raise BadBody(at, "the JSON is nested too deeply") from None
    except ValueError as error:  # malformed JSON, and text that is not Unicode
        raise _not_json(data, error, at) from None
    if b"\\u0000" in data or b"\x00" in data:
        _refuse_bad_text(data, at)
    return value


@functools.cache
def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind)


def _wrong_shape(error: msgspec.ValidationError, at: str) -> BadBody:
    text, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").removeprefix(".")
    return BadBody(_join(at, field), text[:1].lower() + text[1:])


def _not_json(data: bytes, error: ValueError, at: str) -> BadBody:
    _refuse_bad_text(data, at)
    return BadBody(at, f"the body is not JSON: {error}")


def _refuse_bad_text(data: bytes, at: str) -> None:
    """Raise when some text in `data` holds what no text may hold; else return, also when `data` is no JSON at all."""
    try:
        value = json.loads(data.decode("utf-8", "surrogateescape"), strict=False)
    except (ValueError, RecursionError):
        return
    for path, text in _texts(value, at):
        if "\x00" in text:
            raise BadBody(path, "contains a NUL character")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise BadBody(path, "contains a lone surrogate or bytes that are not UTF-8")


def _texts(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield f"{path} (name of a field)".strip(), key
            yield from _texts(item, _join(path, key))


def _join(path: str, field: str) -> str:
    return field if not path else path if not field else path + ("" if field.startswith("[") else ".") + field
