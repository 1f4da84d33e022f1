"""What a person may ask to be sent again."""

from enum import StrEnum

import msgspec

from bellwire.model.enums import Environment, EventType


class What(StrEnum):
    """Where a replay takes its deliveries from."""

    HISTORY = "history"
    """The event log: whatever is in it, delivered before or not."""
    FAILED = "failed"
    """The integration's deliveries that are parked, or failed and wait to be tried again."""
    PARKED = "parked"
    """The parked ones alone."""


class TimeOf(StrEnum):
    """Which time of an event `since_ms` and `until_ms` go by."""

    EVENT = "event"
    """When it happened, as its `event_timestamp_ms` says."""
    COMMIT = "commit"
    """When this hub stored it."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which events; every field narrows, None narrows nothing."""

    what: What = What.HISTORY
    event_id: str | None = None
    customer: str | None = None
    """An app user id, exactly; the events of all the customer's ids are meant."""
    event_types: tuple[EventType, ...] | None = None
    environment: Environment | None = None
    app_id: str | None = None
    since_ms: int | None = None
    """Included; `until_ms` is not."""
    until_ms: int | None = None
    time_of: TimeOf = TimeOf.EVENT
    include_undispatched: bool = False
    """Also events that were kept for charts and history and never went out (spec: stores 11.7)."""
    delivery_ids: tuple[int, ...] | None = None
    """Parked deliveries, by id."""


class ReplayStatus(StrEnum):
    WAITING = "waiting"
    """Nothing was put out yet."""
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"
    """It can not go on; `message` says why."""
