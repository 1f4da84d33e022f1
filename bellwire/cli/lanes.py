"""How an integration's lane is doing, for people and for scripts."""

import msgspec

from bellwire.cli.console import now_ms as present_ms
from bellwire.db.health import IntegrationHealth
from bellwire.db.lane_states import LaneState, LaneStatus, lane_status
from bellwire.destinations.registry import DESTINATIONS
from bellwire.model.projects import Integration, RateLimit
from bellwire.web.dashboard.words import ago, span, utc


def lane_values(one: Integration, health: IntegrationHealth) -> dict[str, object]:
    """What scripts need of a lane; times in milliseconds."""
    declared = DESTINATIONS[one.destination].rate_limit
    return {
        "state": lane_status(health.lane, enabled=one.enabled, now_ms=present_ms()).value,
        "lane": msgspec.to_builtins(health.lane),
        "queued": health.queued,
        "retrying": health.retrying,
        "parked": health.parked,
        "oldest_due_ms": health.oldest_due_ms,
        "declared_rate_limit": None if declared is None else msgspec.to_builtins(declared),
    }


def lane_lines(one: Integration, health: IntegrationHealth, *, now_ms: int) -> list[str]:
    """The same for people."""
    lane = health.lane
    status = lane_status(lane, enabled=one.enabled, now_ms=now_ms)
    waiting = f"{health.waiting:,} ({health.queued:,} for the first time, {health.retrying:,} again)"
    if health.oldest_due_ms is not None:
        waiting += f", the oldest due {ago(health.oldest_due_ms, now_ms)}"
    return [
        f"{one.name} ({one.destination} {one.id}, project {one.project_id})",
        f"State         {in_words(status, lane, now_ms)}",
        f"Waiting       {waiting}",
        f"Parked        {health.parked:,}",
        f"Last success  {_when(lane.last_success_at_ms, now_ms)}",
        f"Last failure  {_when(lane.last_failure_at_ms, now_ms)}{lane.last_failure and ': '}{lane.last_failure}",
        f"Concurrency   {one.concurrency}",
        f"Rate limit    {_limit_in_words(one)}",
        f"Order         {_order_in_words(one.order_wait_ms)}",
    ]


def in_words(status: LaneStatus, lane: LaneState, now_ms: int) -> str:
    """The state with since when, until when and why."""
    match status:
        case LaneStatus.PAUSED:
            return f"paused {_when(lane.paused_at_ms, now_ms)}: {lane.paused_reason}"
        case LaneStatus.HELD:
            return f"held until {_when(lane.blocked_until_ms, now_ms)}, as the destination asked"
        case LaneStatus.OPEN:
            return f"breaker open since {_when(lane.breaker_since_ms, now_ms)}, next probe {_when(lane.next_probe_at_ms, now_ms)}"
        case LaneStatus.HALF_OPEN:
            return f"breaker open since {_when(lane.breaker_since_ms, now_ms)}, a probe is on its way"
        case LaneStatus.OFF:
            return "off: events are skipped"
        case LaneStatus.SENDING:
            return "sending"


def _when(at_ms: int | None, now_ms: int) -> str:
    return "never" if at_ms is None else f"{utc(at_ms)[:19]} UTC ({ago(at_ms, now_ms)})"


def _limit_in_words(one: Integration) -> str:
    declared = DESTINATIONS[one.destination].rate_limit
    parts = [_rate(one.rate_limit)] if one.rate_limit is not None else []
    parts += [f"{_rate(declared)} (documented by the destination)"] if declared is not None else []
    return " and ".join(parts) or "none"


def _rate(limit: RateLimit) -> str:
    return f"{limit.events_per_s:g} events/s, {limit.burst} at once"


def _order_in_words(wait_ms: int | None) -> str:
    if wait_ms is None:
        return "strict: a customer's event waits for the one before it"
    return "no waiting" if wait_ms == 0 else f"a customer's event waits up to {span(wait_ms)} for the one before it"
