"""Outbox to receiver over real HTTP: what arrives, what is written down, what comes next (spec: events 10.2, 14.44-51)."""

import asyncio
import hashlib
import hmac
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from bellwire.db.integrations import Filters, delete_integration, update_integration
from bellwire.db.outbox import State
from bellwire.db.tables import integrations, outbox
from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from bellwire.kit.ids import new_token
from tests.support.deliveries import Hub, now_ms, open_hub, play, until
from tests.support.rude_server import (
    Reply,
    RudeServer,
    drip,
    gzip_bomb,
    half_answer,
    hang,
    hang_in_body,
    hang_up,
    in_turn,
    raw,
    reset,
    rude_server,
    status,
    ten_megabytes,
)

pytestmark = pytest.mark.usefixtures("database")


def test_an_event_arrives_and_is_written_down(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            hook = hub.webhook(f"{server.base_url}/in?team=7")
            async with hub.delivering():
                (number,) = hub.emit(hook)
                await until(hub.attempts)
            (request,) = server.to("/in")
            body = msgspec.json.decode(request.body)
            assert list(body) == ["api_version", "event"]
            assert body["event"]["type"] == "RENEWAL"
            assert request.headers["content-type"] == "application/json"
            (attempt,) = hub.attempts()
            assert hub.waiting() == []
            assert (attempt.event_seq, attempt.attempt, attempt.trigger) == (number, 1, "automatic")
            assert (attempt.outcome, attempt.status_code, attempt.error) == ("delivered", 200, None)
            assert (attempt.next_attempt_at_ms, attempt.parked) == (None, False)
            assert attempt.request_url == f"{server.base_url}/in?team=7"
            assert attempt.request_body == request.body
            assert attempt.response_body == b"ok"
            assert msgspec.json.decode(attempt.timings)["total"] == attempt.duration_ms
            assert attempt.event_id == body["event"]["id"]
            assert attempt.app_user_id == "user-1"

    play(scene)


FAILURES: list[tuple[str, Reply, str, int | None, str | None]] = [
    ("204", status(204), "misconfigured", 204, None),
    ("201", status(201), "misconfigured", 201, None),
    ("redirect", status(302, b"", Location="/elsewhere"), "misconfigured", 302, None),
    ("401", status(401), "misconfigured", 401, None),
    ("422", status(422, b"no"), "rejected", 422, None),
    ("429", status(429), "retry", 429, None),
    ("503", status(503), "retry", 503, None),
    ("hang", hang, "retry", None, "timeout"),
    ("hang in body", hang_in_body, "retry", 200, "timeout"),
    ("drip", drip, "retry", 200, "timeout"),
    ("reset", reset, "retry", None, "reset"),
    ("hang up", hang_up, "retry", None, "reset"),
    ("half an answer", half_answer, "retry", 200, "reset"),
    ("no http", raw(b"SSH-2.0-nope\r\n"), "retry", None, "protocol"),
]


@pytest.mark.parametrize(
    ("reply", "outcome", "code", "error"), [case[1:] for case in FAILURES], ids=[case[0] for case in FAILURES]
)
def test_every_failure_is_classified_and_tried_again(
    tmp_path: Path, reply: Reply, outcome: str, code: int | None, error: str | None
) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path, delivery_timeout_s=0.3) as hub:
            server.replies["/in"] = reply
            hook = hub.webhook(f"{server.base_url}/in", retry_schedule="compatible")
            async with hub.delivering():
                hub.emit(hook)
                await until(hub.attempts)
            (attempt,) = hub.attempts()
            assert (attempt.outcome, attempt.status_code, attempt.error) == (outcome, code, error)
            assert attempt.reason
            (row,) = hub.waiting()
            assert (row.state, row.attempt, row.lease) == (State.DUE, 1, None)
            assert row.due_at_ms == attempt.next_attempt_at_ms
            assert row.due_at_ms == attempt.started_at_ms + attempt.duration_ms + 300_000
            assert server.to("/elsewhere") == []

    play(scene)


@pytest.mark.parametrize("reply", [ten_megabytes, gzip_bomb()], ids=["10 MB", "bomb"])
def test_huge_answers_are_cut_and_count(tmp_path: Path, reply: Reply) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = reply
            hook = hub.webhook(f"{server.base_url}/in")
            async with hub.delivering():
                hub.emit(hook)
                await until(hub.attempts)
            (attempt,) = hub.attempts()
            assert (attempt.outcome, attempt.response_truncated) == ("delivered", True)
            assert len(attempt.response_body) == 65536

    play(scene)


def test_the_whole_schedule_with_one_body_and_fresh_signatures(tmp_path: Path) -> None:
    async def scene() -> None:
        secret = new_token("whsec_")
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = status(204)
            hook = hub.webhook(
                f"{server.base_url}/in",
                signing_secret=secret,
                authorization="Bearer not-for-the-log",
                retry_schedule="compatible",
            )
            hub.emit(hook)
            async with hub.delivering():
                await until(lambda: len(hub.attempts()) == 1)
            for made in range(2, 7):
                hub.make_due()
                if made == 2:
                    await asyncio.sleep(1.01)  # the signature names the second of its attempt
                async with hub.delivering():
                    await until(lambda made=made: len(hub.attempts()) == made)
            hub.make_due()
            async with hub.delivering():
                hub.emit(hub.webhook(f"{server.base_url}/other"))
                await until(lambda: server.to("/other"))
            requests = server.to("/in")
            assert len(requests) == 6
            assert len({request.body for request in requests}) == 1
            signatures = [request.headers["x-revenuecat-webhook-signature"] for request in requests]
            assert signatures[0] != signatures[1]
            for request, header in zip(requests, signatures, strict=True):
                parts = dict(part.split("=") for part in header.split(","))
                signed = f"{parts['t']}.".encode() + request.body
                assert parts["v1"] == hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
                assert request.headers["authorization"] == "Bearer not-for-the-log"
            made_attempts = hub.attempts(hook)
            assert [row.attempt for row in made_attempts] == [1, 2, 3, 4, 5, 6]
            waits = [
                row.next_attempt_at_ms - row.started_at_ms - row.duration_ms
                for row in made_attempts
                if row.next_attempt_at_ms
            ]
            assert waits == [minutes * 60_000 for minutes in (5, 10, 20, 40, 80)]
            assert (made_attempts[-1].next_attempt_at_ms, made_attempts[-1].parked) == (None, True)
            (row,) = hub.waiting()
            assert (row.state, row.attempt) == (State.PARKED, 6)
            everything = repr(made_attempts)
            assert secret not in everything
            assert "not-for-the-log" not in everything

    play(scene)


def test_secrets_that_the_receiver_echoes_are_masked(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            token = "Bearer very-secret-indeed"
            server.replies["/in"] = status(500, f"you sent {token}".encode(), X_Echo=token)
            hook = hub.webhook(f"{server.base_url}/in", authorization=token)
            async with hub.delivering():
                hub.emit(hook)
                await until(hub.attempts)
            assert server.to("/in")[0].headers["authorization"] == token
            assert "very-secret" not in repr(hub.attempts())
            assert "you sent" in hub.attempts()[0].response_body.decode()

    play(scene)


def test_retry_after_is_honoured(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = status(503, b"", Retry_After="3600")
            hook = hub.webhook(f"{server.base_url}/in")
            async with hub.delivering():
                hub.emit(hook)
                await until(hub.attempts)
            (attempt,) = hub.attempts()
            assert attempt.next_attempt_at_ms - attempt.started_at_ms - attempt.duration_ms == 3_600_000

    play(scene)


def test_a_retry_comes_by_itself_when_due(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = in_turn(status(500), status(200))
            hook = hub.webhook(f"{server.base_url}/in")
            async with hub.delivering():
                hub.emit(hook)
                await until(hub.attempts)
                hub.change(sa.update(outbox).values(due_at_ms=now_ms() + 300))
                hub.emit(hub.webhook(f"{server.base_url}/other"))  # a commit: delivery looks at what is due next
                await until(lambda: len(hub.attempts(hook)) == 2)
            assert [row.outcome for row in hub.attempts(hook)] == ["retry", "delivered"]
            assert hub.waiting() == []

    play(scene)


def test_any_2xx_by_setting(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = status(204)
            hook = hub.webhook(f"{server.base_url}/in", accept_any_2xx=True)
            async with hub.delivering():
                hub.emit(hook)
                await until(hub.attempts)
            assert hub.attempts()[0].outcome == "delivered"
            assert hub.waiting() == []

    play(scene)


def test_a_hanging_receiver_does_not_slow_another_lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellwire.delivery.pump.STOP_GRACE_S", 0.1)

    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path, delivery_concurrency=8) as hub:
            server.replies["/stuck"] = hang
            stuck = [hub.webhook(f"{server.base_url}/stuck") for _ in range(6)]
            well = hub.webhook(f"{server.base_url}/well")
            for customer in range(40):
                hub.emit(*stuck, customer_id=customer)
            async with hub.delivering():
                await server.until("/stuck", 8)
                for customer in range(40):
                    hub.emit(well, customer_id=customer)
                await until(lambda: len(hub.attempts(well)) == 40)
                assert not any(hub.attempts(one) for one in stuck)

    play(scene)


def test_an_integration_that_was_switched_off_is_skipped_in_words(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            off, gone = hub.webhook(f"{server.base_url}/off"), hub.webhook(f"{server.base_url}/gone")
            hub.emit(off, gone)
            project_id = hub.project_id
            hub.writer.submit_change(
                lambda c: update_integration(c, hub.sealer, project_id, off.id, enabled=False)
            ).result()
            hub.writer.submit_change(lambda c: delete_integration(c, project_id, gone.id, now_ms=now_ms())).result()
            async with hub.delivering():
                await until(lambda: len(hub.attempts()) == 2)
            found = {row.integration_id: (row.outcome, row.reason) for row in hub.attempts()}
            assert found[off.id] == ("skipped", "the integration is switched off")
            assert found[gone.id] == ("skipped", "the integration was deleted")
            assert hub.waiting() == []
            assert server.requests == []

    play(scene)


def test_settings_that_can_not_be_used_are_shown_and_wait_to_be_mended(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            hook = hub.webhook(f"{server.base_url}/in")
            hub.change(sa.update(integrations).values(settings='{"url": 7}'))
            hub.emit(hook)
            async with hub.delivering():
                await until(hub.attempts)
            (attempt,) = hub.attempts()
            assert attempt.outcome == "misconfigured"
            assert "url" in attempt.reason
            assert hub.waiting()[0].state == State.DUE

    play(scene)


def test_what_waits_uses_the_settings_of_the_moment(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/old"] = status(500)
            hook = hub.webhook(f"{server.base_url}/old")
            hub.emit(hook)
            async with hub.delivering():
                await until(hub.attempts)
            project_id = hub.project_id
            new = WebhookSettings(url=f"{server.base_url}/new")
            hub.writer.submit_change(
                lambda c: update_integration(c, hub.sealer, project_id, hook.id, settings=new)
            ).result()
            hub.make_due()
            async with hub.delivering():
                await until(lambda: hub.waiting() == [])
            assert len(server.to("/new")) == 1
            assert server.to("/new")[0].body == server.to("/old")[0].body

    play(scene)


def test_events_of_one_customer_go_out_in_order(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            hook = hub.webhook(f"{server.base_url}/in")
            async with hub.delivering():
                for _ in range(5):
                    hub.emit(hook, customer_id=1, count=4)
                await until(lambda: len(hub.attempts()) == 20)
            ids = [msgspec.json.decode(request.body)["event"]["id"] for request in server.to("/in")]
            assert ids == [row.event_id for row in sorted(hub.attempts(), key=lambda row: row.event_seq)]

    play(scene)


@pytest.mark.parametrize(("order_wait_ms", "held_back"), [(60_000, True), (None, True), (0, False)])
def test_a_failing_event_holds_later_ones_back(tmp_path: Path, order_wait_ms: int | None, held_back: bool) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = in_turn(status(500), status(200))
            hook = hub.webhook(f"{server.base_url}/in", filters=Filters(order_wait_ms=order_wait_ms))
            first, second = hub.emit(hook, customer_id=1, count=2)
            hub.emit(hook, customer_id=2)
            async with hub.delivering():
                await until(lambda: len(hub.attempts()) == (2 if held_back else 3))
            tried = {row.event_seq for row in hub.attempts()}
            assert first in tried
            assert (second not in tried) == held_back

    play(scene)


def test_a_later_event_goes_when_the_bound_has_passed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = in_turn(status(500), status(200))
            hook = hub.webhook(f"{server.base_url}/in", filters=Filters(order_wait_ms=700))
            _, second = hub.emit(hook, customer_id=1, count=2)
            async with hub.delivering():
                await until(lambda: len(hub.attempts()) == 2)
            assert hub.attempts()[1].event_seq == second

    play(scene)


def test_who_subscribes_is_woken(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            hook = hub.webhook(f"{server.base_url}/in")
            queue = hub.delivery.subscribe()
            async with hub.delivering():
                hub.emit(hook)
                assert await queue.get() == hub.attempts()[0].id
                hub.delivery.unsubscribe(queue)
                hub.emit(hook)
                await until(lambda: len(hub.attempts()) == 2)
            assert queue.empty()

    play(scene)


def test_many_events_over_many_lanes_arrive_once_each(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path, delivery_concurrency=5) as hub:
            hooks = [hub.webhook(f"{server.base_url}/{n}", filters=Filters(concurrency=3)) for n in range(4)]
            async with hub.delivering():
                for customer in range(60):
                    hub.emit(*hooks, customer_id=customer % 7)
                await until(lambda: len(hub.attempts()) == 240)
            assert hub.waiting() == []
            bodies = [(request.target, request.body) for request in server.requests]
            assert len(set(bodies)) == len(bodies) == 240

    play(scene)


async def _stop_while(hub: Hub, server: RudeServer, path: str) -> None:
    task = asyncio.create_task(hub.delivery.run())
    await server.until(path, 1)
    hub.delivery.stop()
    await task


def test_a_stop_gives_back_what_it_holds_and_counts_no_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellwire.delivery.pump.STOP_GRACE_S", 0.1)

    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = hang
            hook = hub.webhook(f"{server.base_url}/in", filters=Filters(concurrency=2))
            for customer in range(10):
                hub.emit(hook, customer_id=customer)
            await _stop_while(hub, server, "/in")
            assert hub.attempts() == []
            assert [(row.state, row.attempt, row.lease) for row in hub.waiting()] == [(State.DUE, 0, None)] * 10

    play(scene)


def test_a_stop_waits_a_moment_for_answers(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            asked, go = asyncio.Event(), asyncio.Event()

            async def slowly(request: object, writer: asyncio.StreamWriter) -> None:
                asked.set()
                await go.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

            server.replies["/in"] = slowly
            hub.emit(hub.webhook(f"{server.base_url}/in"))
            task = asyncio.create_task(hub.delivery.run())
            await asked.wait()
            hub.delivery.stop()
            go.set()
            await task
            assert [row.outcome for row in hub.attempts()] == ["delivered"]
            assert hub.waiting() == []

    play(scene)
