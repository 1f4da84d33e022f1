"""Reads for people who look things up: events, what came in, which integrations there ever were."""

import msgspec
import sqlalchemy as sa

from bellwire.db.tables import events, inbox, integrations


class EventDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One event with its stage times (architecture D6, real time) and its payload as sent."""

    seq: int
    id: str
    type: str
    app_id: str | None
    customer_id: int
    environment: str | None
    store: str | None
    app_user_id: str | None
    event_timestamp_ms: int
    store_time_ms: int | None
    received_at_ms: int | None
    committed_at_ms: int
    dispatched: bool
    historical: bool
    payload: bytes


class EventLine(msgspec.Struct, frozen=True, kw_only=True):
    """One event in a list; times are those of the event, not of the hub."""

    seq: int
    id: str
    type: str
    environment: str | None
    store: str | None
    event_timestamp_ms: int
    dispatched: bool
    historical: bool
    price_usd_micros: int | None


class InboxLine(msgspec.Struct, frozen=True, kw_only=True):
    """One message from a store or an app, and what became of it."""

    id: int
    kind: str
    type: str | None
    subtype: str | None
    environment: str | None
    store_key: str | None
    received_at_ms: int
    status: str
    error: str | None
    attempts: int
    event_count: int


def load_event(connection: sa.Connection, project_id: str, event_id: str) -> EventDetail | None:
    """One event of a project, by its public id."""
    query = sa.select(*(events.c[name] for name in EventDetail.__struct_fields__)).where(
        events.c.id == event_id, events.c.project_id == project_id
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else msgspec.convert(row, EventDetail, from_attributes=True)


def load_events_of_customer(
    connection: sa.Connection, project_id: str, customer_id: int, *, limit: int = 100
) -> list[EventLine]:
    """What happened to a customer, newest first as the hub saw it."""
    query = (
        sa.select(*(events.c[name] for name in EventLine.__struct_fields__))
        .where(events.c.customer_id == customer_id, events.c.project_id == project_id)
        .order_by(events.c.seq.desc())
        .limit(limit)
    )
    return [msgspec.convert(row, EventLine, from_attributes=True) for row in connection.execute(query)]


def load_inbox(connection: sa.Connection, project_id: str, app_id: str, *, limit: int = 100) -> list[InboxLine]:
    """What came in for an app, newest first."""
    query = (
        sa.select(*(inbox.c[name] for name in InboxLine.__struct_fields__))
        .where(inbox.c.app_id == app_id, inbox.c.project_id == project_id)
        .order_by(inbox.c.received_at_ms.desc(), inbox.c.id.desc())
        .limit(limit)
    )
    return [msgspec.convert(row, InboxLine, from_attributes=True) for row in connection.execute(query)]


def load_integration_names(connection: sa.Connection, project_id: str) -> dict[str, str]:
    """Names by id, deleted integrations too: the attempt log still speaks of them."""
    query = sa.select(integrations.c.id, integrations.c.name).where(integrations.c.project_id == project_id)
    return {row.id: row.name for row in connection.execute(query)}


def load_public_settings(connection: sa.Connection, project_id: str, integration_id: str) -> dict[str, object]:
    """The settings of an integration that are no secret, straight from the row, which holds no others."""
    query = sa.select(integrations.c.settings).where(
        integrations.c.id == integration_id, integrations.c.project_id == project_id
    )
    text = connection.execute(query).scalar_one_or_none()
    return {} if text is None else msgspec.json.decode(text, type=dict[str, object])
