"""Spans of an event's walk, joined across the queue and across processes without storing anything for it.

Ids are derived from what each part of the walk is about. An event's trace has the event's own id (a UUID is as long as
a trace id), its deliveries know their place in it from event, integration and claim; the trace of a notification
follows from its inbox entry. Spans are made when their work is done, from times that are known anyway, so that nothing
is opened, carried along and closed on the way, and with tracing off one comparison a commit or turn is all it costs.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

on = False
"""Whether spans go anywhere; who makes them looks here first."""


class Ref(NamedTuple):
    """A span's place: its trace and itself."""

    trace: int
    span: int


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Work that is done. Attributes are ids, kinds and outcomes: never bodies, tokens, attributes or names of users."""

    name: str
    ref: Ref
    parent: Ref | None = None
    start_ns: int
    """Unix time."""
    end_ns: int
    kind: str = "internal"
    """internal | server | client | producer | consumer"""
    attributes: Mapping[str, str | int | Sequence[str]] = {}
    links: Sequence[Ref] = ()
    failed: bool = False


_send: Callable[[Span], None] | None = None


def send_to(send: Callable[[Span], None] | None) -> None:
    """Where spans go from now on; None = nowhere."""
    global on, _send
    _send = send
    on = send is not None


def record(*spans: Span) -> None:
    """Hand over spans; without tracing they are dropped."""
    if _send is not None:
        for span in spans:
            _send(span)


def event_ref(event_id: str) -> Ref:
    """The first span of an event: that it was committed."""
    return Ref(_event_trace(event_id), _digest(8, "event", event_id))


def attempt_ref(event_id: str, integration_id: str, claim: int) -> Ref:
    """One attempt to deliver an event to an integration; `claim` is the fence that its row was taken with."""
    return Ref(_event_trace(event_id), _digest(8, "attempt", event_id, integration_id, claim))


def entry_ref(entry_id: int, part: str = "receive") -> Ref:
    """The arrival of a notification, or another part of the work on it."""
    return Ref(_digest(16, "entry", entry_id), _digest(8, "entry", entry_id, part))


def fresh_ref() -> Ref | None:
    """A place of its own for work that nothing stored stands for; None when no spans are made."""
    return Ref(secrets.randbits(128), secrets.randbits(64)) if on else None


def inside(ref: Ref, part: str) -> Ref:
    """A span within `ref`, such as its request."""
    return Ref(ref.trace, _digest(8, "inside", ref.span, part))


def traceparent(event_id: str, integration_id: str, claim: int) -> str:
    """The W3C header that lets a receiver hang its own spans below the request."""
    ref = inside(attempt_ref(event_id, integration_id, claim), "send")
    return f"00-{ref.trace:032x}-{ref.span:016x}-{'01' if on else '00'}"


def _event_trace(event_id: str) -> int:
    try:
        return int(event_id.replace("-", ""), 16)
    except ValueError:  # a TEST event, or one that was imported with an id of its own
        return _digest(16, "event", event_id)


def _digest(size: int, *parts: str | int) -> int:
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=size).digest())
