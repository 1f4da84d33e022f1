"""POST /v1/subscribers/{app_user_id}/attributes, and attributes inside other bodies (spec: api 1.12)."""

from collections.abc import Mapping, Sequence

import msgspec

from bellwire.engine.attributes import MAX_VALUE_LENGTH, AttributeChange, AttributeError
from bellwire.kit.bodies import BadBody, decode_json
from bellwire.kit.endpoints import Reply
from bellwire.web.errors import Code, ErrorBody, WireError
from bellwire.web.sdk.door import Visitor

MAX_CHANGES = 1000
"""In one request: far beyond what a customer can have, far below what keeps the hub busy for a second."""
_ATTRIBUTES_INVALID = "Some subscriber attributes were not saved."


class _Entry(msgspec.Struct, frozen=True):
    value: str | int | float | bool | None
    updated_at_ms: int | float | None = None


class _AttributesBody(msgspec.Struct, frozen=True):
    attributes: dict[str, msgspec.Raw]


async def post_attributes(visitor: Visitor) -> Reply:
    """Save the good keys; 400 with code 7263 lists the bad ones, 7264 says that the body cannot be read."""
    app_user_id = visitor.app_user_id()
    try:
        changes = decode_changes(visitor, (await visitor.call.json(_AttributesBody)).attributes)
    except BadBody as error:
        raise WireError(400, Code.MALFORMED_ATTRIBUTES, error.message) from error
    view, errors = await visitor.services.ingest.set_attributes(
        visitor.project_id,
        app_user_id,
        changes,
        visitor.visit(),
        strict_reserved=visitor.caller.is_secret,
    )
    if errors:
        raise WireError(400, Code.INVALID_ATTRIBUTES, _ATTRIBUTES_INVALID, attribute_errors=errors)
    return Reply(200, visitor.info(view))


def decode_changes(visitor: Visitor, raw: Mapping[str, msgspec.Raw]) -> dict[str, AttributeChange]:
    """Entries of an `attributes` object; numbers and booleans become their text. Raises BadBody naming the entry."""
    if len(raw) > MAX_CHANGES:
        raise BadBody("attributes", f"more than {MAX_CHANGES} attributes in one request")
    changes: dict[str, AttributeChange] = {}
    for key, entry in raw.items():
        decoded = decode_json(entry, _Entry, at=f"attributes.{key}")
        value = _text(decoded.value)
        if key == "$deviceVersion" and value == "true":
            value = _device(visitor)
            if value is None:
                continue
        moment = decoded.updated_at_ms
        changes[key] = AttributeChange(value=value, updated_at_ms=None if moment is None else int(moment))
    return changes


def errors_inside(errors: Sequence[AttributeError]) -> ErrorBody:
    """Refused attributes as part of an answer that is otherwise a success (spec: api 1.5)."""
    return ErrorBody(code=int(Code.INVALID_ATTRIBUTES), message=_ATTRIBUTES_INVALID, attribute_errors=errors)


def _text(value: str | int | float | bool | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _device(visitor: Visitor) -> str | None:
    """What `$deviceVersion: "true"` asks for: device, platform and its version, from the request's headers."""
    names = ("x-platform-device", "x-platform", "x-platform-version")
    told = [text for text in map(visitor.call.header, names) if text is not None]
    return " ".join(told)[:MAX_VALUE_LENGTH] or None
