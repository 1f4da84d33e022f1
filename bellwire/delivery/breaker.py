"""A circuit breaker: after failures without a success between them it lets nothing through but a probe now and then.

Pure: it is told the time and what became of attempts. What counts as a failure here is what time may mend and more
requests make worse: no answer, 429, 5xx. An answer that refuses an event (400) or wants a person (401) is an answer.
"""

from enum import StrEnum

import msgspec
from msgspec.structs import replace

from bellwire.db.lane_states import MAX_WAIT_MS, BreakerState
from bellwire.destinations.base import TransportError


class Health(StrEnum):
    """What an attempt says about its destination, whatever became of the event."""

    WELL = "well"
    ILL = "ill"
    UNKNOWN = "unknown"
    """Nothing was sent."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """When it opens, and how long it waits. The first pause doubles with each probe that fails."""

    failures: int = 10
    """In a row,"""
    over_ms: int = 5_000
    """and the first of them so long ago: a receiver that restarts within seconds opens nothing."""
    first_pause_ms: int = 5_000
    longest_pause_ms: int = 300_000
    jitter_share: float = 0.1


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """`since_ms`: when it opened, or closed again; a probe that fails does not change it. `openings` counts pauses."""

    state: BreakerState = BreakerState.CLOSED
    since_ms: int | None = None
    openings: int = 0
    next_probe_at_ms: int | None = None
    """While half open: when another probe may go because the one on its way was never heard of again."""
    failures: int = 0
    first_failure_at_ms: int | None = None

    def may_probe(self, now_ms: int) -> bool:
        """Whether a probe may go; closed breakers need none."""
        if self.state is BreakerState.CLOSED:
            return False
        return self.next_probe_at_ms is None or not 0 < self.next_probe_at_ms - now_ms <= MAX_WAIT_MS

    def probing(self, *, lost_at_ms: int) -> "Breaker":
        """A probe is on its way; at `lost_at_ms` it counts as lost."""
        return replace(self, state=BreakerState.HALF_OPEN, next_probe_at_ms=lost_at_ms)

    def heard(self, health: Health, now_ms: int, rules: Rules, *, jitter: float) -> "Breaker":
        """The breaker after an attempt has ended. `jitter` is a random number in [0, 1) and lengthens a pause.

        A success closes it whoever had it, a late one of before too. While it is open a failure of an attempt that
        was already on its way changes nothing; what ends while it is half open is taken for the probe.
        """
        match health:
            case Health.UNKNOWN:
                return replace(self, next_probe_at_ms=now_ms) if self.state is BreakerState.HALF_OPEN else self
            case Health.WELL:
                if self.state is BreakerState.CLOSED:
                    return Breaker(since_ms=self.since_ms) if self.failures else self
                return Breaker(since_ms=now_ms)
            case Health.ILL:
                return self._failed(now_ms, rules, jitter)

    def _failed(self, now_ms: int, rules: Rules, jitter: float) -> "Breaker":
        if self.state is BreakerState.OPEN:
            return self
        first_ms = now_ms if self.first_failure_at_ms is None else min(self.first_failure_at_ms, now_ms)
        failed = replace(self, failures=self.failures + 1, first_failure_at_ms=first_ms)
        if self.state is BreakerState.CLOSED:
            if failed.failures < rules.failures or now_ms - first_ms < rules.over_ms:
                return failed
            failed = replace(failed, since_ms=now_ms)
        pause_ms = pause_of(self.openings, rules, jitter=jitter)
        return replace(failed, state=BreakerState.OPEN, openings=self.openings + 1, next_probe_at_ms=now_ms + pause_ms)


def pause_of(openings: int, rules: Rules, *, jitter: float) -> int:
    """How long it stays open after `openings` earlier pauses."""
    pause_ms = min(rules.first_pause_ms * 2 ** min(openings, 30), rules.longest_pause_ms)
    return int(pause_ms * (1 + rules.jitter_share * jitter))


def health_of(status: int | None, error: str | None) -> Health:
    """What an answer, or its absence, says about the destination; `error` is a TransportError's value."""
    if error in (TransportError.BLOCKED, TransportError.INVALID_URL):
        return Health.UNKNOWN
    if error is not None or status is None:
        return Health.ILL
    return Health.ILL if status == 429 or (status >= 500 and status != 501) else Health.WELL
