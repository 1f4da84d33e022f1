"""A token bucket: at most `burst` events at once, so many a second in the long run. Pure: it is told the time.

Kept as one number, the moment at which the bucket will be full again (the generic cell rate algorithm), so that nothing
has to be filled up while nobody looks.
"""

import math

import msgspec

from bellwire.model.projects import RateLimit


class Bucket(msgspec.Struct, frozen=True):
    """`full_at_us`: when the bucket is full again if nothing more is taken, in microseconds of the caller's clock."""

    full_at_us: int = 0

    def available(self, limit: RateLimit, now_ms: int) -> int:
        """Events that may go now; never more than the burst."""
        spare_us = limit.burst * _interval_us(limit) - self._missing_us(limit, now_ms)
        return spare_us // _interval_us(limit)

    def take(self, limit: RateLimit, count: int, now_ms: int) -> "Bucket":
        """The bucket after `count` events went; more than are available leave it empty and in no debt."""
        missing_us = self._missing_us(limit, now_ms) + count * _interval_us(limit)
        return Bucket(now_ms * 1000 + min(missing_us, limit.burst * _interval_us(limit)))

    def give_back(self, limit: RateLimit, count: int) -> "Bucket":
        """The bucket after `count` events that were taken did not go after all."""
        return Bucket(self.full_at_us - count * _interval_us(limit))

    def next_at_ms(self, limit: RateLimit, now_ms: int) -> int:
        """When an event may go: now, or the millisecond in which one becomes available."""
        if self.available(limit, now_ms) > 0:
            return now_ms
        wait_us = self._missing_us(limit, now_ms) - (limit.burst - 1) * _interval_us(limit)
        return now_ms + -(-wait_us // 1000)

    def _missing_us(self, limit: RateLimit, now_ms: int) -> int:
        """How long it takes to be full. Bounded by the whole bucket, whatever a clock that was set back would say."""
        return min(max(0, self.full_at_us - now_ms * 1000), limit.burst * _interval_us(limit))


def smaller(first: RateLimit | None, second: RateLimit | None) -> RateLimit | None:
    """Both limits at once: of each number the smaller. None = no limit."""
    if first is None or second is None:
        return first or second
    return RateLimit(
        events_per_s=min(first.events_per_s, second.events_per_s), burst=max(1, min(first.burst, second.burst))
    )


def share(limit: RateLimit, workers: int) -> RateLimit:
    """What one of several workers may use of a limit. Each may send one event at once, or it could send none."""
    return RateLimit(events_per_s=limit.events_per_s / workers, burst=max(1, limit.burst // workers))


def _interval_us(limit: RateLimit) -> int:
    """Microseconds to one more event, rounded against the sender. A limit of 0 is one event in some 30 years."""
    return min(10**15, math.ceil(1_000_000 / limit.events_per_s)) if limit.events_per_s > 0 else 10**15
