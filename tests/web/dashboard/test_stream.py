"""The feed's stream, byte by byte."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse

import pytest

from bellwire.web.dashboard import stream
from tests.support.threaded import ask
from tests.web.dashboard.conftest import Person
from tests.web.dashboard.hub import Hub


class Scene:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.project = hub.project()
        self.lane = hub.integration(self.project)
        self.customer = hub.customer(self.project, "ada")

    def attempt(self, kind: str = "RENEWAL") -> int:
        return self.hub.attempt(self.hub.event(self.project, self.customer, "ada", kind=kind), self.lane)


@pytest.fixture
def scene(hub: Hub) -> Scene:
    return Scene(hub)


@contextmanager
def listening(scene: Scene, person: Person, query: str = "", **headers: str) -> Iterator[HTTPResponse]:
    connection = HTTPConnection("127.0.0.1", scene.hub.port, timeout=20)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        path = f"/projects/{scene.project}/feed/stream{query}"
        connection.request("GET", path, headers={"cookie": person.cookie, **named})
        yield connection.getresponse()
    finally:
        connection.close()


def next_message(response: HTTPResponse) -> dict[str, str]:
    """The fields of the next message; comments under the empty name."""
    fields: dict[str, str] = {}
    while (line := response.readline()) != b"\n":
        assert line, "the stream ended"
        name, _, value = line.decode().rstrip("\n").partition(": ")
        fields[name] = f"{fields[name]}\n{value}" if name in fields else value
    return fields


def test_new_attempts_come_with_their_id(scene: Scene, person: Person) -> None:
    old = scene.attempt()
    with listening(scene, person) as response:
        assert response.getheader("content-type", "").startswith("text/event-stream")
        assert response.getheader("x-accel-buffering") == "no"
        assert response.getheader("cache-control") == "no-store"
        assert next_message(response) == {"retry": "2000", "id": str(old)}
        new = scene.attempt(kind="CANCELLATION")
        message = next_message(response)
    assert (message["event"], message["id"]) == ("rows", str(new))
    assert message["data"].count("<tbody") == 1
    assert "CANCELLATION" in message["data"]


def test_a_reader_who_comes_back_gets_what_was_missed(scene: Scene, person: Person) -> None:
    seen, missed, newest = (scene.attempt() for _ in range(3))
    for query, last_event_id in ((f"?after={seen}", ""), ("?after=0", str(seen))):
        with listening(scene, person, query, last_event_id=last_event_id) as response:
            assert next_message(response)["id"] == str(seen)
            message = next_message(response)
            assert message["id"] == str(newest)
            assert f'data-attempt="{missed}"' in message["data"]
            assert f'data-attempt="{seen}"' not in message["data"]


def test_filters_hold_back_but_rows_that_left_them_are_still_updated(scene: Scene, person: Person) -> None:
    event = scene.hub.event(scene.project, scene.customer, "ada")
    start = scene.hub.attempt(event, scene.lane, outcome="rejected", status=422)
    with listening(scene, person, f"?after={start}&status=failed&type={event.kind}") as response:
        next_message(response)
        scene.attempt(kind="TRANSFER")
        scene.hub.attempt(event, scene.lane, number=2)
        message = next_message(response)
        while "data" not in message:
            message = next_message(response)
    assert "TRANSFER" not in message["data"]
    assert "data-update-only" in message["data"]


def test_attempts_of_other_processes_are_found_without_a_wake_up(
    scene: Scene, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "POLL_S", 0.05)
    with listening(scene, person) as response:
        next_message(response)
        event = scene.hub.event(scene.project, scene.customer, "ada")
        new = scene.hub.attempt(event, scene.lane, wake=False)
        assert next_message(response)["id"] == str(new)


def test_waiting_deliveries_are_told_once(scene: Scene, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "POLL_S", 0.05)
    with listening(scene, person) as response:
        start = next_message(response)["id"]
        event = scene.hub.event(scene.project, scene.customer, "ada", age_ms=9_000)
        scene.hub.queue(event, scene.lane)
        message = next_message(response)
        assert message["id"] == start
        assert "Queued" in message["data"]
        new = scene.hub.attempt(event, scene.lane)
        message = next_message(response)
        assert message["id"] == str(new)
        assert "Delivered" in message["data"] or "Queued" in message["data"]


def test_silence_is_broken_by_comments(scene: Scene, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "POLL_S", 0.02)
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    with listening(scene, person) as response:
        next_message(response)
        assert response.readline() == b": still here\n"


def test_the_stream_ends_with_the_session(scene: Scene, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "POLL_S", 0.02)
    monkeypatch.setattr(stream, "LOOKS_PER_SESSION_CHECK", 2)
    with listening(scene, person) as response:
        next_message(response)
        person.post("/logout", {"csrf": person.csrf})
        assert response.read() == b""


def test_the_stream_ends_when_the_hub_stops(scene: Scene, person: Person) -> None:
    with listening(scene, person) as response:
        next_message(response)
        scene.hub.delivery.wake(-1)
        assert response.read() == b""


def test_a_stream_of_nothing_is_refused(hub: Hub, person: Person) -> None:
    answer = ask(hub.port, "GET", "/projects/proj00000000/feed/stream", headers={"cookie": person.cookie})
    assert answer.status == 404
