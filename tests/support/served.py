"""ASGI apps on real sockets, in the test's own loop, that start and stop without waiting for a clock tick."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.applications import Starlette


class _Server(uvicorn.Server):
    """uvicorn looks every 0.1 s whether it shall stop, and then twice more; with two servers a test that is most of it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.leave = asyncio.Event()

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.leave.wait()

    # pyrefly: ignore[missing-override-decorator]
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:
            await asyncio.sleep(0.001)

    @contextlib.contextmanager
    # pyrefly: ignore[missing-override-decorator]
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are pytest's


@contextlib.asynccontextmanager
async def served(app: Starlette, config: uvicorn.Config | None = None) -> AsyncIterator[str]:
    """Serve an ASGI app on a free port of this machine; yields its base URL. `config` instead of uvicorn's own ways."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = _Server(config or uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started:
                if task.done():
                    task.result()
                await asyncio.sleep(0)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.leave.set()
            await task
