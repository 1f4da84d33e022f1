"""Which fields of a destination's declared settings are secret, and what follows: sealing apart, masking."""

from collections.abc import Iterator
from functools import cache

import msgspec
from msgspec import inspect

MASK = "••••••••"
"""What is shown in place of a secret; says nothing about its length."""


@cache
def secret_fields(settings: type[msgspec.Struct]) -> frozenset[str]:
    """Names (as encoded) of the fields that hold a `Secret` anywhere in their type.

    A field with a secret deep inside (`dict[str, Secret]`, a nested struct) is secret as a whole.
    """
    info = inspect.type_info(settings)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{settings!r} is not a struct")
    return frozenset(field.encode_name for field in info.fields if _has_secret(field.type, set()))


def split(settings: msgspec.Struct) -> tuple[dict[str, object], dict[str, object]]:
    """The settings as JSON-able values, divided into (plain, secret); together they convert back to the same struct."""
    names = secret_fields(type(settings))
    values = _values(settings)
    plain = {name: value for name, value in values.items() if name not in names}
    return plain, {name: value for name, value in values.items() if name in names}


def mask(settings: msgspec.Struct) -> dict[str, object]:
    """The settings as JSON-able values, fit to be shown: secrets that are set become `MASK`, empty ones stay."""
    names = secret_fields(type(settings))
    return {name: MASK if name in names and value else value for name, value in _values(settings).items()}


def _values(settings: msgspec.Struct) -> dict[str, object]:
    return msgspec.convert(msgspec.to_builtins(settings), dict[str, object])


def _has_secret(info: object, visited: set[type]) -> bool:
    """Walk a type description; `visited` breaks the circle of structs that hold themselves."""
    if isinstance(info, inspect.Metadata) and (info.extra or {}).get("secret"):
        return True
    if isinstance(info, inspect.StructType):
        if info.cls in visited:
            return False
        visited = visited | {info.cls}
    return any(_has_secret(part, visited) for part in _parts(info))


def _parts(info: object) -> Iterator[object]:
    """The type descriptions inside one, whatever kind it is."""
    if not isinstance(info, (inspect.Type, inspect.Field)):
        return
    for name in info.__struct_fields__:
        value = getattr(info, name)
        yield from value if isinstance(value, tuple) else (value,)
