"""Several processes on one PostgreSQL database: doors here, work there, and a database that comes back."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog

from bellwire.app import Hub
from bellwire.db.engine import DatabaseBusy, open_engine
from bellwire.db.inbox import PROCESSED, RECEIVED
from bellwire.db.integrations import Filters
from bellwire.db.postgres import DatabaseUnusable
from bellwire.db.projects import update_project
from bellwire.db.tables import events, inbox
from bellwire.db.workers import Role, Worker, live_workers
from bellwire.settings import Settings
from tests.support.deliveries import until
from tests.support.postgres import PostgresServer
from tests.support.rude_server import hang, rude_server
from tests.support.world import World, world

Scene = Callable[[World], Awaitable[None]]


@pytest.fixture
def url(postgres: PostgresServer, postgres_template: str) -> Iterator[str]:
    made = postgres.create_database(postgres_template)
    yield made
    postgres.drop_database(made)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A database that is away makes much talk."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by himself: what happens all the same happens because somebody was told."""
    monkeypatch.setattr("bellwire.delivery.pump._POLL_MS", 3_600_000)
    monkeypatch.setattr("bellwire.app._LOOK_EVERY_S", 3_600.0)


def play(folder: Path, url: str, scene: Scene, role: Role = Role.WEB) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), world(folder, database_url=url, role=role) as it:
            await scene(it)

    asyncio.run(main())


@contextlib.asynccontextmanager
async def another(it: World, role: Role) -> AsyncIterator[Hub]:
    """One more process, and both know of each other."""
    hub = Hub(it.hub.settings, clock=it.clock, role=role)
    async with hub.running(timers=False):
        assert hub.listener is not None
        await asyncio.to_thread(hub.listener.connected.wait, 10)
        it.hub.presence._see(await _live(it.hub))
        yield hub


async def _live(hub: Hub) -> list[Worker]:
    return await hub.writer.change(lambda connection: live_workers(connection, hub.wall.now_ms()))


@pytest.mark.usefixtures("patient")
def test_what_comes_in_at_a_door_is_sent_by_a_worker_at_once(tmp_path: Path, url: str) -> None:
    async def scene(it: World) -> None:
        async with another(it, Role.WORKER) as worker:
            told = it.hub.delivery.subscribe()
            assert await it.post(it.apple, it.apple.purchase("pro_monthly")) == 200
            await until(lambda: it.received)
            await until(it.attempts)
            (attempt,) = it.attempts()
            assert await asyncio.wait_for(told.get(), 10) == attempt["id"]  # live pages hear of it
            assert not it.hub.delivery._pump.running
            assert worker.delivery._pump.running

    play(tmp_path, url, scene)


def test_what_a_stopping_worker_had_not_sent_another_sends_while_it_still_waits_for_answers(
    tmp_path: Path, url: str
) -> None:
    async def scene(it: World) -> None:
        async with rude_server() as server, another(it, Role.WORKER) as first:
            server.replies["/in"] = hang
            await it.webhook("hangs", url=f"{server.base_url}/in", filters=Filters(concurrency=2, order_wait_ms=0))
            for number in range(6):
                assert await it.post(it.apple, it.apple.purchase("pro_monthly"), f"user-{number}") == 200
            await server.until("/in", 2)
            async with another(it, Role.WORKER):
                first.lead_out()
                await server.until("/in", 3)
                assert not first._delivering[0].done()
                assert (await first.health.reasons()) == ["stopping"]

    play(tmp_path, url, scene)


def test_without_a_worker_it_waits_and_polling_finds_it(tmp_path: Path, url: str) -> None:
    async def scene(it: World) -> None:
        assert it.hub.listener is not None
        assert await it.post(it.apple, it.apple.purchase("pro_monthly")) == 200
        assert it._unsent() == 1
        worker = Hub(it.hub.settings, clock=it.clock, role=Role.WORKER)
        worker.listener = None  # deaf
        async with worker.running(timers=False):
            await until(lambda: it.received)

    play(tmp_path, url, scene)


@pytest.mark.usefixtures("patient")
def test_a_change_of_the_configuration_reaches_every_process(tmp_path: Path, url: str) -> None:
    async def scene(it: World) -> None:
        async with another(it, Role.WORKER) as worker:
            await it.change(lambda connection: update_project(connection, it.project_id, name="Renamed"))
            await until(lambda: worker.config.current().projects[it.project_id].name == "Renamed")

    play(tmp_path, url, scene)


def test_a_notification_that_a_door_left_behind_is_worked_on_by_a_worker(tmp_path: Path, url: str) -> None:
    async def scene(it: World) -> None:
        it.apple.purchase("pro_monthly")
        await it.kernel.flush()
        await it.hub.ingest.processor.settle()
        (entry,) = it.inbox()
        assert (entry["status"], entry["attempts"]) == (PROCESSED, 1)
        back = {"status": RECEIVED, "next_attempt_at_ms": 0}
        await it.change(lambda connection: connection.execute(sa.update(inbox).values(back)).rowcount)
        async with another(it, Role.WORKER):
            await until(lambda: it.inbox()[0]["status"] == PROCESSED)
        assert it.inbox()[0]["attempts"] == 2
        assert len(it.rows(events, events.c.seq)) == 1

    play(tmp_path, url, scene)


def test_a_door_leaves_alone_what_others_left_behind(tmp_path: Path, url: str) -> None:
    async def scene(it: World) -> None:
        assert not it.hub.presence.works
        assert not it.hub.presence.mine(it.apple_app.id)
        async with another(it, Role.WORKER) as first, another(it, Role.ALL) as second:
            first.presence._see(await _live(first))
            for app in (it.apple_app, it.google_app):
                assert first.presence.mine(app.id) != second.presence.mine(app.id)
            assert first.presence.working == second.presence.working == 2

    play(tmp_path, url, scene)


def test_a_database_that_restarts_is_waited_for_and_nothing_is_lost(
    tmp_path: Path, url: str, postgres: PostgresServer
) -> None:
    async def scene(it: World) -> None:
        accepted = [it.apple.purchase("pro_monthly") for _ in range(3)]
        for number, key in enumerate(accepted):
            assert await it.post(it.apple, key, f"user-{number}") == 200
        await asyncio.to_thread(postgres.stop)
        refused = it.apple.purchase("pro_yearly")
        answers = [await it.post(it.apple, refused, "late") for _ in range(2)]
        assert answers == [503, 503]
        status, body = await it.call("GET", "/v1/subscribers/nobody")
        assert (status, body["message"]) == (503, "The database is not there right now; try again.")
        assert (await it.call("GET", "/readyz"))[0] == 503
        assert (await it.call("GET", "/healthz"))[0] == 200
        await asyncio.to_thread(postgres.start)
        await until_answered(it, refused)
        async with asyncio.timeout(30):
            await until(lambda: len({event["id"] for event in it.received}) >= 4)
        assert {event["app_user_id"] for event in it.received} >= {"user-0", "user-1", "user-2", "late"}
        assert not it.hub.broken.is_set()
        assert it.hub.listener is not None
        await asyncio.to_thread(it.hub.listener.connected.wait, 10)

    engine = open_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {engine.url.database} SET synchronous_commit = on")
    engine.dispose()
    play(tmp_path, url, scene, Role.ALL)


async def until_answered(it: World, store_key: str) -> None:
    while await it.post(it.apple, store_key, "late") != 200:
        await asyncio.sleep(0.05)


def test_a_sqlite_file_has_one_hub(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Hub(Settings(data_dir=tmp_path)).running():
            with pytest.raises(DatabaseBusy, match="stop it first"):
                Hub(Settings(data_dir=tmp_path))
        async with Hub(Settings(data_dir=tmp_path)).running():
            pass

    asyncio.run(scene())


@pytest.mark.parametrize("role", [Role.WEB, Role.WORKER])
def test_roles_need_postgresql(tmp_path: Path, role: Role) -> None:
    with pytest.raises(DatabaseUnusable, match="needs PostgreSQL"):
        Hub(Settings(data_dir=tmp_path), role=role)
