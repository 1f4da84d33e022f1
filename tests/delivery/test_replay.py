"""Replays with a real receiver: everything arrives, also when the process dies; a replay never crowds out what is new."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from bellwire.db.integrations import Filters, delete_integration, update_integration
from bellwire.db.lane_states import resume_lane
from bellwire.db.outbox import State
from bellwire.db.replays import Replay, cancel_replay, load_replay
from bellwire.db.tables import events
from bellwire.delivery import replay as replaying
from bellwire.delivery.replay import Replayer, allowed, paced
from bellwire.delivery.replay_orders import ReplayRefused, draw_up, place
from bellwire.model.projects import Integration
from bellwire.model.replays import ReplayStatus, Selection, What
from tests.support.deliveries import Hub, now_ms, open_hub, play, until
from tests.support.rude_server import in_turn, rude_server, status


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BUSY_S", "OPEN_S", "IDLE_S"):
        monkeypatch.setattr(replaying, name, 0.01)
    monkeypatch.setattr(replaying, "PORTION", 7)


def replay(hub: Hub, integration: Integration, selection: Selection, **more: Any) -> str:
    def work(connection: sa.Connection) -> str:
        order = draw_up(connection, integration, selection)
        return place(connection, order, created_by="tests", now_ms=now_ms(), **more)

    return hub.writer.submit_change(work).result()


def seen(hub: Hub, replay_id: str) -> Replay:
    with hub.engine.execution_options(bellwire_read_only=True).begin() as connection:
        found = load_replay(connection, hub.project_id, replay_id, now_ms=now_ms())
    assert found is not None
    return found


def sequences(bodies: list[bytes]) -> list[str]:
    return [msgspec.json.decode(body)["event"]["id"] for body in bodies]


async def resume(hub: Hub, integration: Integration) -> None:
    """Whatever the breaker made of the failures."""
    await hub.writer.change(lambda connection: resume_lane(connection, hub.project_id, integration.id))


async def finished(hub: Hub, replay_id: str) -> Replay:
    await until(lambda: seen(hub, replay_id).ended_at_ms)
    return seen(hub, replay_id)


def test_the_whole_history_goes_to_a_new_integration_in_order(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            for customer in range(5):
                hub.emit(customer_id=customer, count=6)
            hook = hub.webhook(f"{server.base_url}/in")
            replay_id = replay(hub, hook, Selection())
            async with hub.delivering():
                done = await finished(hub, replay_id)
            assert (done.status, done.total, done.enqueued, done.delivered) == (ReplayStatus.DONE, 30, 30, 30)
            assert (done.failed, done.skipped, done.waiting, done.passed_over) == (0, 0, 0, 0)
            ids = sequences([request.body for request in server.to("/in")])
            for customer in range(5):
                mine = [one for one in ids if one.startswith(f"EVENT-{customer}-")]
                assert [int(one.split("-")[2]) for one in mine] == [6 * customer + n for n in range(1, 7)]
            assert {row.trigger for row in hub.attempts()} == {"replay"}
            assert hub.waiting() == []

    play(scene)


def test_a_kill_in_the_middle_loses_nothing_and_doubles_only_what_was_on_the_wire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bellwire.delivery.pump.STOP_GRACE_S", 0.0)
    kills, on_the_wire = 4, 3

    async def scene() -> None:
        async with rude_server() as server:
            async with open_hub(tmp_path) as hub:
                for customer in range(60):
                    hub.emit(customer_id=customer)
                hook = hub.webhook(f"{server.base_url}/in", filters=Filters(concurrency=on_the_wire))
                replay_id = replay(hub, hook, Selection())
            for number in range(kills):
                async with open_hub(tmp_path) as hub:
                    task = asyncio.create_task(hub.delivery.run())
                    await server.until("/in", 12 * (number + 1))
                    await hub.abandon(task)
            async with open_hub(tmp_path) as hub:
                async with hub.delivering():
                    done = await finished(hub, replay_id)
                assert (done.status, done.enqueued, done.delivered, done.failed) == (ReplayStatus.DONE, 60, 60, 0)
                times = Counter(sequences([request.body for request in server.to("/in")]))
                assert len(times) == 60
                assert sum(times.values()) <= 60 + kills * on_the_wire
                assert hub.waiting() == []

    play(scene)


def test_two_workers_share_a_replay(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            hook = hub.webhook(f"{server.base_url}/in")
            hub.emit(customer_id=1, count=3)
            for customer in range(50):
                hub.emit(customer_id=customer)
            replay_id = replay(hub, hook, Selection())
            others = [asyncio.create_task(Replayer(hub.engine, hub.writer, hub.config).run()) for _ in range(3)]
            async with hub.delivering():
                done = await finished(hub, replay_id)
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            assert (done.enqueued, done.delivered, done.passed_over) == (53, 53, 0)
            assert len(server.to("/in")) == 53

    play(scene)


def test_cancelling_leaves_nothing_waiting(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            go = asyncio.Event()

            async def slowly(_request: object, writer: asyncio.StreamWriter) -> None:
                await go.wait()
                writer.write(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")

            server.replies["/in"] = slowly
            hook = hub.webhook(f"{server.base_url}/in", filters=Filters(concurrency=2))
            for customer in range(40):
                hub.emit(customer_id=customer)
            replay_id = replay(hub, hook, Selection())
            async with hub.delivering():
                await server.until("/in", 1)
                await hub.writer.change(
                    lambda connection: cancel_replay(connection, hub.project_id, replay_id, now_ms=now_ms())
                )
                assert {row.state for row in hub.waiting()} == {State.LEASED}
                go.set()
                done = await finished(hub, replay_id)
            assert done.status is ReplayStatus.CANCELLED
            assert {row.state for row in hub.waiting()} == {State.PARKED}
            assert len(hub.waiting()) == len(server.to("/in")) == done.failed == done.enqueued

    play(scene)


def test_a_dead_receiver_stops_a_replay_before_it_fills_the_outbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "RETRYING_AT_MOST", 10)
    monkeypatch.setattr(replaying, "WAITING_AT_MOST", 10)

    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = status(503)
            hook = hub.webhook(f"{server.base_url}/in", retry_schedule="compatible")
            for customer in range(60):
                hub.emit(customer_id=customer)
            replay_id = replay(hub, hook, Selection())
            async with hub.delivering():
                await until(lambda: seen(hub, replay_id).retrying >= 10)
            assert len(hub.waiting()) <= 20
            hub.make_due()
            server.replies["/in"] = status(200)
            await resume(hub, hook)
            async with hub.delivering():
                done = await finished(hub, replay_id)
            assert (done.status, done.delivered, done.failed) == (ReplayStatus.DONE, 60, 0)

    play(scene)


def test_a_new_event_overtakes_a_replay(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            hook = hub.webhook(f"{server.base_url}/in", filters=Filters(concurrency=2))
            hub.emit(customer_id=1, count=30)
            for customer in range(200):
                hub.emit(customer_id=customer)
            replay_id = replay(hub, hook, Selection())
            async with hub.delivering():
                await server.until("/in", 5)
                (number,) = hub.emit(hook, customer_id=1)
                await until(lambda: [row for row in hub.attempts() if row.event_seq == number])
                before = len([row for row in hub.attempts() if row.trigger == "replay"])
                assert before < 200, "the new event came after the replay"
                await finished(hub, replay_id)

    play(scene)


def test_what_was_parked_gets_its_whole_schedule_again(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = in_turn(*[status(418)] * 6, status(500), status(200))
            hook = hub.webhook(f"{server.base_url}/in", retry_schedule="compatible")
            hub.emit(hook)
            for made in range(1, 7):
                hub.make_due()
                await resume(hub, hook)
                async with hub.delivering():
                    await until(lambda made=made: len(hub.attempts()) == made)
            assert [row.state for row in hub.waiting()] == [State.PARKED]
            replay_id = replay(hub, hook, Selection(what=What.FAILED))
            async with hub.delivering():
                await until(lambda: seen(hub, replay_id).retrying)
            hub.make_due()
            await resume(hub, hook)
            async with hub.delivering():
                done = await finished(hub, replay_id)
            assert (done.status, done.enqueued, done.delivered) == (ReplayStatus.DONE, 1, 1)
            assert [row.trigger for row in hub.attempts()] == ["automatic"] * 6 + ["replay"] * 2

    play(scene)


def test_events_that_never_went_out_go_only_when_they_are_asked_for(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            hook = hub.webhook(f"{server.base_url}/in")
            hub.emit(count=3)
            hub.change(sa.update(events).where(events.c.seq < 3).values(dispatched=False, historical=True))
            first, second = replay(hub, hook, Selection()), replay(hub, hook, Selection(include_undispatched=True))
            assert (seen(hub, first).total, seen(hub, second).total) == (1, 3)
            async with hub.delivering():
                await finished(hub, first)
                await finished(hub, second)
            assert len({row.event_seq for row in hub.attempts()}) == 3

    play(scene)


def test_an_integration_that_is_off_or_gone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            hook = hub.webhook(f"{server.base_url}/in")
            hub.emit(count=3)
            replay_id = replay(hub, hook, Selection())
            hub.writer.submit_change(
                lambda connection: update_integration(connection, hub.sealer, hub.project_id, hook.id, enabled=False)
            ).result()
            async with hub.delivering():
                off = hub.config.current().integrations[hook.id]
                with pytest.raises(ReplayRefused, match="switched off"):
                    replay(hub, off, Selection())
                assert seen(hub, replay_id).status is ReplayStatus.WAITING
                hub.writer.submit_change(
                    lambda connection: delete_integration(connection, hub.project_id, hook.id, now_ms=now_ms())
                ).result()
                done = await finished(hub, replay_id)
            assert (done.status, done.message) == (ReplayStatus.FAILED, "the integration was deleted")
            assert hub.attempts() == []

    play(scene)


def test_a_rate_lets_so_many_out_in_a_second() -> None:
    replay_at = msgspec.structs.replace(_REPLAY, rate_per_s=50.0)
    out, at_ms = 0, 1_000_000
    for _ in range(100):
        rows = min(7, allowed(replay_at, at_ms))
        replay_at = msgspec.structs.replace(replay_at, paced_at_ms=paced(replay_at, rows, at_ms))
        out += rows
        at_ms += 100
    assert 50 * 10 - 7 <= out <= 50 * 10 + 50
    slow = msgspec.structs.replace(_REPLAY, rate_per_s=0.5, paced_at_ms=1_000_000)
    assert [allowed(slow, at_ms) for at_ms in (1_001_999, 1_002_000, 9_000_000)] == [0, 1, 1]
    assert allowed(msgspec.structs.replace(slow, paced_at_ms=99_000_000), 1_000_000) == 1


_REPLAY = Replay(
    id="r",
    project_id="p",
    integration_id="i",
    selection=Selection(),
    status=ReplayStatus.RUNNING,
    message="",
    rate_per_s=None,
    total=0,
    cursor=0,
    last=0,
    enqueued=0,
    passed_over=0,
    delivered=0,
    skipped=0,
    waiting=0,
    retrying=0,
    paced_at_ms=0,
    created_by="",
    created_at_ms=0,
    started_at_ms=None,
    ended_at_ms=None,
)
