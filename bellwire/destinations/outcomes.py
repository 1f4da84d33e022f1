"""What an answer means where a destination does not say otherwise (style 7)."""

from bellwire.destinations.base import Answer, Outcome, TransportError

_PERSON_MUST_ACT = frozenset({401, 402, 403, 404, 410})
_TIME_MAY_MEND = frozenset({408, 425, 429})
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
