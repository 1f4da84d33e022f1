"""What a row of the live feed is made of, and how rows are read from attempts, events and outbox."""

from collections.abc import Sequence
from enum import StrEnum
from typing import cast

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from bellwire.db.tables import app_user_ids, attempts, events, outbox

OUTBOX_DUE, OUTBOX_LEASED, OUTBOX_PARKED = 0, 1, 2

Columns = Sequence[sa.ColumnElement[object]]
AnySelect = sa.Select[*tuple[object, ...]]


class FeedStatus(StrEnum):
    """What a row of the feed says about a delivery."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    RETRYING = "retrying"
    FAILED = "failed"
    SKIPPED = "skipped"


class FeedFilters(msgspec.Struct, frozen=True, kw_only=True):
    """What the reader wants to see; None = all. `customer` is an app user id, exactly."""

    status: FeedStatus | None = None
    event_type: str | None = None
    integration_id: str | None = None
    environment: str | None = None
    customer: str | None = None


class FeedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery. Without an attempt yet, the fields of the attempt are None.

    `outbox_*` are None when nothing more will happen by itself.
    """

    integration_id: str
    event_seq: int
    event_id: str
    event_type: str
    app_user_id: str | None
    environment: str | None
    app_id: str | None
    store: str | None
    customer_id: int | None
    at_ms: int
    """Start of the latest attempt; of a delivery without one: when it was queued."""
    attempt_id: int | None = None
    attempt: int = 0
    trigger: str | None = None
    outcome: str | None = None
    reason: str = ""
    status_code: int | None = None
    error: str | None = None
    duration_ms: int | None = None
    next_attempt_at_ms: int | None = None
    parked: bool = False
    outbox_id: int | None = None
    outbox_state: int | None = None
    outbox_due_at_ms: int | None = None
    outbox_manual: bool | None = None

    @property
    def status(self) -> FeedStatus:
        """Where the delivery stands: a running attempt wins over what the last one brought."""
        if self.outbox_state == OUTBOX_LEASED:
            return FeedStatus.SENDING
        if self.attempt_id is None or (self.outbox_manual and self.outbox_state is not None):
            return FeedStatus.QUEUED
        if self.outbox_state == OUTBOX_DUE and self.settled_status is not FeedStatus.RETRYING:
            return FeedStatus.QUEUED  # a replay asks for it again
        return self.settled_status

    @property
    def settled_status(self) -> FeedStatus:
        """What the latest attempt brought; this is what the status filter goes by."""
        match self.outcome:
            case None:
                return FeedStatus.QUEUED
            case "delivered":
                return FeedStatus.SENT
            case "skipped":
                return FeedStatus.SKIPPED
            case _ if self.next_attempt_at_ms is not None and not self.parked:
                return FeedStatus.RETRYING
            case _:
                return FeedStatus.FAILED

    @property
    def next_at_ms(self) -> int | None:
        """When the next attempt is due; None when none will come by itself."""
        if self.outbox_state is None:
            return None if self.parked else self.next_attempt_at_ms
        return None if self.outbox_state == OUTBOX_PARKED else self.outbox_due_at_ms


OUTBOX_COLUMNS: Columns = [
    outbox.c.integration_id,
    outbox.c.event_seq,
    *(outbox.c[name].label(f"outbox_{name}") for name in ("id", "state", "due_at_ms", "manual")),
]
EVENT_COLUMNS: Columns = [
    events.c.id.label("event_id"),
    events.c.type.label("event_type"),
    *(events.c[name] for name in ("app_user_id", "environment", "app_id", "store", "customer_id")),
]
_ATTEMPT_COLUMNS: Columns = [
    attempts.c.id.label("attempt_id"),
    attempts.c.started_at_ms.label("at_ms"),
    *(
        attempts.c[name]
        for name in (
            "integration_id event_seq event_id event_type app_user_id environment attempt trigger outcome reason "
            "status_code error duration_ms next_attempt_at_ms parked"
        ).split()
    ),
    events.c.app_id,
    events.c.store,
    events.c.customer_id,
]


def select(*columns: sa.ColumnElement[object]) -> AnySelect:
    """`sqlalchemy.select`, typed for as many columns as it takes."""
    return cast(AnySelect, sa.select(*columns))


def tried() -> AnySelect:
    """Rows of attempts, for the caller to narrow; an attempt whose event is not kept (a test) has no store."""
    return select(*_ATTEMPT_COLUMNS).outerjoin(events, events.c.seq == attempts.c.event_seq)


def to_row(row: sa.Row[*tuple[object, ...]]) -> FeedRow:
    """One result of `tried`, or of a query over OUTBOX_COLUMNS, EVENT_COLUMNS and `at_ms`."""
    return msgspec.convert(row, FeedRow, from_attributes=True)


def with_outbox(connection: sa.Connection, rows: list[FeedRow]) -> list[FeedRow]:
    """The rows with what the outbox has planned for them."""
    if not rows:
        return rows
    query = select(*OUTBOX_COLUMNS).where(
        outbox.c.integration_id.in_({row.integration_id for row in rows}),
        outbox.c.event_seq.in_({row.event_seq for row in rows}),
    )
    planned: dict[tuple[str, int], dict[str, object]] = {}
    for row in connection.execute(query):
        planned[row.integration_id, row.event_seq] = {
            "outbox_id": row.outbox_id,
            "outbox_state": row.outbox_state,
            "outbox_due_at_ms": row.outbox_due_at_ms,
            "outbox_manual": row.outbox_manual,
        }
    return [replace(row, **planned.get((row.integration_id, row.event_seq), {})) for row in rows]


def customer_id_of(connection: sa.Connection, project_id: str, app_user_id: str) -> int | None:
    """Whom an app user id belongs to."""
    return connection.execute(
        sa.select(app_user_ids.c.customer_id).where(
            app_user_ids.c.project_id == project_id, app_user_ids.c.app_user_id == app_user_id
        )
    ).scalar_one_or_none()


def admitted(
    connection: sa.Connection, project_id: str, filters: FeedFilters, rows: Sequence[FeedRow]
) -> list[FeedRow]:
    """The rows that pass all filters but that of status."""
    wanted = [
        row
        for row in rows
        if filters.event_type in (None, row.event_type)
        and filters.environment in (None, row.environment)
        and filters.integration_id in (None, row.integration_id)
    ]
    if filters.customer is None:
        return wanted
    customer_id = customer_id_of(connection, project_id, filters.customer)
    return [row for row in wanted if customer_id is not None and row.customer_id == customer_id]
