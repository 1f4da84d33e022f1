"""A fake Google Play behind real HTTP, the adapter that reads it, and a receiver for its pushes."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bellwire.kit.clock import ManualClock
from bellwire.kit.http import Answer, GuardedClient
from bellwire.model.enums import Store
from bellwire.model.projects import App
from bellwire.simulator.google import FakePlay
from bellwire.simulator.kernel import Kernel, control_routes
from bellwire.stores.google import GoogleAdapter

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
DAY_MS = 86_400_000
T = TypeVar("T")


class Recorder:
    """A GuardedClient that remembers what went by."""

    def __init__(self, client: GuardedClient) -> None:
        self._client = client
        self.calls: list[tuple[str, str, bytes, Answer]] = []

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},  # never changed
        body: bytes = b"",
        timeout_s: float = 60.0,
        max_response_bytes: int | None = None,
    ) -> Answer:
        answer = await self._client.request(
            method, url, headers=headers, body=body, timeout_s=timeout_s, max_response_bytes=max_response_bytes
        )
        self.calls.append((method, url, body, answer))
        return answer

    def paths(self) -> list[str]:
        """Method and path of each call to the API, without what all have in common."""
        root = "/androidpublisher/v3/applications/com.example.app/"
        return [f"{method} {url.split(root, 1)[1]}" for method, url, _, _ in self.calls if root in url]


class PlayBench:
    """See `play_bench`. `pushes` holds headers and body of every push that came, until the test takes them."""

    def __init__(self, play: FakePlay, kernel: Kernel, clock: ManualClock, client: GuardedClient) -> None:
        self.play = play
        self.kernel = kernel
        self.clock = clock
        self.client = client
        self.recorder = Recorder(client)
        self.adapter = GoogleAdapter(self.recorder, allow_test_roots=True)
        self.pushes: list[tuple[dict[str, str], bytes]] = []
        self.push_status = 200

    def app(self, **config: object) -> App:
        """The app as an operator would have set it up; `config` overrides."""
        credentials = self.play.credentials()
        secrets = {name: str(value) for name, value in credentials["secrets"].items()}
        return App(
            id="app1",
            project_id="proj1",
            store=Store.PLAY_STORE,
            name="Play",
            token="t" * 32,
            config=credentials["config"] | config,
            secrets=secrets,
            track_new_purchases=True,
        )

    async def advance(self, days: float) -> None:
        """Move time from appointment to appointment, delivering what is to be told."""
        target = self.clock.now_ms() + int(days * DAY_MS)
        while (due := self.kernel.next_due_ms()) is not None and due <= target:
            self.clock.set_ms(max(due, self.clock.now_ms()))
            await self.kernel.flush()
        self.clock.set_ms(target)
        await self.kernel.flush()


@contextlib.asynccontextmanager
async def serve(app: Starlette) -> AsyncIterator[str]:
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


@contextlib.asynccontextmanager
async def play_bench(**options: Any) -> AsyncIterator[PlayBench]:
    """A store on a clock that stands still unless the test moves it; `options` are those of FakePlay."""
    clock = ManualClock(START_MS)
    kernel = Kernel(clock)
    play = FakePlay(kernel, **options)
    client = GuardedClient(allow_private=True)
    bench = PlayBench(play, kernel, clock, client)

    async def receive(request: Request) -> Response:
        bench.pushes.append((dict(request.headers), await request.body()))
        return Response(status_code=bench.push_status)

    routes = [*play.routes(), *control_routes(kernel), Route("/push", receive, methods=["POST"])]
    async with serve(Starlette(routes=routes)) as url:
        play.base_url = url
        play.notification_url = f"{url}/push"
        try:
            yield bench
        finally:
            await kernel.close()
            await client.close()


def on_bench(test: Callable[[PlayBench], Awaitable[T]], **options: Any) -> T:
    """Run `test` against a fresh bench."""

    async def run() -> T:
        async with play_bench(**options) as bench:
            return await test(bench)

    return asyncio.run(run())
