"""How long events of one integration took lately, by stage: what its page shows without any monitoring set up."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from bellwire.db.tables import attempts, events
from bellwire.kit.ids import row_id_at

SAMPLE = 2_000
"""First attempts that are looked at, at most; the newest."""


class Spread(msgspec.Struct, frozen=True):
    """Milliseconds that half, and that 99 of 100, did not exceed."""

    p50_ms: int
    p99_ms: int


class StageTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Of `events` first attempts."""

    events: int
    committed_to_sent: Spread
    sent_to_answered: Spread


def load_stage_times(
    connection: sa.Connection, project_id: str, integration_id: str, *, since_ms: int
) -> StageTimes | None:
    """Times of first attempts that were made since then; None = there were none."""
    query = (
        sa.select(attempts.c.started_at_ms, attempts.c.duration_ms, events.c.committed_at_ms)
        .join(events, events.c.seq == attempts.c.event_seq)
        .where(
            attempts.c.project_id == project_id,
            attempts.c.integration_id == integration_id,
            attempts.c.id >= row_id_at(since_ms),
            attempts.c.attempt == 1,
            attempts.c.trigger == "automatic",
            attempts.c.request_method.is_not(None),
        )
        .order_by(attempts.c.id.desc())
        .limit(SAMPLE)
    )
    rows = connection.execute(query).all()
    if not rows:
        return None
    return StageTimes(
        events=len(rows),
        committed_to_sent=spread([max(0, row.started_at_ms - row.committed_at_ms) for row in rows]),
        sent_to_answered=spread([row.duration_ms for row in rows]),
    )


def spread(values: Sequence[int]) -> Spread:
    """By nearest rank; there must be at least one value."""
    ranked = sorted(values)
    return Spread(ranked[(len(ranked) - 1) // 2], ranked[-(-len(ranked) * 99 // 100) - 1])
