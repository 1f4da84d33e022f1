"""What an answer means where a destination does not say otherwise (style 7)."""

from collections.abc import Sequence

from bellwire.destinations.base import Answer, ItemAnswer, Outcome, Part, TransportError

_PERSON_MUST_ACT = frozenset({401, 402, 403, 404, 410})
_TIME_MAY_MEND = frozenset({408, 425, 429})
_ONE_SPOILS_ALL = frozenset({400, 413, 422})
_NEVER_SENT = frozenset({TransportError.BLOCKED, TransportError.INVALID_URL})


def standard_outcome(answer: Answer) -> Outcome:
    """Judge by status; an answer that broke off says nothing, whatever its status was."""
    if answer.error is not None or answer.status is None:
        return Outcome.MISCONFIGURED if answer.error in _NEVER_SENT else Outcome.RETRY
    status = answer.status
    if 200 <= status < 300:
        return Outcome.DELIVERED
    if 300 <= status < 400 or status in _PERSON_MUST_ACT:
        return Outcome.MISCONFIGURED
    if status in _TIME_MAY_MEND or (status >= 500 and status != 501):
        return Outcome.RETRY
    return Outcome.REJECTED


def alike_for_all(answer: Answer, parts: Sequence[Part]) -> list[ItemAnswer] | None:
    """For answers that say nothing of single events: the same for all, or None where one event may spoil the rest."""
    if answer.error is None and answer.status in _ONE_SPOILS_ALL and len(parts) > 1:
        return None
    return [ItemAnswer(outcome=standard_outcome(answer), retry_after_s=answer.retry_after_s)] * len(parts)
