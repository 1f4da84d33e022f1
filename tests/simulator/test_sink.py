"""The receiver believes the hub's own signatures, judged by the real destination and the real Standard Webhooks."""

import base64
import random
import time
from datetime import UTC, datetime

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook

from bellwire.destinations.base import AttemptContext, OutboundRequest
from bellwire.destinations.webhook import DESTINATION
from bellwire.model.enums import EventType
from bellwire.model.events import Event
from bellwire.simulator.sink import Receiver, Sink

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
EVENT = Event(type=EventType.TEST, id="E1", event_timestamp_ms=1)
NOW_S = int(time.time())


def sent(**settings: object) -> OutboundRequest:
    """A request as the hub makes it."""
    declared = msgspec.convert({"url": "https://example.com/", **settings}, DESTINATION.settings)
    context = AttemptContext(attempt=1, sent_at_s=NOW_S, event_json=msgspec.json.encode(EVENT))
    request = DESTINATION.build(EVENT, declared, context)
    assert isinstance(request, OutboundRequest)
    return request


def believes(receiver: Receiver, request: OutboundRequest, *, body: bytes | None = None, later_s: int = 1) -> bool:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return receiver.believes(headers, request.body if body is None else body, NOW_S + later_s)


def test_our_signature() -> None:
    receiver = Receiver(name="a", secret=SECRET)
    request = sent(signing_secret=SECRET)
    assert believes(receiver, request)
    assert not believes(receiver, request, body=request.body + b" ")
    assert not believes(receiver, request, later_s=301)
    assert not believes(receiver, sent())
    assert not believes(receiver, sent(signing_secret="whsec_another_secret_of_some_length"))


def test_standard_webhooks() -> None:
    receiver = Receiver(name="a", secret=SECRET, standard=True)
    request = sent(signing_secret=SECRET, standard_webhooks=True)
    assert believes(receiver, request)
    assert not believes(receiver, request, body=request.body + b" ")
    assert not believes(receiver, sent(signing_secret=SECRET))
    headers = {
        "webhook-id": "E1",
        "webhook-timestamp": str(NOW_S),
        "webhook-signature": Webhook(SECRET).sign("E1", datetime.fromtimestamp(NOW_S, UTC), request.body.decode()),
    }
    assert receiver.believes(headers, request.body, NOW_S)


@pytest.mark.parametrize("given", ["", "Bearer wrong", "Bearer rüght"])
def test_authorization(given: str) -> None:
    receiver = Receiver(name="a", authorization="Bearer right")
    assert believes(receiver, sent(authorization="Bearer right"))
    assert not receiver.believes({"authorization": given}, b"{}", NOW_S)


def test_duplicates_are_counted_once() -> None:
    receiver = Receiver(name="a")
    Sink(random.Random(1), receiver)
    for _ in range(3):
        receiver.take(sent().body)
    assert (receiver.received, receiver.duplicates, receiver.by_type["TEST"]) == (1, 2, 1)
