"""The Retry and the Test button (spec: events 10.2, 14.46)."""

import asyncio
import uuid
from pathlib import Path

import msgspec
import pytest

from bellwire.db.integrations import Filters, update_integration
from bellwire.db.outbox import State
from bellwire.delivery.service import DeliveryRefused
from bellwire.model.enums import EventType
from tests.support.deliveries import Hub, open_hub, play, until
from tests.support.rude_server import hang, in_turn, rude_server, status

pytestmark = pytest.mark.usefixtures("database")


def test_a_failed_event_goes_again_at_once_and_success_ends_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = in_turn(status(500), status(200))
            hook = hub.webhook(f"{server.base_url}/in", retry_schedule="compatible")
            async with hub.delivering():
                (number,) = hub.emit(hook)
                await until(hub.attempts)
                await hub.delivery.retry(hub.project_id, hook.id, number)
                await until(lambda: len(hub.attempts()) == 2)
            automatic, manual = hub.attempts()
            assert (manual.trigger, manual.outcome, manual.event_id) == ("manual", "delivered", automatic.event_id)
            assert server.requests[0].body == server.requests[1].body
            assert hub.waiting() == []

    play(scene)


def test_a_failure_by_hand_leaves_the_schedule_as_it_was(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = status(500)
            hook = hub.webhook(f"{server.base_url}/in", retry_schedule="compatible")
            async with hub.delivering():
                (number,) = hub.emit(hook)
                await until(hub.attempts)
                (before,) = hub.waiting()
                for made in (2, 3):
                    await hub.delivery.retry(hub.project_id, hook.id, number)
                    await until(lambda made=made: len(hub.attempts()) == made)
            assert hub.waiting() == [before]
            assert [row.trigger for row in hub.attempts()] == ["automatic", "manual", "manual"]
            assert {row.next_attempt_at_ms for row in hub.attempts()} == {before.due_at_ms}

    play(scene)


def test_a_parked_event_stays_parked_after_a_failure_by_hand(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = status(500)
            hook = hub.webhook(f"{server.base_url}/in", retry_schedule="compatible")
            (number,) = hub.emit(hook)
            for made in range(1, 7):
                hub.make_due()
                async with hub.delivering():
                    await until(lambda made=made: len(hub.attempts()) == made)
            async with hub.delivering():
                await hub.delivery.retry(hub.project_id, hook.id, number)
                await until(lambda: len(hub.attempts()) == 7)
            last = hub.attempts()[-1]
            assert (last.trigger, last.next_attempt_at_ms, last.parked) == ("manual", None, True)
            assert hub.waiting()[0].state == State.PARKED

    play(scene)


@pytest.mark.parametrize("code", [200, 500])
def test_a_delivered_event_can_be_sent_again(tmp_path: Path, code: int) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = in_turn(status(200), status(code))
            hook = hub.webhook(f"{server.base_url}/in")
            async with hub.delivering():
                (number,) = hub.emit(hook)
                await until(hub.attempts)
                await hub.delivery.retry(hub.project_id, hook.id, number)
                await until(lambda: len(hub.attempts()) == 2)
            assert hub.waiting() == []
            again = hub.attempts()[1]
            assert (again.attempt, again.trigger, again.next_attempt_at_ms, again.parked) == (2, "manual", None, False)

    play(scene)


def test_it_goes_past_order_and_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellwire.delivery.pump.STOP_GRACE_S", 0.1)

    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = in_turn(hang, status(200))
            hook = hub.webhook(f"{server.base_url}/in", filters=Filters(order_wait_ms=None, concurrency=1))
            _, second = hub.emit(hook, customer_id=1, count=2)
            async with hub.delivering():
                await server.until("/in", 1)
                await hub.delivery.retry(hub.project_id, hook.id, second)
                await until(hub.attempts)
                assert hub.attempts()[0].event_seq == second

    play(scene)


def test_what_is_on_the_wire_is_left_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            go = asyncio.Event()

            async def slowly(_request: object, writer: asyncio.StreamWriter) -> None:
                await go.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

            server.replies["/in"] = slowly
            hook = hub.webhook(f"{server.base_url}/in")
            async with hub.delivering():
                (number,) = hub.emit(hook)
                await server.until("/in", 1)
                await hub.delivery.retry(hub.project_id, hook.id, number)
                go.set()
                await until(hub.attempts)
            assert len(server.to("/in")) == 1
            assert hub.waiting() == []

    play(scene)


def test_a_process_that_does_not_deliver_leaves_it_for_one_that_does(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            hook = hub.webhook(f"{server.base_url}/in")
            async with hub.delivering():
                (number,) = hub.emit(hook)
                await until(hub.attempts)
            await hub.delivery.retry(hub.project_id, hook.id, number)
            assert [(row.state, row.manual) for row in hub.waiting()] == [(State.DUE, True)]
            async with hub.delivering():
                await until(lambda: len(hub.attempts()) == 2)
            assert hub.attempts()[1].trigger == "manual"
            assert hub.waiting() == []

    play(scene)


async def _refused(hub: Hub, project_id: str, integration_id: str, number: int) -> str:
    with pytest.raises(DeliveryRefused) as refusal:
        await hub.delivery.retry(project_id, integration_id, number)
    return str(refusal.value)


def test_what_can_not_be_sent_again_is_refused_in_words(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            hook = hub.webhook(f"{server.base_url}/in")
            (number,) = hub.emit(hook)
            project_id = hub.project_id
            async with hub.delivering():
                assert "not kept" in await _refused(hub, project_id, hook.id, 999)
                assert "not kept" in await _refused(hub, project_id, hook.id, 0)
                assert "no such integration" in await _refused(hub, project_id, "intgnone", number)
                assert "no such integration" in await _refused(hub, "projother", hook.id, number)
                await hub.writer.change(lambda c: update_integration(c, hub.sealer, project_id, hook.id, enabled=False))
                assert "switched off" in await _refused(hub, project_id, hook.id, number)
                with pytest.raises(DeliveryRefused):
                    await hub.delivery.send_test("projother", hook.id)

    play(scene)


@pytest.mark.parametrize("code", [200, 500])
def test_the_test_event_goes_once_whatever_the_filters(tmp_path: Path, code: int) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = status(code)
            hook = hub.webhook(
                f"{server.base_url}/in",
                filters=Filters(event_types=(EventType.EXPIRATION,)),
                authorization="Bearer key-123",
            )
            attempt_id = await hub.delivery.send_test(hub.project_id, hook.id)
            second_id = await hub.delivery.send_test(hub.project_id, hook.id)
            attempt, second = hub.attempts()
            assert (attempt.id, second.id) == (attempt_id, second_id)
            assert (attempt.trigger, attempt.status_code, attempt.next_attempt_at_ms) == ("test", code, None)
            assert attempt.event_type == "TEST"
            assert attempt.event_id != second.event_id
            assert hub.waiting() == []
            event = msgspec.json.decode(server.to("/in")[0].body)["event"]
            assert (event["type"], event["store"], event["environment"]) == ("TEST", "APP_STORE", "SANDBOX")
            assert event["product_id"] == "test_product"
            assert str(uuid.UUID(event["app_user_id"])) == event["app_user_id"]
            assert event["id"] == attempt.event_id == str(uuid.UUID(event["id"])).upper()
            assert server.to("/in")[0].headers["authorization"] == "Bearer key-123"
            assert "key-123" not in repr(hub.attempts())

    play(scene)
