"""Alive and ready."""

from tests.web.conftest import Door


def test_alive_and_ready(door: Door) -> None:
    for path in ("/healthz", "/readyz"):
        answer = door.ask("GET", path)
        assert (answer.status, answer.json()) == (200, {"status": "ok"})
