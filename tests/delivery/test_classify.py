"""What follows from each outcome, and the words for it."""

import pytest

from bellwire.delivery.classify import judge, verdict
from bellwire.destinations.base import Answer, Outcome, TransportError
from bellwire.destinations.webhook.destination import DESTINATION, Settings

SETTINGS = Settings(url="https://example.com")


@pytest.mark.parametrize(
    ("outcome", "settled", "retried"),
    [
        (Outcome.DELIVERED, True, False),
        (Outcome.SKIPPED, True, False),
        (Outcome.RETRY, False, True),
        (Outcome.MISCONFIGURED, False, True),
        (Outcome.REJECTED, False, False),
    ],
)
def test_what_follows(outcome: Outcome, settled: bool, retried: bool) -> None:
    found = verdict(outcome, "because")
    assert (found.settled, found.retried) == (settled, retried)


def test_a_contract_that_retries_everything_retries_rejections_too() -> None:
    assert verdict(Outcome.REJECTED, "", retry_every_failure=True).retried


@pytest.mark.parametrize("status", [201, 204, 301, 400, 401, 404, 410, 422, 429, 500, 501, 503])
def test_webhooks_are_retried_after_every_failure(status: int) -> None:
    found = judge(DESTINATION, SETTINGS, Answer(status=status))
    assert (found.settled, found.retried) == (False, True)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(status=200), "answered 200"),
        (Answer(status=204), "answered 204, which does not count as delivered"),
        (Answer(status=302), "answered 302: redirects are not followed"),
        (Answer(status=500), "answered 500"),
        (Answer(error=TransportError.DNS, error_detail="a.b does not resolve"), "dns: a.b does not resolve"),
    ],
)
def test_the_reason_is_in_words(answer: Answer, reason: str) -> None:
    assert judge(DESTINATION, SETTINGS, answer).reason == reason
