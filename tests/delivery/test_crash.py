"""Nothing is lost when the process dies at any moment; what may have arrived is sent again (spec: events 10.2)."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from bellwire.db.integrations import Filters
from bellwire.db.outbox import State, release_leases_of
from bellwire.db.tables import outbox
from bellwire.kit.ids import node_of_this_process
from tests.support.deliveries import now_ms, open_hub, play, until
from tests.support.rude_server import hang, rude_server, status

pytestmark = pytest.mark.usefixtures("database")

REFUSE = {
    "sqlite": (
        "CREATE TRIGGER refuse BEFORE INSERT ON attempts WHEN NEW.status_code = 418 "
        "BEGIN SELECT RAISE(ABORT, 'refused'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'check_violation'; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON attempts FOR EACH ROW WHEN (NEW.status_code = 418) "
        "EXECUTE FUNCTION refuse()",
    ),
}


def test_a_kill_in_the_middle_sends_everything_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellwire.delivery.pump.STOP_GRACE_S", 0.0)

    async def scene() -> None:
        async with rude_server() as server:
            server.replies["/in"] = hang
            async with open_hub(tmp_path) as hub:
                hook = hub.webhook(f"{server.base_url}/in", filters=Filters(concurrency=3))
                for customer in range(40):
                    hub.emit(hook, customer_id=customer)
                task = asyncio.create_task(hub.delivery.run())
                await server.until("/in", 3)
                await hub.abandon(task)
                left = {row.state for row in hub.waiting()}
                assert left == {State.DUE, State.LEASED}
                assert hub.attempts() == []
            server.replies["/in"] = status(200)
            async with open_hub(tmp_path) as again:
                if again.engine.dialect.name == "postgresql":  # others see by its silence that it is dead
                    dead = {node_of_this_process()}
                    again.writer.submit_change(lambda connection: release_leases_of(connection, dead)).result()
                async with again.delivering():
                    await until(lambda: len(again.attempts()) == 40)
                assert again.waiting() == []
                assert {row.attempt for row in again.attempts()} == {1}

    play(scene)


def test_a_lease_that_ran_out_is_taken_over_and_its_late_answer_changes_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            go = asyncio.Event()

            async def slowly(_request: object, writer: asyncio.StreamWriter) -> None:
                await go.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

            server.replies["/in"] = slowly
            hook = hub.webhook(f"{server.base_url}/in")
            async with hub.delivering():
                hub.emit(hook)
                await server.until("/in", 1)
                taken_over = {"lease": 12345, "lease_until_ms": now_ms() + 60_000}
                hub.change(sa.update(outbox).values(taken_over))
                go.set()
                await until(hub.attempts)
            (row,) = hub.waiting()
            assert (row.state, row.lease) == (State.LEASED, 12345)
            assert hub.attempts()[0].outcome == "delivered"

    play(scene)


def test_leases_that_ran_out_are_released_while_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellwire.delivery.pump._EXPIRY_EVERY_MS", 100)

    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            hook = hub.webhook(f"{server.base_url}/in")
            async with hub.delivering():
                hub.emit(hook)
                await until(hub.attempts)
                (number,) = hub.emit(hook)
                await until(lambda: len(hub.attempts()) == 2)
                # a worker elsewhere took the row and died
                row = {
                    "integration_id": hook.id,
                    "event_seq": number,
                    "customer_id": 1,
                    "state": State.LEASED.value,
                    "attempt": 0,
                    "manual": False,
                    "due_at_ms": 0,
                    "created_at_ms": 0,
                    "lease": 7,
                    "lease_until_ms": 1,
                }
                await hub.writer.change(lambda connection: connection.execute(sa.insert(outbox).values(row)).rowcount)
                await until(lambda: len(hub.attempts()) == 3)
            assert hub.waiting() == []

    play(scene)


def test_a_database_in_trouble_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellwire.delivery.pump._TROUBLE_PAUSE_S", 0.05)

    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            if hub.engine.dialect.name == "postgresql":
                pytest.skip("a missing table is no outage there; tests/walk/test_roles.py restarts the server")
            hook = hub.webhook(f"{server.base_url}/in")
            hub.sql("ALTER TABLE attempts RENAME TO attempts_away")
            async with hub.delivering():
                hub.emit(hook)
                await server.until("/in", 1)
                await asyncio.sleep(0.2)
                hub.sql("ALTER TABLE attempts_away RENAME TO attempts")
                await until(hub.attempts)
            assert hub.waiting() == []
            assert len(server.to("/in")) == 1

    play(scene)


def test_a_record_that_the_database_refuses_holds_up_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellwire.delivery.pump._TROUBLE_PAUSE_S", 0.05)

    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/bad"] = status(418)
            bad, good = hub.webhook(f"{server.base_url}/bad"), hub.webhook(f"{server.base_url}/good")
            for statement in REFUSE[hub.engine.dialect.name]:
                hub.sql(statement)
            async with hub.delivering():
                for _ in range(3):
                    hub.emit(bad, good)
                await until(lambda: len(hub.attempts()) == 3)
            assert {row.integration_id for row in hub.attempts()} == {good.id}
            assert {row.integration_id for row in hub.waiting()} == {bad.id}

    play(scene)
