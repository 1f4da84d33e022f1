"""What an answer means and what follows from it, in one table and in words (style 7). Pure."""

from functools import lru_cache
from typing import assert_never

import msgspec

from bellwire.destinations.base import Answer, Destination, Outcome
from bellwire.destinations.outcomes import standard_outcome


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`settled`: nothing more is to be done. `retried`: the schedule says when again; neither = given up at once."""

    outcome: Outcome
    reason: str
    settled: bool
    retried: bool


def judge(destination: Destination, settings: msgspec.Struct, answer: Answer) -> Verdict:
    """The destination's own reading of the answer, else the standard one."""
    outcome = standard_outcome(answer) if destination.classify is None else destination.classify(answer, settings)
    return verdict(outcome, explain(answer, outcome), retry_every_failure=destination.retry_every_failure)


@lru_cache(1024)
def verdict(outcome: Outcome, reason: str, *, retry_every_failure: bool = False) -> Verdict:
    """What follows from an outcome. What a person must mend is retried too: it may be mended while it waits."""
    match outcome:
        case Outcome.DELIVERED | Outcome.SKIPPED:
            return Verdict(outcome=outcome, reason=reason, settled=True, retried=False)
        case Outcome.RETRY | Outcome.MISCONFIGURED:
            return Verdict(outcome=outcome, reason=reason, settled=False, retried=True)
        case Outcome.REJECTED:
            return Verdict(outcome=outcome, reason=reason, settled=False, retried=retry_every_failure)
        case _:
            assert_never(outcome)


def explain(answer: Answer, outcome: Outcome) -> str:
    """The reason in words where nobody gives a better one."""
    if answer.error is not None:
        return f"{answer.error.value}: {answer.error_detail}"
    status = answer.status or 0
    if outcome is Outcome.DELIVERED:
        return f"answered {status}"
    if 200 <= status < 300:
        return f"answered {status}, which does not count as delivered"
    if 300 <= status < 400:
        return f"answered {status}: redirects are not followed"
    return f"answered {status}"
