"""The whole walk through a real process that is killed in the middle: nothing lost, nothing invented."""

import asyncio
import json
import random
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bellwire.db.apps import create_app
from bellwire.db.engine import open_engine
from bellwire.db.integrations import create_integration
from bellwire.db.migrate import upgrade
from bellwire.db.projects import create_project
from bellwire.db.secrets import Sealer
from bellwire.db.tables import chains, events, inbox, outbox
from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from bellwire.kit.clock import SharedClock
from bellwire.model.enums import Store
from bellwire.simulator.apple import FakeAppStore
from bellwire.simulator.google import FakePlay
from bellwire.simulator.kernel import Kernel, Mode
from tests.support.process import HubProcess
from tests.support.served import served

DAY_MS = 86_400_000
KILLS = 4


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_nothing_is_lost_or_invented_when_the_process_is_killed(tmp_path: Path) -> None:
    asyncio.run(_run(tmp_path))


async def _run(folder: Path) -> None:
    chance = random.Random(7)
    clock = SharedClock(folder / "clock")
    kernel = Kernel(clock)
    apple = FakeAppStore(kernel, bundle_id="com.example.app")
    google = FakePlay(kernel, package_name="com.example.app")
    received: Counter[str] = Counter()

    async def hook(request: Request) -> Response:
        received[json.loads(await request.body())["event"]["id"]] += 1
        return Response(status_code=200)

    stores = Starlette(routes=[*apple.routes(), *google.routes(), Route("/hook", hook, methods=["POST"])])
    hub = HubProcess(
        folder,
        port=free_port(),
        environment={
            "BELLWIRE_ALLOW_PRIVATE_ADDRESSES": "true",
            "BELLWIRE_ALLOW_TEST_ROOTS": "true",
            "BELLWIRE_DANGEROUS_CLOCK_FILE": str(folder / "clock"),
            "BELLWIRE_TIMER_INTERVAL_S": "0.2",
        },
    )
    async with served(stores) as base_url:
        apple.base_url = google.base_url = base_url
        engine = open_engine(f"sqlite:///{folder / 'bellwire.db'}")
        _set_up(engine, folder, apple, google, hub.url, clock.now_ms())
        living = asyncio.create_task(kernel.run())
        try:
            await hub.start()
            for _ in range(KILLS):
                for _ in range(6):
                    apple.purchase("pro_monthly", trial=chance.random() < 0.5)
                    google.purchase("pro:monthly")
                clock.advance_ms(2 * DAY_MS)
                await asyncio.sleep(chance.uniform(0.05, 0.6))
                await hub.kill()
                kernel.notifier.set_mode(Mode.PAUSE)  # virtual days pass in a second: stores would give up at once
                await hub.start()
                kernel.notifier.set_mode(Mode.NORMAL)
            clock.advance_ms(35 * DAY_MS)
            await _until(lambda: _quiet(kernel, engine))
            assert await hub.stop() == 0
        finally:
            await kernel.close()
            await living
            await hub.kill()
        _check(engine, kernel, received)
        engine.dispose()
    clock.close()


def _set_up(engine: sa.Engine, folder: Path, apple: FakeAppStore, google: FakePlay, url: str, now_ms: int) -> None:
    upgrade(engine)
    sealer = Sealer.open_or_create(folder, "")
    with engine.begin() as connection:
        project = create_project(connection, name="Test", now_ms=now_ms)
        for store, slug, fake in ((Store.APP_STORE, "apple", apple), (Store.PLAY_STORE, "google", google)):
            credentials = fake.credentials()
            app = create_app(
                connection,
                sealer,
                project_id=project.id,
                store=store,
                name=slug,
                config=credentials["config"],
                secrets={name: str(value) for name, value in credentials["secrets"].items()},
                track_new_purchases=True,
                now_ms=now_ms,
            )
            fake.notification_url = f"{url}/v1/incoming-webhooks/{slug}/{app.token}"
        create_integration(
            connection,
            sealer,
            project_id=project.id,
            destination="webhook",
            name="hook",
            settings=WebhookSettings(url=f"{apple.base_url}/hook"),
            now_ms=now_ms,
        )


def _quiet(kernel: Kernel, engine: sa.Engine) -> bool:
    if any(sent.open for sent in kernel.notifier.history):
        return False
    with engine.execution_options(bellwire_read_only=True).connect() as connection:
        waiting = connection.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one()
        unread = connection.execute(
            sa.select(sa.func.count()).select_from(inbox).where(inbox.c.status == "received")
        ).scalar_one()
    return waiting == 0 and unread == 0


async def _until(quiet: Callable[[], bool]) -> None:
    still = 0
    async with asyncio.timeout(120):
        while still < 5:
            still = still + 1 if await asyncio.to_thread(quiet) else 0
            await asyncio.sleep(0.2)


def _check(engine: sa.Engine, kernel: Kernel, received: Counter[str]) -> None:
    with engine.execution_options(bellwire_read_only=True).connect() as connection:
        sent = {row.id for row in connection.execute(sa.select(events.c.id).where(events.c.dispatched))}
        known = connection.execute(sa.select(sa.func.count()).select_from(chains)).scalar_one()
        told = connection.execute(
            sa.select(sa.func.count(events.c.chain_id.distinct())).where(events.c.dispatched)
        ).scalar_one()
        answers = {(row.status, row.error) for row in connection.execute(sa.select(inbox.c.status, inbox.c.error))}
    delivered = [one for one in kernel.notifier.history if one.delivered]
    assert len(delivered) == len(kernel.notifier.history), "every notification was accepted in the end"
    assert set(received) == sent, "each dispatched event arrived, and no other"
    assert known == told == KILLS * 12, "each purchase is one chain, and the receiver heard of each"
    assert {one for one in answers if one[0] not in ("processed", "ignored_type")} == set()
    twice = sum(count - 1 for count in received.values())
    assert twice <= KILLS * 32, "repeats are at most what was on the wire at a kill"
