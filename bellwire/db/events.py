"""The event log: appended once, never changed; and what of it goes out."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from bellwire.db.dialect import insert
from bellwire.db.tables import events
from bellwire.model.events import EventRecord

_encode = msgspec.json.Encoder().encode


class StagedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its stage times (architecture D6), all on the wall clock."""

    record: EventRecord
    received_at_ms: int
    store_time_ms: int | None


def append_events(connection: sa.Connection, staged: Sequence[StagedEvent], *, committed_at_ms: int) -> dict[str, int]:
    """Append; an event whose id is there already is left as it is. Returns the sequence of each new one by id."""
    if not staged:
        return {}
    rows = [_row(one, committed_at_ms) for one in staged]
    statement = (
        insert(connection, events).on_conflict_do_nothing(index_elements=["id"]).returning(events.c.id, events.c.seq)
    )
    return {row.id: row.seq for row in connection.execute(statement, rows)}


def _row(staged: StagedEvent, committed_at_ms: int) -> dict[str, object]:
    record = staged.record
    event = record.event
    return {
        "id": event.id,
        "project_id": record.project_id,
        "app_id": record.app_id,
        "customer_id": record.customer_id,
        "chain_id": record.chain_id,
        "type": event.type,
        "environment": _text(event.environment),
        "store": _text(event.store),
        "app_user_id": _text(event.app_user_id),
        "event_timestamp_ms": event.event_timestamp_ms,
        "store_time_ms": staged.store_time_ms,
        "received_at_ms": staged.received_at_ms,
        "committed_at_ms": committed_at_ms,
        "dispatched": record.dispatch,
        "historical": record.historical,
        "price_usd_micros": record.price_usd_micros,
        "payload": _encode(event),
    }


def _text(value: str | msgspec.UnsetType) -> str | None:
    return None if isinstance(value, msgspec.UnsetType) else value
