"""Command-line options out of declared structs, so that a store's or tool's fields are written down only once."""

import sys
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click
import msgspec
from msgspec import inspect

from bellwire.destinations.settings import secret_fields
from bellwire.kit.requests import UnusableRequest, check_url
from bellwire.model.enums import EventType

F = TypeVar("F", bound=Callable[..., object])
S = TypeVar("S", bound=msgspec.Struct)


def options_of(
    declared: type[msgspec.Struct],
    *,
    from_files: bool = False,
    without: frozenset[str] = frozenset(),
    changing: bool = False,
) -> Callable[[F], F]:
    """One option for each field that is not in `without`; with `changing` none is required and none has a default.

    `from_files` takes each value from a file (`-` = stdin). A field declared as `Secret` takes its value as it is, or
    from a file as `@FILE`, since everybody on the machine can read a running command's arguments.
    """
    info = inspect.type_info(declared)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{declared!r} is not a struct")
    secret = secret_fields(declared)
    options = [
        _option(field, _text_type(from_files, field.encode_name in secret), changing=changing)
        for field in info.fields
        if field.name not in without
    ]

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def given(declared: type[msgspec.Struct], values: Mapping[str, object]) -> dict[str, object]:
    """The values of `declared`'s fields that were given on the command line; the others keep their defaults."""
    chosen = {name: values[name] for name in declared.__struct_fields__ if values.get(name) is not None}
    return {name: value for name, value in chosen.items() if value != ()}


def checked(declared: type[S], values: Mapping[str, object]) -> S:
    """The struct itself. A value that does not fit is a wrong use of the command."""
    try:
        return msgspec.convert(values, declared)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`")
        if not name:
            raise click.UsageError(reason) from error
        said = f"this is not what is wanted here: {_words_of(declared, name)}" if "regex" in reason else reason
        raise click.UsageError(f"--{name.replace('_', '-')}: {said}") from error


def refuse_unreachable(url: object, *, allow_http: bool) -> None:
    """An address that no delivery could use is a wrong use of the command, rather than a failure of each delivery."""
    if not isinstance(url, str):
        return
    try:
        check_url(url, allow_http=allow_http)
    except UnusableRequest as error:
        plain = "" if allow_http else "; plain http needs BELLWIRE_ALLOW_PRIVATE_ADDRESSES=true, here and in the hub"
        raise click.UsageError(f"--url: {error}{plain if url.lower().startswith('http:') else ''}") from error


def _words_of(declared: type[msgspec.Struct], name: str) -> str:
    """What a field's declaration says of it; patterns tell people less."""
    info = inspect.type_info(declared)
    fields = info.fields if isinstance(info, inspect.StructType) else ()
    return next((_unwrap(field.type)[1] for field in fields if field.name == name), name)


def _option(field: inspect.Field, text: click.ParamType[str], *, changing: bool) -> Callable[[F], F]:
    kind, words = _unwrap(field.type)
    name = "--" + field.name.replace("_", "-")
    required = field.required and not changing
    default = "" if changing else f" {_default(field)}"
    if isinstance(kind, inspect.BoolType):
        return click.option(f"{name}/--no-{name[2:]}", field.name, default=None, help=f"{words}{default}")
    if isinstance(kind, inspect.VarTupleType):
        return click.option(name, field.name, multiple=True, help=f"{words} May be given more than once.")
    if isinstance(kind, inspect.IntType):
        return click.option(name, field.name, type=int, required=required, help=words)
    if isinstance(kind, inspect.LiteralType):
        choice = click.Choice([str(value) for value in kind.values])
        return click.option(name, field.name, type=choice, required=required, help=f"{words}{default}")
    return click.option(name, field.name, type=text, required=required, help=words)


def _text_type(from_file: bool, secret: bool) -> click.ParamType[str]:
    if from_file:
        return _TextOfFile()
    return _SecretText() if secret else click.STRING


def _default(field: inspect.Field) -> str:
    value = {True: "yes", False: "no"}.get(field.default, field.default)
    return f"[default: {value}]"


def _unwrap(kind: inspect.Type) -> tuple[inspect.Type, str]:
    """The type under its metadata and optionality, and the description on the way."""
    text = ""
    while True:
        if isinstance(kind, inspect.Metadata):
            schema = kind.extra_json_schema or {}
            text = text or str(schema.get("description") or schema.get("title") or "")
            kind = kind.type
        elif isinstance(kind, inspect.UnionType):
            kind = next(part for part in kind.types if not isinstance(part, inspect.NoneType))
        else:
            return kind, text


class _TextOfFile(click.ParamType[str]):
    """The text in a file, without the white space around it."""

    name = "file"

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return (sys.stdin.read() if value == "-" else Path(value).read_text()).strip()
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"{value} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}", param, ctx)


class _SecretText(_TextOfFile):
    """The text itself, or with `@` in front the file that holds it."""

    name = "text|@file"

    # pyrefly: ignore[missing-override-decorator]
    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert(value[1:], param, ctx) if value.startswith("@") else value


class Name(click.ParamType[str]):
    """A name that somebody can read: not empty, no white space around it."""

    name = "text"

    # pyrefly: ignore[missing-override-decorator]
    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        name = value.strip()
        if not name or any(unicodedata.category(letter) == "Cc" for letter in name):
            self.fail("a name needs at least one character, and no line breaks", param, ctx)
        return name


class EventTypeName(click.ParamType[str]):
    """A type of event, in either case; `also` is a word that may stand in its place."""

    name = "type"

    def __init__(self, *, also: str = "") -> None:
        self._also = also

    # pyrefly: ignore[missing-override-decorator]
    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if self._also and value.lower() == self._also:
            return self._also
        try:
            return EventType(value.upper())
        except ValueError:
            self.fail(f"{value} is no type of event; there are: {', '.join(EventType)}", param, ctx)
