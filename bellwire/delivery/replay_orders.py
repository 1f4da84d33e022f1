"""Asking for replays, in the same way from the command line, the HTTP API and the dashboard."""

import msgspec
import sqlalchemy as sa

from bellwire.db.replay_selection import Preview, preview
from bellwire.db.replays import create_replay
from bellwire.model.projects import Integration
from bellwire.model.replays import Selection

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
