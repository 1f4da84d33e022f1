"""Alive and ready; and why not."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
import sqlalchemy as sa
from starlette.applications import Starlette

from bellwire.db.engine import open_engine
from bellwire.db.migrate import upgrade
from bellwire.db.writer import Writer
from bellwire.kit.asking import Asking
from bellwire.web.health import Health, health_routes
from tests.support.served import served
from tests.web.conftest import Door


def test_alive_and_ready(door: Door) -> None:
    for path in ("/healthz", "/readyz"):
        answer = door.ask("GET", path)
        assert (answer.status, answer.json()) == (200, {"status": "ok"})


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    engine = open_engine(f"sqlite:///{tmp_path / 'bellwire.db'}")
    upgrade(engine)
    made = Writer(engine)
    yield made
    made.close()
    engine.dispose()


def engine_of(tmp_path: Path) -> sa.Engine:
    return open_engine(f"sqlite:///{tmp_path / 'bellwire.db'}")


@contextlib.asynccontextmanager
async def asked(health: Health) -> AsyncIterator[Callable[[str], Awaitable[tuple[int, object]]]]:
    """Ask over real HTTP."""
    async with served(Starlette(routes=health_routes(health))) as url, aiohttp.ClientSession() as session:

        async def ask(path: str) -> tuple[int, object]:
            async with session.get(url + path) as answer:
                return answer.status, (await answer.json()).get("reasons")

        yield ask
    health.close()


def says(health: Health) -> tuple[object, object]:
    """What /healthz and /readyz say."""

    async def run() -> tuple[object, object]:
        async with asked(health) as ask:
            return await ask("/healthz"), await ask("/readyz")

    return asyncio.run(run())


def test_stopping(tmp_path: Path, writer: Writer) -> None:
    health = Health(engine_of(tmp_path), writer)
    health.stopping = True
    assert says(health) == ((200, None), (503, ["stopping"]))


def test_part_has_ended(tmp_path: Path, writer: Writer) -> None:
    health = Health(engine_of(tmp_path), writer)
    health.broken = True
    assert says(health) == ((503, ["a part of the hub has ended"]), (503, ["a part of the hub has ended"]))


def test_writer_has_ended(tmp_path: Path, writer: Writer) -> None:
    writer.close()
    assert says(Health(engine_of(tmp_path), writer))[1] == (503, ["nothing can be written"])


def test_schema(tmp_path: Path, writer: Writer) -> None:
    """An older one will not do; a newer one is that of a version which is being rolled out beside this one."""
    engine = engine_of(tmp_path)

    def at(revision: str) -> object:
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
        return says(Health(engine, writer))[1]

    assert at("0001") == (503, ["the database has an older schema than this version needs"])
    assert at("9999") == (200, None)


def test_database_is_gone(writer: Writer) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        health = Health(open_engine(f"postgresql://u@127.0.0.1:{port}/x"), writer)
        assert says(health) == ((200, None), (503, ["database not reachable"]))


def test_database_that_takes_connections_and_says_nothing(writer: Writer) -> None:
    """A probe is answered all the same; a hundred of them put one question to the database, not a hundred."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        taken: list[socket.socket] = []

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(silent.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        engine = open_engine(f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=5")
        health = Health(engine, writer)

        async def run() -> list[list[str]]:
            return await asyncio.gather(*(health.reasons() for _ in range(100)))

        assert asyncio.run(run()) == [["database not reachable"]] * 100
        assert len(taken) == 1
        taken[0].close()
        health.close()


def test_questions_are_shared() -> None:
    begun = threading.Semaphore(0)
    go_on = threading.Event()
    asked_for: list[int] = []

    def question() -> int:
        asked_for.append(1)
        begun.release()
        go_on.wait()
        return len(asked_for)

    async def run() -> None:
        asking = Asking(question, within_s=30, name="test")
        waiting = [asyncio.create_task(asking.ask()) for _ in range(3)]
        await asyncio.to_thread(begun.acquire)
        waiting.append(asyncio.create_task(asking.ask()))
        await asyncio.sleep(0)
        go_on.set()
        assert await asyncio.gather(*waiting) == [1, 1, 1, 1]
        assert await asking.ask() == 2
        asking.close()

    asyncio.run(run())
