"""What the hub tells of its work: one wide line for each unit of it, and figures that add up."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from bellwire.kit.logs import configure_logs
from bellwire.observe import metrics
from tests.support.world import World, live


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    text = io.StringIO()
    configure_logs(level="info", as_json=True, file=text, keep=False)
    yield text
    configure_logs(level="warning", as_json=False, file=io.StringIO(), keep=False)
    structlog.reset_defaults()


def lines(log: io.StringIO, event: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line for line in found if line["event"] == event]


def test_one_wide_line_for_each_unit_of_work(tmp_path: Path, log: io.StringIO) -> None:
    async def scene(it: World) -> None:
        it.statuses["hook"] = 503
        key = it.apple.purchase("pro_monthly")
        assert await it.post(it.apple, key, "ann@example.com") == 200
        await it.settle()
        [event] = it.events()
        [receipt] = lines(log, "receipt.applied")
        assert (receipt["result"], receipt["event_ids"]) == ("applied", [event["id"]])
        assert receipt["prove_ms"] > 0
        assert receipt["commit_ms"] > 0
        for name in ("notification.received", "notification.applied"):
            [line] = lines(log, name)
            assert line["app_id"] == it.apple_app.id
            assert line["type"] == "SUBSCRIBED"
        [attempted] = lines(log, "delivery.attempted")
        integration = next(iter(it.hub.config.current().integrations))
        assert attempted["level"] == "warning"
        assert {name: attempted[name] for name in ("integration_id", "destination", "event_id", "event_type")} == {
            "integration_id": integration,
            "destination": "webhook",
            "event_id": event["id"],
            "event_type": "INITIAL_PURCHASE",
        }
        assert (attempted["attempt"], attempted["outcome"], attempted["status"]) == (1, "retry", 503)
        assert attempted["next_attempt_at_ms"] > 0
        assert attempted["waited_ms"] >= 0
        for secret in ("ann@example.com", it.apple_app.token, it.apple_key, it.secret_key):
            assert secret not in log.getvalue()

    live(tmp_path, scene)


def test_what_was_turned_away_has_its_line(tmp_path: Path, log: io.StringIO) -> None:
    async def scene(it: World) -> None:
        before = metrics.NOTIFICATIONS.value("APP_STORE", "rejected")
        status, _ = await it.push(f"{it.url}/v1/incoming-webhooks/apple/{it.apple_app.token}", b'{"signedPayload":"x"}')
        assert status in (400, 401, 403)
        [line] = lines(log, "notification.received")
        assert (line["level"], line["result"]) == ("warning", "rejected")
        assert metrics.NOTIFICATIONS.value("APP_STORE", "rejected") == before + 1

    live(tmp_path, scene)


def test_receipt_that_the_store_does_not_know(tmp_path: Path, log: io.StringIO) -> None:
    async def scene(it: World) -> None:
        before = metrics.RECEIPTS.value("PLAY_STORE", "refused")
        status, _ = await it.call(
            "POST",
            "/v1/receipts",
            {"app_user_id": "u", "fetch_token": "no-such-token", "product_id": "pro_monthly"},
            it.google_key,
            "android",
        )
        assert status == 400
        [line] = lines(log, "receipt.applied")
        assert line["result"] == "refused"
        assert metrics.RECEIPTS.value("PLAY_STORE", "refused") == before + 1

    live(tmp_path, scene)


def test_figures_add_up(tmp_path: Path) -> None:
    """Counters are the process's, so what matters is by how much they grew."""
    histograms = (
        (metrics.STORE_TO_RECEIVED, ("APP_STORE",)),
        (metrics.RECEIVED_TO_COMMITTED, ("APP_STORE",)),
        (metrics.COMMITTED_TO_SENT, ("webhook",)),
        (metrics.SENT_TO_ANSWERED, ("webhook",)),
    )

    async def scene(it: World) -> None:
        [integration] = it.hub.config.current().integrations
        before = [histogram.count(*labels) for histogram, labels in histograms]
        calls = metrics.STORE_SECONDS.count("APP_STORE", "2xx")
        commits, turns = metrics.COMMIT_SECONDS.count(), metrics.TURN_ATTEMPTS.count()
        events = metrics.EVENTS.value("APP_STORE", "INITIAL_PURCHASE")
        for number in range(3):
            assert await it.post(it.apple, it.apple.purchase("pro_monthly"), f"customer-{number}") == 200
        await it.settle()
        assert [histogram.count(*labels) for histogram, labels in histograms] == [count + 3 for count in before]
        assert metrics.EVENTS.value("APP_STORE", "INITIAL_PURCHASE") == events + 3
        assert metrics.ATTEMPTS.value(integration, "webhook", "delivered") == 3
        assert metrics.COMMIT_SECONDS.count() > commits
        assert metrics.STORE_SECONDS.count("APP_STORE", "2xx") >= calls + 3
        assert 0 < metrics.TURN_ATTEMPTS.count() - turns <= 3
        it.statuses["hook"] = 500
        assert await it.post(it.apple, it.apple.purchase("pro_monthly"), "customer-4") == 200
        await it.settle()
        assert metrics.ATTEMPTS.value(integration, "webhook", "retry") == 1

    live(tmp_path, scene)


def test_receiver_that_is_not_there(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        gone = await it.webhook("gone", url="http://127.0.0.1:1/")
        assert await it.post(it.apple, it.apple.purchase("pro_monthly")) == 200
        await it.settle()
        assert metrics.TRANSPORT_ERRORS.value(gone.id, "webhook", "connect") == 1

    live(tmp_path, scene)
