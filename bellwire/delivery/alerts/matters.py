"""What is worth telling the team. Pure: figures of lanes and stores in, matters out; it is told the time.

Each rule has its bounds here, with the reason. A lane has one matter at a time where one explains the other: a paused
lane is not late as well.
"""

from collections.abc import Collection, Iterator, Sequence

import msgspec

from bellwire.db.alert_figures import AppFigures, LaneFigures
from bellwire.db.alerts import Matter, MatterKind
from bellwire.db.lane_states import BreakerState

_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000

BREAKER_OPEN_MS = 15 * _MINUTE_MS
"""Restarts and deployments of a receiver take minutes."""
LATE_MS = 10 * _MINUTE_MS

MIN_ATTEMPTS = 20
"""In the last hour; of fewer a share says little."""
FLOOR = 0.2
"""A smaller share of failures is never unusual: retries take care of it."""
TIMES_USUAL = 3
MIN_WEEK = 100
"""Attempts of the week before that make a usual share; with fewer it counts as none."""
_ROUNDING = 1e-9
EASE = 0.8
"""A matter that is open ends below this part of its threshold, so that it does not come and go."""

MIN_SILENCE_MS = 6 * _HOUR_MS
MIN_GAPS = 20
"""Gaps between notifications that must be known, or the store was not heard of regularly."""
LONGEST_REGULAR_MS = 7 * 24 * _HOUR_MS
TIMES_GAP = 3
OUTAGES = 2
"""So many of the longest gaps may have been outages: the usual gap is the longest of the others."""


class Open(msgspec.Struct, frozen=True):
    """A matter that is going on."""

    kind: MatterKind
    subject: str


def lane_matters(figures: Sequence[LaneFigures], going_on: Collection[Open], now_ms: int) -> Iterator[Matter]:
    """What is wrong with integrations; those that are switched off have nothing."""
    for lane in figures:
        if lane.enabled:
            found = _of_lane(lane, now_ms)
            if found is not None:
                yield found
            if lane.state.paused_at_ms is None and _unusual(lane, going_on):
                yield _matter(lane, MatterKind.FAILURES, _failures_in_words(lane))


def app_matters(figures: Sequence[AppFigures], now_ms: int) -> Iterator[Matter]:
    """Stores that have gone silent."""
    for app in figures:
        usual_ms = usual_gap_ms(app.gaps_ms)
        if usual_ms is None or app.last_notification_at_ms is None:
            continue
        silent_ms = now_ms - app.last_notification_at_ms
        if silent_ms > max(MIN_SILENCE_MS, TIMES_GAP * usual_ms):
            yield Matter(
                project_id=app.project_id,
                kind=MatterKind.STORE_SILENT,
                subject=app.app_id,
                name=app.name,
                message=f"no notification of its store for {in_words(silent_ms)}; usually there is one at least every "
                f"{in_words(usual_ms)}",
            )


def usual_gap_ms(gaps_ms: Sequence[int]) -> int | None:
    """How long a store is silent now and then; None where it was not heard of regularly."""
    if len(gaps_ms) < MIN_GAPS:
        return None
    usual_ms = sorted(gaps_ms)[-1 - OUTAGES]
    return usual_ms if usual_ms <= LONGEST_REGULAR_MS else None


def threshold(usual: float) -> float:
    """Share of failures from which on it is unusual for a lane whose share is `usual`: three times that, where that is
    possible, else halfway from it to everything; never below the floor."""
    return max(FLOOR, min(TIMES_USUAL * usual, (1 + usual) / 2))


def in_words(span_ms: int) -> str:
    """`45 minutes`, `7 hours`, `3 days`: rounded down, never 0."""
    for unit_ms, name in ((24 * _HOUR_MS, "day"), (_HOUR_MS, "hour"), (_MINUTE_MS, "minute")):
        count = span_ms // unit_ms
        if count >= 2 or (count and unit_ms == _MINUTE_MS):
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "less than a minute"


def _of_lane(lane: LaneFigures, now_ms: int) -> Matter | None:
    """The one matter that explains why events wait."""
    state = lane.state
    waiting = f"{lane.waiting_in_words} waiting"
    if state.paused_at_ms is not None:
        return _matter(lane, MatterKind.PAUSED, f"paused: {state.paused_reason}; {waiting}")
    if state.breaker is not BreakerState.CLOSED and state.breaker_since_ms is not None:
        open_ms = now_ms - state.breaker_since_ms
        if open_ms >= BREAKER_OPEN_MS:
            why = f"the last failure: {state.last_failure}" if state.last_failure else "it does not answer"
            text = f"nothing gets through since {in_words(open_ms)}, {why}; {waiting}"
            return _matter(lane, MatterKind.BREAKER_OPEN, text)
        return None
    late_ms = 0 if lane.oldest_due_ms is None else now_ms - lane.oldest_due_ms
    if late_ms >= LATE_MS:
        return _matter(lane, MatterKind.LATE, f"late: the oldest event is due since {in_words(late_ms)}; {waiting}")
    return None


def _unusual(lane: LaneFigures, going_on: Collection[Open]) -> bool:
    if not lane.attempts:
        return False
    bound = threshold(_usual(lane)) - _ROUNDING
    share = lane.failures / lane.attempts
    if Open(MatterKind.FAILURES, lane.integration_id) in going_on:
        return share >= EASE * bound
    return lane.attempts >= MIN_ATTEMPTS and share >= bound


def _usual(lane: LaneFigures) -> float:
    return lane.week_failures / lane.week_attempts if lane.week_attempts >= MIN_WEEK else 0.0


def _failures_in_words(lane: LaneFigures) -> str:
    usual = f"usually {_usual(lane):.0%} fail" if lane.week_attempts >= MIN_WEEK else "what is usual is not known yet"
    last = f", the last with: {lane.state.last_failure}" if lane.state.last_failure else ""
    return f"{lane.failures} of {lane.attempts} attempts in the last hour failed{last}; {usual}"


def _matter(lane: LaneFigures, kind: MatterKind, message: str) -> Matter:
    return Matter(project_id=lane.project_id, kind=kind, subject=lane.integration_id, name=lane.name, message=message)
