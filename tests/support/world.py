"""A whole small world for tests: a hub, fake stores and a receiver, talking real HTTP, on one clock that tests move."""

import asyncio
import contextlib
import functools
import io
import json
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import sqlalchemy as sa
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bellwire.app import Hub
from bellwire.db.apps import create_app
from bellwire.db.catalogue import attach, create_entitlement, create_product
from bellwire.db.engine import open_engine
from bellwire.db.integrations import Filters, create_integration
from bellwire.db.keys import KeyKind, create_key
from bellwire.db.migrate import upgrade
from bellwire.db.projects import create_project
from bellwire.db.tables import attempts, chains, events, inbox, inbox_bodies, outbox
from bellwire.db.workers import Role
from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from bellwire.kit.clock import ManualClock
from bellwire.model.enums import EventType, ProductType, Store
from bellwire.model.projects import App, Integration, ProjectSettings
from bellwire.settings import Settings
from bellwire.simulator.apple import FakeAppStore
from bellwire.simulator.google import FakePlay
from bellwire.simulator.google.identity import Identity, new_key
from bellwire.simulator.kernel import Kernel, control_routes
from bellwire.simulator.wording import short
from tests.support.databases import database_url
from tests.support.served import served

__all__ = ["DAY_MS", "START_MS", "World", "live", "served", "world"]

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

Json = dict[str, Any]
Fake = FakeAppStore | FakePlay
T = TypeVar("T")


class World:
    """See `world`. `received` is what the standing webhook got, in order; `hooks` what each named one got."""

    project_id: str
    apple_app: App
    google_app: App
    apple_key: str
    google_key: str
    secret_key: str

    def __init__(self, kernel: Kernel, clock: ManualClock, apple: FakeAppStore, google: FakePlay) -> None:
        self.kernel = kernel
        self.clock = clock
        self.apple = apple
        self.google = google
        self.hub: Hub
        self.url = ""
        self.stores_url = ""
        self.hooks: defaultdict[str, list[Json]] = defaultdict(list)
        self.statuses: dict[str, int] = {}
        """What a named webhook answers, 200 unless said."""
        self.role = Role.ALL
        self._running = contextlib.AsyncExitStack()

    @property
    def received(self) -> list[Json]:
        return self.hooks["hook"]

    # ---- time

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

    async def live_through(self, ms: int) -> None:
        """Like `advance`, and at each moment at which the hub means to ask a store by itself."""
        target = self.clock.now_ms() + ms
        while (due := self._next_check_ms()) is not None and due <= target:
            await self.advance(max(due - self.clock.now_ms(), 0))
        await self.advance(target - self.clock.now_ms())

    def _next_check_ms(self) -> int | None:
        with self.hub.read_engine.connect() as connection:
            return connection.execute(sa.select(sa.func.min(chains.c.next_check_at_ms))).scalar_one()

    async def settle(self) -> None:
        """Deliver what the stores have to say, work it through, let due timers ask, send what results."""
        await self.kernel.flush()
        await self.hub.ingest.processor.settle()
        while await self.hub.timers.check_due():
            await self.hub.ingest.processor.settle()
        await self.kernel.flush()
        await self.hub.ingest.processor.settle()
        await self.delivered()

    async def delivered(self) -> None:
        """Wait until everything was sent at least once."""
        async with asyncio.timeout(20):
            while await asyncio.to_thread(self._unsent):
                await asyncio.sleep(0.005)

    def _unsent(self) -> int:
        statement = sa.select(sa.func.count()).select_from(outbox).where(outbox.c.attempt == 0)
        with self.hub.read_engine.connect() as connection:
            return connection.execute(statement).scalar_one()

    async def recover(self) -> None:
        """What the hub does at start and daily: ask the stores for what it did not hear."""
        for app in (self.apple_app, self.google_app):
            await self.hub.recovery.recover(app)
        await self.settle()

    async def try_again(self) -> None:
        """Let the wall clock pass for notifications that wait for another try."""
        await self.hub.writer.change(lambda connection: connection.execute(sa.update(inbox).values(_DUE)).rowcount)
        await self.hub.ingest.processor.check_open()
        await self.settle()

    # ---- people

    async def post(self, fake: Fake, store_key: str, app_user_id: str = "customer-1", **more: object) -> int:
        """Post a purchase as the SDK of its store would; returns the status of the answer."""
        return (await self.receipt(fake, store_key, app_user_id, **more))[0]

    async def receipt(
        self, fake: Fake, store_key: str, app_user_id: str = "customer-1", **more: object
    ) -> tuple[int, Json]:
        """The same, with the answer; `more` goes into the body."""
        if isinstance(fake, FakeAppStore):
            body: Json = {"fetch_token": fake.signed_transaction(store_key)}
            key, platform = self.apple_key, "iOS"
        else:
            receipt = fake.receipt(store_key)
            body = {"fetch_token": receipt["fetch_token"], "product_ids": [receipt["product_id"]]}
            key, platform = self.google_key, "android"
        return await self.call("POST", "/v1/receipts", body | {"app_user_id": app_user_id} | more, key, platform)

    async def log_in(self, app_user_id: str, new_app_user_id: str) -> int:
        """What an SDK's `logIn` does; the status says whether the new id was unknown."""
        body = {"app_user_id": app_user_id, "new_app_user_id": new_app_user_id}
        return (await self.call("POST", "/v1/subscribers/identify", body, self.apple_key, "iOS"))[0]

    async def set_attributes(self, app_user_id: str, **changes: object) -> tuple[int, Json]:
        """Attributes by a server's key; a value, or a (value, updated_at_ms) pair."""
        entries = {
            name.replace("__", "$"): {"value": change[0], "updated_at_ms": change[1]}
            if isinstance(change, tuple)
            else {"value": change}
            for name, change in changes.items()
        }
        return await self.call("POST", f"/v1/subscribers/{app_user_id}/attributes", {"attributes": entries})

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

    async def push(self, url: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Speak to a notification door as a store would, or as somebody who pretends to be one."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=io.BytesIO(body), headers=headers) as response,
        ):
            return response.status, json.loads(await response.read() or b"null")

    async def subscriber(self, app_user_id: str = "customer-1") -> Json:
        """The customer as a server sees it."""
        _, answer = await self.call("GET", f"/v1/subscribers/{app_user_id.replace('$', '%24').replace(':', '%3A')}")
        return dict(answer["subscriber"])

    async def entitled(self, app_user_id: str = "customer-1") -> bool:
        """Whether `pro` is active, as an SDK reads it."""
        found = (await self.subscriber(app_user_id))["entitlements"].get("pro")
        return found is not None and (found["expires_date"] is None or found["expires_date"] > self.iso())

    def iso(self, ms: int | None = None) -> str:
        """A moment (now) as the wire spells it."""
        return iso(self.clock.now_ms() if ms is None else ms)

    # ---- receivers

    async def webhook(
        self, name: str, *, url: str = "", filters: Filters | None = None, **settings: Any
    ) -> Integration:
        """Connect one more webhook, to `hooks[name]` unless it has an address of its own."""
        declared = WebhookSettings(url=url or f"{self.stores_url}/hooks/{name}", **settings)
        return await self.hub.writer.change(
            lambda connection: create_integration(
                connection,
                self.hub.sealer,
                project_id=self.project_id,
                destination="webhook",
                name=name,
                settings=declared,
                filters=filters or Filters(order_wait_ms=0),
                now_ms=self.clock.now_ms(),
            )
        )

    async def hook(self, request: Request) -> Response:
        """The receiving side of every named webhook."""
        name = request.path_params["name"]
        self.hooks[name].append(json.loads(await request.body())["event"])
        return Response(status_code=self.statuses.get(name, 200))

    # ---- looking inside

    def events(self, *, dispatched: bool | None = True) -> list[Json]:
        """Event objects as stored, in order of commit."""
        rows = self.rows(events, events.c.seq)
        return [json.loads(row["payload"]) for row in rows if dispatched is None or row["dispatched"] is dispatched]

    def told(self) -> list[str]:
        """The short form of every event that the standing webhook received."""
        return [short(event) for event in self.received]

    def inbox(self) -> list[sa.RowMapping]:
        """Inbox rows, oldest first."""
        return self.rows(inbox, inbox.c.id)

    def bodies(self) -> dict[int, bytes]:
        """What came in, byte by byte, by inbox id."""
        return {row["inbox_id"]: row["body"] for row in self.rows(inbox_bodies, inbox_bodies.c.inbox_id)}

    def attempts(self, integration: Integration | None = None) -> list[sa.RowMapping]:
        """The attempt log, oldest first."""
        found = self.rows(attempts, attempts.c.id)
        return [row for row in found if integration is None or row["integration_id"] == integration.id]

    def chains(self) -> list[sa.RowMapping]:
        """Purchase chains, oldest first."""
        return self.rows(chains, chains.c.id)

    def rows(self, table: sa.Table, order: sa.ColumnElement[Any]) -> list[sa.RowMapping]:
        """A whole table."""
        with self.hub.read_engine.connect() as connection:
            return list(connection.execute(sa.select(table).order_by(order)).mappings())

    async def change(self, work: Callable[[sa.Connection], T]) -> T:
        """Do what an operator does."""
        return await self.hub.writer.change(work)

    # ---- the hub's own life

    async def start(self, settings: Settings) -> None:
        """Start a hub, or after `stop` another one on the same folder, and tell the stores where it is."""
        self.hub = Hub(settings, clock=self.clock, role=self.role)
        await self._running.enter_async_context(self.hub.running(timers=False))
        self.url = await self._running.enter_async_context(served(self.hub.web))
        if hasattr(self, "apple_app"):
            self.point()

    async def stop(self) -> None:
        """Stop it in an orderly way."""
        await self._running.aclose()

    async def restart(self) -> None:
        settings = self.hub.settings
        await self.stop()
        await self.start(settings)

    def point(self) -> None:
        """Let the stores notify the hub that runs now."""
        self.apple.notification_url = f"{self.url}/v1/incoming-webhooks/apple/{self.apple_app.token}"
        self.google.notification_url = f"{self.url}/v1/incoming-webhooks/google/{self.google_app.token}"


def iso(ms: int) -> str:
    """A moment as the v1 wire spells it."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_DUE = {"next_attempt_at_ms": sa.case((inbox.c.status == "received", 0), else_=inbox.c.next_attempt_at_ms)}


@functools.cache
def _google_keys() -> tuple[Any, Any]:
    """Made once: the making takes longer than most tests."""
    return new_key(), new_key()


@functools.cache
def _empty_database() -> bytes:
    """A migrated SQLite file, to copy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bellwire.db"
        engine = open_engine(f"sqlite:///{path}")
        upgrade(engine)
        engine.dispose()
        return path.read_bytes()


@contextlib.asynccontextmanager
async def world(
    folder: Path,
    *,
    track_new_purchases: bool = True,
    project_settings: ProjectSettings | None = None,
    start_ms: int = START_MS,
    routes: Iterable[BaseRoute] = (),
    role: Role = Role.ALL,
    **settings: Any,
) -> AsyncIterator[World]:
    """A running world in `folder`. Time stands still unless the test moves it; timers run only in `settle`.

    `settings` are the hub's.
    """
    clock = ManualClock(start_ms)
    kernel = Kernel(clock)
    account_key, push_key = _google_keys()
    apple = FakeAppStore(kernel, bundle_id="com.example.app", app_apple_id=1234567890)
    google = FakePlay(
        kernel, package_name="com.example.app", identity=Identity(account_key=account_key, push_key=push_key)
    )
    result = World(kernel, clock, apple, google)
    result.role = role
    stores = Starlette(
        routes=[
            *apple.routes(),
            *google.routes(),
            *control_routes(kernel),
            Route("/hooks/{name}", result.hook, methods=["POST"]),
            *routes,
        ]
    )
    chosen = replace(Settings(data_dir=folder, allow_private_addresses=True, allow_test_roots=True), **settings)
    if not chosen.database_url:
        chosen = replace(chosen, database_url=database_url(folder))
    if chosen.database_url.startswith("sqlite"):
        (folder / "bellwire.db").write_bytes(_empty_database())
    async with served(stores) as stores_url:
        apple.base_url = google.base_url = result.stores_url = stores_url
        await result.start(chosen)
        _set_up(result, track_new_purchases, project_settings)
        await result.webhook("hook", filters=Filters(event_types=tuple(EventType)))
        try:
            yield result
        finally:
            await kernel.close()
            await result.stop()


def _set_up(result: World, track_new_purchases: bool, project_settings: ProjectSettings | None) -> None:
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
    result.point()


def _key(connection: sa.Connection, hub: Hub, project_id: str, app_id: str | None) -> str:
    kind = KeyKind.SECRET if app_id is None else KeyKind.PUBLIC
    plain, _ = create_key(
        connection, hub.sealer, project_id=project_id, app_id=app_id, kind=kind, name="test", now_ms=0
    )
    return plain


def live(folder: Path, scene: Callable[[World], Awaitable[T]], **options: Any) -> T:
    """Run a scene in a world of its own, with a bound that only a hanging one reaches."""

    async def run() -> T:
        async with asyncio.timeout(60), world(folder, **options) as it:
            return await scene(it)

    return asyncio.run(run())
