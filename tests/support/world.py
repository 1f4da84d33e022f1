"""A whole small world for tests: a hub, fake stores and a receiver, talking real HTTP, on one clock that tests move."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import sqlalchemy as sa
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bellwire.app import Hub
from bellwire.db.apps import create_app
from bellwire.db.catalogue import attach, create_entitlement, create_product
from bellwire.db.integrations import Filters, create_integration
from bellwire.db.keys import KeyKind, create_key
from bellwire.db.projects import create_project
from bellwire.db.tables import events, inbox, outbox
from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from bellwire.kit.clock import ManualClock
from bellwire.model.enums import EventType, ProductType, Store
from bellwire.model.projects import App, ProjectSettings
from bellwire.settings import Settings
from bellwire.simulator.apple import FakeAppStore
from bellwire.simulator.google import FakePlay
from bellwire.simulator.kernel import Kernel, control_routes

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
DAY_MS = 86_400_000

PRODUCTS = {
    "pro_monthly": ProductType.SUBSCRIPTION,
    "pro_yearly": ProductType.SUBSCRIPTION,
    "basic_monthly": ProductType.SUBSCRIPTION,
    "pro": ProductType.SUBSCRIPTION,
    "basic": ProductType.SUBSCRIPTION,
    "prepaid": ProductType.SUBSCRIPTION,
    "coins_100": ProductType.CONSUMABLE,
    "lifetime": ProductType.NON_CONSUMABLE,
}


@contextlib.asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """Serve an ASGI app on a free port of this machine; yields its base URL."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                task.result()
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


class World:
    """See `world`. `project_id`, `apple_app`, `google_app` are set up; `received` is what the webhook got, in order."""

    def __init__(self, hub: Hub, kernel: Kernel, clock: ManualClock, apple: FakeAppStore, google: FakePlay) -> None:
        self.hub = hub
        self.kernel = kernel
        self.clock = clock
        self.apple = apple
        self.google = google
        self.received: list[dict[str, Any]] = []
        self.url = ""
        self.project_id = ""
        self.apple_app: App
        self.google_app: App
        self.apple_key = ""
        self.google_key = ""
        self.secret_key = ""

    async def advance(self, ms: int) -> None:
        """Move time to the next appointments one by one, so that the hub lives through what happens in order."""
        target = self.clock.now_ms() + ms
        while True:
            due = self.kernel.next_due_ms()
            if due is None or due > target:
                break
            self.clock.set_ms(max(due, self.clock.now_ms()))
            await self.settle()
        self.clock.set_ms(target)
        await self.settle()

    async def settle(self) -> None:
        """Deliver what the stores have to say, work it through, let due timers ask, send what results."""
        await self.kernel.flush()
        await self.hub.ingest.processor.settle()
        while await self.hub.timers.check_due():
            await self.hub.ingest.processor.settle()
        await self.kernel.flush()
        await self.hub.ingest.processor.settle()
        await self.delivered()

    async def post(self, fake: FakeAppStore | FakePlay, store_key: str, app_user_id: str = "customer-1") -> int:
        """Post a purchase as the SDK of its store would; returns the status of the answer."""
        if isinstance(fake, FakeAppStore):
            body: dict[str, object] = {"fetch_token": fake.signed_transaction(store_key)}
            key, platform = self.apple_key, "iOS"
        else:
            receipt = fake.receipt(store_key)
            body = {"fetch_token": receipt["fetch_token"], "product_ids": [receipt["product_id"]]}
            key, platform = self.google_key, "android"
        status, _ = await self.call("POST", "/v1/receipts", body | {"app_user_id": app_user_id}, key, platform)
        return status

    async def call(
        self, method: str, path: str, body: object = None, key: str = "", platform: str | None = None
    ) -> tuple[int, Any]:
        """Speak to the hub's SDK doors; the answer's status and JSON."""
        headers = {"Authorization": f"Bearer {key or self.secret_key}", "Content-Type": "application/json"}
        if platform is not None:
            headers["X-Platform"] = platform
        data = b"" if body is None else json.dumps(body).encode()
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, data=data or None, headers=headers) as response,
        ):
            return response.status, json.loads(await response.read() or b"null")

    async def recover(self) -> None:
        """What the hub does at start and daily: ask the stores for what it did not hear."""
        for app in (self.apple_app, self.google_app):
            await self.hub.recovery.recover(app)
        await self.settle()

    async def delivered(self) -> None:
        """Wait until nothing is due for delivery."""
        async with asyncio.timeout(20):
            while await asyncio.to_thread(self._due):
                await asyncio.sleep(0.01)

    def _due(self) -> int:
        with self.hub.read_engine.connect() as connection:
            statement = sa.select(sa.func.count()).select_from(outbox).where(outbox.c.attempt == 0)
            return connection.execute(statement).scalar_one()

    def events(self, *, dispatched: bool | None = True) -> list[dict[str, Any]]:
        """Event objects as stored, in order of commit."""
        statement = sa.select(events.c.payload, events.c.dispatched).order_by(events.c.seq)
        with self.hub.read_engine.connect() as connection:
            rows = list(connection.execute(statement))
        return [json.loads(row.payload) for row in rows if dispatched is None or row.dispatched is dispatched]

    def inbox(self) -> list[sa.RowMapping]:
        """Inbox rows, oldest first."""
        with self.hub.read_engine.connect() as connection:
            return list(connection.execute(sa.select(inbox).order_by(inbox.c.id)).mappings())


@contextlib.asynccontextmanager
async def world(
    folder: Path,
    *,
    track_new_purchases: bool = True,
    project_settings: ProjectSettings | None = None,
    start_ms: int = START_MS,
    routes: Iterable[BaseRoute] = (),
) -> AsyncIterator[World]:
    """A running world in `folder`. Time stands still unless the test moves it; timers run only in `settle`."""
    clock = ManualClock(start_ms)
    kernel = Kernel(clock)
    apple = FakeAppStore(kernel, bundle_id="com.example.app", app_apple_id=1234567890)
    google = FakePlay(kernel, package_name="com.example.app")
    taken: list[dict[str, Any]] = []

    async def webhook(request: Request) -> Response:
        taken.append(json.loads(await request.body())["event"])
        return Response(status_code=200)

    stores = Starlette(
        routes=[
            *apple.routes(),
            *google.routes(),
            *control_routes(kernel),
            Route("/hook", webhook, methods=["POST"]),
            *routes,
        ]
    )
    settings = Settings(data_dir=folder, allow_private_addresses=True, allow_test_roots=True)
    async with served(stores) as base_url:
        apple.base_url = google.base_url = base_url
        hub = Hub(settings, clock=clock)
        async with hub.running(timers=False), served(hub.web) as url:
            result = World(hub, kernel, clock, apple, google)
            result.received = taken
            result.url = url
            _set_up(result, base_url, url, track_new_purchases, project_settings)
            try:
                yield result
            finally:
                await kernel.close()


def _set_up(
    result: World, base_url: str, url: str, track_new_purchases: bool, project_settings: ProjectSettings | None
) -> None:
    hub = result.hub
    now_ms = result.clock.now_ms()
    with hub.engine.begin() as connection:
        project = create_project(connection, name="Test", now_ms=now_ms, settings=project_settings)
        result.project_id = project.id
        made: dict[Store, App] = {}
        for store, fake in ((Store.APP_STORE, result.apple), (Store.PLAY_STORE, result.google)):
            credentials = fake.credentials()
            made[store] = create_app(
                connection,
                hub.sealer,
                project_id=project.id,
                store=store,
                name=store.value,
                config=credentials["config"],
                secrets={name: str(value) for name, value in credentials["secrets"].items()},
                track_new_purchases=track_new_purchases,
                now_ms=now_ms,
            )
        result.apple_app, result.google_app = made[Store.APP_STORE], made[Store.PLAY_STORE]
        result.apple_key = _key(connection, hub, project.id, result.apple_app.id)
        result.google_key = _key(connection, hub, project.id, result.google_app.id)
        result.secret_key = _key(connection, hub, project.id, None)
        create_entitlement(connection, project_id=project.id, identifier="pro", now_ms=now_ms)
        for product, kind in PRODUCTS.items():
            create_product(connection, project_id=project.id, product_key=product, product_type=kind, now_ms=now_ms)
            if kind is not ProductType.CONSUMABLE:
                attach(connection, project_id=project.id, product_key=product, identifier="pro")
        create_integration(
            connection,
            hub.sealer,
            project_id=project.id,
            destination="webhook",
            name="test hook",
            settings=WebhookSettings(url=f"{base_url}/hook"),
            filters=Filters(event_types=tuple(EventType)),
            now_ms=now_ms,
        )
    result.apple.notification_url = f"{url}/v1/incoming-webhooks/apple/{result.apple_app.token}"
    result.google.notification_url = f"{url}/v1/incoming-webhooks/google/{result.google_app.token}"


def _key(connection: sa.Connection, hub: Hub, project_id: str, app_id: str | None) -> str:
    kind = KeyKind.SECRET if app_id is None else KeyKind.PUBLIC
    plain, _ = create_key(
        connection, hub.sealer, project_id=project_id, app_id=app_id, kind=kind, name="test", now_ms=0
    )
    return plain
