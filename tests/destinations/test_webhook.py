"""The webhook's own rules (spec: events 10.1-10.3)."""

from datetime import UTC, datetime

import msgspec
import pytest
from msgspec.structs import replace
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from bellwire.destinations.base import Answer, AttemptContext, OutboundRequest, Outcome
from bellwire.destinations.outcomes import standard_outcome
from bellwire.destinations.webhook.destination import DESTINATION, Settings, build, classify
from bellwire.kit.http import TransportError
from bellwire.kit.ids import new_token
from bellwire.model.enums import EventType
from bellwire.model.events import Event

URL = "https://hooks.example.com/in"
EVENT = Event(type=EventType.TEST, id="1A2B3C4D-0000-5000-8000-000000000001", event_timestamp_ms=1)


def sent(settings: Settings, sent_at_s: int) -> OutboundRequest:
    built = build(EVENT, settings, AttemptContext(attempt=1, sent_at_s=sent_at_s, event_json=b'{"id":1}'))
    assert isinstance(built, OutboundRequest)
    return built


def test_the_reference_library_accepts_the_standard_headers() -> None:
    secret = new_token("whsec_")
    now = int(datetime.now(UTC).timestamp())
    request = sent(Settings(url=URL, signing_secret=secret, standard_webhooks=True), now)
    assert Webhook(secret).verify(request.body, request.headers) == {"api_version": "1.0", "event": {"id": 1}}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(request.body + b" ", request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_token("whsec_")).verify(request.body, request.headers)


def test_nothing_is_signed_without_a_secret() -> None:
    assert sent(Settings(url=URL), 1).headers == {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "values",
    [
        {"url": "ftp://example.com"},
        {"url": "https://exa mple.com"},
        {"url": "https://"},
        {"url": URL, "authorization": "a\r\nX-Evil: 1"},
        {"url": URL, "signing_secret": "not-prefixed-but-long-enough"},
        {"url": URL, "signing_secret": "whsec_short"},
        {"url": URL, "standard_webhooks": True},
        {"url": URL, "standard_webhooks": True, "signing_secret": "whsec_this-is-not-base64-at-all"},
        {"url": URL, "retry_schedule": "never"},
        {"url": URL, "color": "red"},
        {},
    ],
)
def test_settings_that_could_not_work_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(values, Settings)


@pytest.mark.parametrize("status", [*range(201, 207), 301, 302, 307, 400, 401, 404, 410, 429, 500, 501, 503])
def test_only_200_is_delivered(status: int) -> None:
    strict = Settings(url=URL)
    assert classify(Answer(status=200), strict) is Outcome.DELIVERED
    assert classify(Answer(status=status), strict) is not Outcome.DELIVERED
    lenient = classify(Answer(status=status), replace(strict, accept_any_2xx=True))
    assert (lenient is Outcome.DELIVERED) == (200 <= status < 300)


def test_every_failure_is_retried() -> None:
    assert DESTINATION.retry_every_failure


def test_an_answer_that_broke_off_is_no_success() -> None:
    answer = Answer(status=200, error=TransportError.TIMEOUT)
    assert classify(answer, Settings(url=URL)) is Outcome.RETRY


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (Outcome.DELIVERED, [200, 201, 204, 299]),
        (Outcome.RETRY, [408, 425, 429, 500, 502, 503, 504, 599]),
        (Outcome.REJECTED, [400, 405, 409, 413, 422, 451, 501]),
        (Outcome.MISCONFIGURED, [300, 301, 302, 303, 307, 308, 401, 402, 403, 404, 410]),
    ],
)
def test_statuses_by_the_standard_table(outcome: Outcome, statuses: list[int]) -> None:
    assert [standard_outcome(Answer(status=status)) for status in statuses] == [outcome] * len(statuses)


@pytest.mark.parametrize("error", TransportError)
def test_transport_errors_by_the_standard_table(error: TransportError) -> None:
    lasting = error in (TransportError.BLOCKED, TransportError.INVALID_URL)
    assert standard_outcome(Answer(error=error)) is (Outcome.MISCONFIGURED if lasting else Outcome.RETRY)
