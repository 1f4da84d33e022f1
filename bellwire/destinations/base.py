"""The port of a destination: declared settings and pure code (architecture D13). Only `delivery` touches the network."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated

import msgspec

from bellwire.kit.http import Answer, TransportError
from bellwire.model.events import Event
from bellwire.model.projects import RateLimit

__all__ = [
    "Answer",
    "AttemptContext",
    "BuildFn",
    "ClassifyFn",
    "Destination",
    "OutboundRequest",
    "Outcome",
    "Secret",
    "Skip",
    "TransportError",
]

Secret = Annotated[str, msgspec.Meta(extra={"secret": True})]
"""A settings field that is sealed at rest and masked in feed, logs and errors."""


class Outcome(StrEnum):
    """What an answer means for the event (style 7). Data, not an exception."""

    DELIVERED = "delivered"
    RETRY = "retry"
    """Time may mend it: timeout, connection, 408, 425, 429, 5xx but 501."""
    REJECTED = "rejected"
    """This event will never be accepted: other 4xx, 501."""
    MISCONFIGURED = "misconfigured"
    """Nothing passes until a person acts: 401, 402, 403, 404, 410, 3xx."""
    SKIPPED = "skipped"
    """Not sent on purpose; the reason is in words."""


class OutboundRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One HTTP request, whole. `secret_headers` and `secret_params` name what must be masked in the feed."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    secret_headers: tuple[str, ...] = ()
    secret_params: tuple[str, ...] = ()
    timeout_s: float = 60.0

    def __repr__(self) -> str:
        return f"OutboundRequest({self.method}, {len(self.body)} bytes)"  # the rest may hold secrets


class Skip(msgspec.Struct, frozen=True):
    """This event is not for this integration; `reason` is shown to the user."""

    reason: str


class AttemptContext(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a request may depend on besides event and settings: facts of this attempt."""

    attempt: int
    """1 for the first."""
    sent_at_s: int
    """Unix seconds of this attempt: the `t` of a signature (spec: events 10.3)."""
    event_json: bytes
    """The event object exactly as stored; a body that embeds it is the same bytes on every attempt."""


BuildFn = Callable[[Event, msgspec.Struct, AttemptContext], "OutboundRequest | Skip"]
ClassifyFn = Callable[[Answer, msgspec.Struct], Outcome]


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """The declaration of one kind of tool. Form, validation, masking and reference page all come from it."""

    slug: str
    title: str
    description: str
    settings: type[msgspec.Struct]
    build: BuildFn
    classify: ClassifyFn | None = None
    retry_schedule: Callable[[msgspec.Struct], str] | None = None
    """Name of the retry schedule these settings ask for (`extended`, `compatible`); None = extended."""
    retry_every_failure: bool = False
    """The contract with the tool has every failure retried, whatever `classify` calls it (webhooks: events 10.2)."""
    rate_limit: RateLimit | None = None
    """The limit that the tool's documentation states; None = it states none."""
    guide: str = ""
    attributes_any_of: tuple[str, ...] = ()
    default_event_names: Mapping[str, str] = {}
