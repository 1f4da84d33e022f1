"""The event log: appended once, never changed; and what of it goes out."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from bellwire.db.bulk import BulkInsert
from bellwire.db.tables import events
from bellwire.model.events import EventRecord
from bellwire.observe.tracing import Ref

_encode = msgspec.json.Encoder().encode

_APPEND = BulkInsert(
    events,
    (
        "id",
        "project_id",
        "app_id",
        "customer_id",
        "chain_id",
        "type",
        "environment",
        "store",
        "app_user_id",
        "event_timestamp_ms",
        "store_time_ms",
        "received_at_ms",
        "committed_at_ms",
        "dispatched",
        "historical",
        "price_usd_micros",
        "payload",
    ),
    conflict="(id) DO NOTHING",
    returning="id, seq",
)


class StagedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its stage times (architecture D6), all on the wall clock."""

    record: EventRecord
    received_at_ms: int
    store_time_ms: int | None
    caused_by: Ref | None = None
    """The span of the work that brought it, where spans are made."""


def append_events(connection: sa.Connection, staged: Sequence[StagedEvent], *, committed_at_ms: int) -> dict[str, int]:
    """Append; an event whose id is there already is left as it is. Returns the sequence of each new one by id."""
    if not staged:
        return {}
    rows = [_row(one, committed_at_ms) for one in {one.record.event.id: one for one in staged}.values()]
    return dict(_APPEND.tuples(connection, rows))


def _row(staged: StagedEvent, committed_at_ms: int) -> tuple[object, ...]:
    record = staged.record
    event = record.event
    return (
        event.id,
        record.project_id,
        record.app_id,
        record.customer_id,
        record.chain_id,
        event.type.value,
        _text(event.environment),
        _text(event.store),
        _text(event.app_user_id),
        event.event_timestamp_ms,
        staged.store_time_ms,
        staged.received_at_ms,
        committed_at_ms,
        record.dispatch,
        record.historical,
        record.price_usd_micros,
        _encode(event),
    )


def _text(value: str | msgspec.UnsetType) -> str | None:
    return None if isinstance(value, msgspec.UnsetType) else value
