"""How integrations are doing: what waits in the outbox, and how the latest attempts went."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from bellwire.db.feed_rows import OUTBOX_PARKED
from bellwire.db.lane_states import LaneState, load_lane_states, load_oldest_due
from bellwire.db.tables import attempts, outbox

DAY_MS = 86_400_000
SAMPLE = 5_000
"""Attempts of one integration that its success rate is taken from at most."""


class IntegrationHealth(msgspec.Struct, frozen=True, kw_only=True):
    """State of one lane. `attempts` and `delivered` count attempts of the last 24 h, skipped ones left out."""

    queued: int = 0
    """Waiting for the first attempt."""
    retrying: int = 0
    parked: int = 0
    """Given up; they wait for somebody to press Retry."""
    oldest_due_ms: int | None = None
    """When the longest waiting row that is due fell due."""
    lane: LaneState = LaneState()
    attempts: int = 0
    delivered: int = 0
    sampled: bool = False
    """There were more attempts than SAMPLE: the newest are counted."""
    last_outcome: str | None = None
    last_parked: bool = False
    last_is_test: bool = False
    """The latest attempt was a TEST event, which is never tried again."""
    last_reason: str = ""
    last_status_code: int | None = None
    last_at_ms: int | None = None

    @property
    def waiting(self) -> int:
        """Rows that will be sent by themselves."""
        return self.queued + self.retrying

    @property
    def success_permille(self) -> int | None:
        """Delivered attempts of a thousand, rounded down; None without attempts."""
        return self.delivered * 1000 // self.attempts if self.attempts else None


def load_integration_health(
    connection: sa.Connection, integration_ids: Sequence[str], *, now_ms: int
) -> dict[str, IntegrationHealth]:
    """Health of integrations, which the caller has found to belong to its project. `now_ms` is real time."""
    waiting = _waiting(connection, integration_ids)
    states = load_lane_states(connection, integration_ids)
    return {
        one: msgspec.structs.replace(
            _health(connection, one, waiting.get(one, {}), now_ms),
            lane=states.get(one, LaneState()),
            oldest_due_ms=load_oldest_due(connection, one, now_ms),
        )
        for one in integration_ids
    }


def _waiting(connection: sa.Connection, integration_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    kind = sa.case(
        (outbox.c.state == OUTBOX_PARKED, "parked"),
        (outbox.c.attempt > 0, "retrying"),
        else_="queued",
    ).label("kind")
    query = (
        sa.select(outbox.c.integration_id, kind, sa.func.count().label("rows"))
        .where(outbox.c.integration_id.in_(integration_ids))
        .group_by(outbox.c.integration_id, kind)
    )
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(query):
        found.setdefault(row.integration_id, {})[row.kind] = row.rows
    return found


def _health(connection: sa.Connection, integration_id: str, waiting: dict[str, int], now_ms: int) -> IntegrationHealth:
    newest = (
        sa.select(
            attempts.c.outcome,
            attempts.c.parked,
            attempts.c.trigger,
            attempts.c.reason,
            attempts.c.status_code,
            attempts.c.started_at_ms,
            attempts.c.id,
        )
        .where(attempts.c.integration_id == integration_id)
        .order_by(attempts.c.id.desc())
    )
    lane = IntegrationHealth(
        queued=waiting.get("queued", 0), retrying=waiting.get("retrying", 0), parked=waiting.get("parked", 0)
    )
    last = connection.execute(newest.limit(1)).one_or_none()
    if last is None:
        return lane
    sample = newest.limit(SAMPLE).subquery()
    query = sa.select(
        sample.c.outcome, sa.func.count().label("rows"), sa.func.min(sample.c.started_at_ms).label("since")
    )
    counted = connection.execute(
        query.where(sample.c.started_at_ms >= now_ms - DAY_MS, sample.c.outcome != "skipped").group_by(sample.c.outcome)
    )
    by_outcome: dict[str, int] = {row.outcome: row.rows for row in counted}
    total = sum(by_outcome.values())
    return msgspec.structs.replace(
        lane,
        attempts=total,
        delivered=by_outcome.get("delivered", 0),
        sampled=total >= SAMPLE,
        last_outcome=last.outcome,
        last_parked=last.parked,
        last_is_test=last.trigger == "test",
        last_reason=last.reason,
        last_status_code=last.status_code,
        last_at_ms=last.started_at_ms,
    )
