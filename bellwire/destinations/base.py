"""The port of a destination: declared settings and pure code (architecture D13). Only `delivery` touches the network."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import msgspec

from bellwire.kit.http import Answer, TransportError
from bellwire.model.events import Event
from bellwire.model.projects import RateLimit

__all__ = [
    "Answer",
    "AttemptContext",
    "Batch",
    "BuildFn",
    "ClassifyFn",
    "Destination",
    "ItemAnswer",
    "OutboundRequest",
    "Outcome",
    "Part",
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


class Part(msgspec.Struct, frozen=True, gc=False):
    """One event's share of a request that carries several. `kind` names the list it goes into where there are several."""

    body: bytes
    kind: str = ""


class ItemAnswer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an answer to many events says about one of them."""

    outcome: Outcome
    reason: str | None = None
    """In words; None = as the status says."""
    retry_after_s: float | None = None
    body: bytes | None = None
    """What of the answer is about this event; None = the answer's beginning is shown."""


PartFn = Callable[[Event, msgspec.Struct, AttemptContext], "Part | Skip"]
WrapFn = Callable[[Sequence[Part], msgspec.Struct, int], OutboundRequest]
ClassifyBatchFn = Callable[[Answer, Sequence[Part], msgspec.Struct], "Sequence[ItemAnswer] | None"]


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Several events in one request, one after another in the order in which they are to be read.

    Each event is made to a part on its own, so that it can be skipped, measured and shown on its own. `wrap` is also
    told the time in Unix seconds. `classify` answers for every part, in their order; None = the tool refused the
    request as a whole and took nothing of it: it is tried again in halves, until the part at fault stands alone.
    """

    max_count: int
    max_bytes: int
    """Of the whole body; the parts together are kept `overhead_bytes` below it."""
    part: PartFn
    wrap: WrapFn
    classify: ClassifyBatchFn
    overhead_bytes: int = 1024
    """What `wrap` may add; commas between the parts are counted apart."""

    def build(self, event: Event, settings: msgspec.Struct, context: AttemptContext) -> OutboundRequest | Skip:
        """The `build` of a destination that batches: a request with one event."""
        part = self.part(event, settings, context)
        return part if isinstance(part, Skip) else self.wrap([part], settings, context.sent_at_s)


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """The declaration of one kind of tool. Form, validation, masking and reference page all come from it."""

    slug: str
    title: str
    description: str
    settings: type[msgspec.Struct]
    build: BuildFn
    batch: Batch | None = None
    """Set where the tool takes several events in a request; then `build` is the batch's own."""
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
