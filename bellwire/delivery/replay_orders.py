"""Asking for replays, in the same way from the command line, the HTTP API and the dashboard."""

from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa

from bellwire.db.replay_selection import Preview, preview
from bellwire.db.replays import create_replay
from bellwire.model.projects import Integration
from bellwire.model.replays import Selection, What

MAX_RATE_PER_S = 10_000.0


class ReplayRefused(Exception):
    """There is nobody to send to; the message says why."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A replay that could be asked for, and what it would send. It makes nothing until it is placed."""

    integration: Integration
    selection: Selection
    preview: Preview


def draw_up(connection: sa.Connection, integration: Integration, selection: Selection) -> Order:
    """The dry run; only reads."""
    return Order(integration=integration, selection=selection, preview=preview(connection, integration, selection))


def place(
    connection: sa.Connection,
    order: Order,
    *,
    created_by: str,
    now_ms: int,
    rate_per_s: float | None = None,
    idempotency_key: str | None = None,
) -> str:
    """Ask for it; returns the replay's id. Workers begin within a second. Raises ReplayRefused, IdempotencyConflict."""
    integration = order.integration
    if not integration.enabled:
        raise ReplayRefused(f"{integration.name} ({integration.id}) is switched off: switch it on first")
    return create_replay(
        connection,
        project_id=integration.project_id,
        integration_id=integration.id,
        selection=order.selection,
        preview=order.preview,
        created_by=created_by,
        now_ms=now_ms,
        rate_per_s=rate_per_s,
        idempotency_key=idempotency_key,
    )


_WORDS = {What.HISTORY: "events", What.FAILED: "failed deliveries", What.PARKED: "parked deliveries"}


def in_words(selection: Selection) -> str:
    """What it selects: `events; RENEWAL; since 2026-11-01 00:00`."""
    parts = [_WORDS[selection.what]]
    if selection.event_id is not None:
        parts.append(f"with id {selection.event_id}")
    if selection.delivery_ids is not None:
        parts.append(f"{len(selection.delivery_ids)} selected")
    if selection.customer is not None:
        parts.append(f"of customer {selection.customer}")
    if selection.event_types is not None:
        parts.append(", ".join(selection.event_types))
    if selection.environment is not None:
        parts.append(selection.environment.lower())
    if selection.app_id is not None:
        parts.append(f"of app {selection.app_id}")
    if selection.since_ms is not None:
        parts.append(f"since {_minute(selection.since_ms)}")
    if selection.until_ms is not None:
        parts.append(f"until {_minute(selection.until_ms)}")
    if selection.include_undispatched:
        parts.append("also those that never went out")
    return "; ".join(parts)


def _minute(ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"
