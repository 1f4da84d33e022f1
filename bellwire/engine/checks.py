"""When a chain should be looked at again although nobody said anything (spec: stores 1.5)."""

from bellwire.engine.access import access_until_ms, chain_state
from bellwire.model.enums import ChainState
from bellwire.model.projects import DAY_MS
from bellwire.model.purchases import Chain

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
_BACKOFF_MS = (MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, 60 * MINUTE_MS)
GIVE_UP_MS = DAY_MS
GIVE_UP_FAILURES = 27
"""A store that could not be asked for a day past the end, and that was tried for a day (so many times, with the waits
above): stored dates take effect."""
_RECOVERY_MS = 60 * DAY_MS


def next_check_ms(chain: Chain, now_ms: int, *, quiet: bool = False) -> int | None:
    """The moment of the next pull; None = never (lifetime, replaced, long over).

    `quiet`: the app's store has never notified us, so that all we shall hear is what we ask for.
    """
    if chain.pull_failures:
        if _over_for(chain, now_ms) > _RECOVERY_MS:
            return None
        return now_ms + _BACKOFF_MS[min(chain.pull_failures, len(_BACKOFF_MS)) - 1]
    if chain.superseded:
        return None
    moments: list[int] = []
    if chain.acknowledged is False and not chain.observer_mode:
        moments.append(now_ms + HOUR_MS)
    latest = chain.latest
    if latest is None:
        return min([now_ms + DAY_MS, *moments]) if chain.pending else None
    if not chain.is_subscription:
        return min(moments) if moments else None
    moments += _by_state(chain, now_ms, quiet=quiet)
    for at_ms in (
        latest.expires_at_ms,
        chain.grace_expires_at_ms,
        chain.auto_resume_at_ms,
        chain.change_effective_at_ms,
    ):
        if at_ms is not None and at_ms + MINUTE_MS > now_ms:
            moments.append(at_ms + MINUTE_MS)
    return min(moments) if moments else None


def _by_state(chain: Chain, now_ms: int, *, quiet: bool) -> list[int]:
    match chain_state(chain, now_ms):
        case ChainState.GRACE | ChainState.RETRY | ChainState.PAUSED:
            return [now_ms + DAY_MS] if _over_for(chain, now_ms) < _RECOVERY_MS else []
        case ChainState.TRIAL | ChainState.ACTIVE | ChainState.CANCELLED | ChainState.PENDING:
            until = access_until_ms(chain)
            ends_soon = until is not None and until - now_ms <= DAY_MS
            if quiet:
                return [now_ms + (HOUR_MS if ends_soon else 6 * HOUR_MS)]
            return [now_ms + 7 * DAY_MS]
        case ChainState.EXPIRED:
            over = _over_for(chain, now_ms)
            if chain.latest is None or chain.expired_event_for_period != chain.latest.period_key:
                return [now_ms + MINUTE_MS]
            if over < HOUR_MS:
                return [now_ms + HOUR_MS]
            if over < DAY_MS:
                return [now_ms + DAY_MS]
            retried = chain.billing_issue_at_ms is not None and over < _RECOVERY_MS
            return [now_ms + DAY_MS] if retried else []
        case ChainState.REFUNDED | ChainState.SUPERSEDED:
            return []


def _over_for(chain: Chain, now_ms: int) -> int:
    until = access_until_ms(chain)
    return 0 if until is None else max(0, now_ms - until)
