"""A fake App Store over real HTTP, the adapter that talks to it, and a stand-in for the hub's notification door."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bellwire.kit.clock import ManualClock
from bellwire.kit.http import GuardedClient
from bellwire.model.enums import Store
from bellwire.model.projects import App
from bellwire.simulator.apple import FakeAppStore
from bellwire.simulator.kernel import Kernel, control_routes
from bellwire.stores.apple import AppleAdapter
from tests.support.threaded import serving

START_MS = 1_768_435_200_000  # 2026-01-15T00:00:00Z
DAY_MS = 86_400_000
MONTH_MS = 31 * DAY_MS
BUNDLE_ID = "com.example.app"


def make_app(store: FakeAppStore, **config: object) -> App:
    """The app as an operator would have entered it, with changes."""
    credentials: dict[str, Any] = store.credentials()
    return App(
        id="app1",
        project_id="proj1",
        store=Store.APP_STORE,
        name="App",
        token="t" * 32,
        config={**credentials["config"], **config},
        secrets=credentials["secrets"],
    )


def make_store(clock: ManualClock | None = None, *, seed: int = 1, bundle_id: str = BUNDLE_ID) -> FakeAppStore:
    """A fake that nobody serves: for what needs no network."""
    store = FakeAppStore(Kernel(clock or ManualClock(START_MS)), bundle_id=bundle_id, seed=seed)
    store.base_url = "http://127.0.0.1:1"
    store.notification_url = "http://127.0.0.1:1/"
    return store


class Connected:
    """See `connected`. `bodies` is what reached the door, which answers `door_status`."""

    def __init__(self, clock: ManualClock, store: FakeAppStore, client: GuardedClient) -> None:
        self.clock = clock
        self.store = store
        self.kernel = store.kernel
        self.client = client
        self.bodies: list[bytes] = []
        self.door_status = 200
        self.adapter = AppleAdapter(client, allow_test_roots=True)
        self.app = make_app(store)

    async def advance(self, ms: int) -> None:
        """Let time pass and everything due be said."""
        self.clock.advance_ms(ms)
        await self.kernel.flush()

    def calls(self) -> list[str]:
        """Paths of the API that were called so far."""
        return [str(line["path"]) for line in self.kernel.log if line["what"] == "apple.call"]


@contextlib.asynccontextmanager
async def connected(*, start_ms: int = START_MS) -> AsyncIterator[Connected]:
    clock = ManualClock(start_ms)
    store = make_store(clock)
    held: list[Connected] = []

    async def door(request: Request) -> Response:
        held[0].bodies.append(await request.body())
        return Response(status_code=held[0].door_status)

    routes = [*store.routes(), *control_routes(store.kernel), Route("/door", door, methods=["POST"])]
    with serving(Starlette(routes=routes)) as port:
        store.base_url = f"http://127.0.0.1:{port}"
        store.notification_url = f"{store.base_url}/door"
        client = GuardedClient(allow_private=True)
        it = Connected(clock, store, client)
        held.append(it)
        try:
            yield it
        finally:
            await client.close()
            await store.kernel.close()


def payload_of(jws: str) -> dict[str, Any]:
    """What a JWS says, unverified."""
    import base64

    text = jws.split(".")[1]
    return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
