"""Everything of the simulator in one place: a clock, both fake stores, the receivers of webhooks, and the shop."""

import asyncio
import base64
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Literal

import uvicorn
from starlette.applications import Starlette

from bellwire.kit.clock import ManualClock, SharedClock
from bellwire.kit.listening import CannotListen, listen_on
from bellwire.simulator.apple import FakeAppStore
from bellwire.simulator.apple_till import AppleTill
from bellwire.simulator.google import FakePlay
from bellwire.simulator.kernel import Kernel, control_routes
from bellwire.simulator.people import Platform
from bellwire.simulator.phone import Carrier
from bellwire.simulator.play_till import PlayTill
from bellwire.simulator.shop import Shop
from bellwire.simulator.sink import Receiver, Sink
from bellwire.simulator.till import Till

StoreName = Literal["apple", "google"]

BUNDLE_ID = "com.example.shop"
PLAY_PREFIX = "/google"
SIGNED, STANDARD = "signed", "standard"
"""Names of the two receivers."""


class World:
    """One simulated world, served on one port: fakes, remote control (`/_control/...`) and receivers (`/sink/...`)."""

    def __init__(
        self, clock: SharedClock | ManualClock, *, base_url: str, seed: int = 1, flakiness: float = 0.0
    ) -> None:
        self.base_url = base_url
        # The stores' ids also follow from when it began: a second run against the same hub makes new purchases.
        self.kernel = Kernel(clock, seed=seed ^ clock.now_ms())
        self.apple = FakeAppStore(self.kernel, bundle_id=BUNDLE_ID)
        self.apple.base_url = base_url
        self.play = FakePlay(self.kernel, package_name=BUNDLE_ID, prefix=PLAY_PREFIX)
        self.play.base_url = base_url + PLAY_PREFIX
        self.sink = Sink(
            random.Random(seed),
            Receiver(name=SIGNED, secret=_secret(), authorization=f"Bearer {secrets.token_urlsafe(24)}"),
            Receiver(name=STANDARD, secret=_secret(), standard=True, flakiness=flakiness),
        )
        self.shop: Shop | None = None
        self.carrier: Carrier | None = None
        self._seed = seed

    @property
    def app(self) -> Starlette:
        """What answers on the world's port."""
        routes = [*self.apple.routes(), *self.play.routes(), *self.sink.routes(), *control_routes(self.kernel)]
        return Starlette(routes=routes)

    def sink_url(self, name: str) -> str:
        return f"{self.base_url}/sink/{name}"

    def open_shop(
        self, hub_url: str, public_keys: Mapping[Platform, str], *, customers: int, carrier: Carrier | None = None
    ) -> Shop:
        """Let customers in; their apps use `public_keys`, and only platforms with a key are on sale."""
        tills: dict[Platform, Till] = {}
        if Platform.IOS in public_keys:
            tills[Platform.IOS] = AppleTill(self.apple)
        if Platform.ANDROID in public_keys:
            tills[Platform.ANDROID] = PlayTill(self.play)
        self.carrier = carrier or Carrier(hub_url=hub_url, public_keys=public_keys)
        self.shop = Shop(self.kernel, tills, self.carrier, customers=customers, seed=self._seed)
        self.shop.open()
        return self.shop

    def shop_actions(self) -> dict[str, int]:
        """What customers did so far."""
        return {} if self.shop is None else dict(self.shop.actions)

    @contextlib.asynccontextmanager
    async def served(self, *, port: int, alive: bool = True) -> AsyncIterator["World"]:
        """Serve on `port` until the block ends, and live along with the clock unless `alive` is False.

        Raises CannotListen if the port is taken.
        """
        sockets = listen_on("127.0.0.1", port)
        config = uvicorn.Config(
            self.app, host="127.0.0.1", port=port, log_level="critical", access_log=False, lifespan="off",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets))
        while not server.started:
            if serving.done():
                raise CannotListen(f"port {port} cannot be served") from serving.exception()
            await asyncio.sleep(0.01)
        living = asyncio.create_task(self.kernel.run()) if alive else None
        try:
            yield self
        finally:
            self.kernel.stop()
            if self.shop is not None:
                self.shop.close()
            if living is not None:
                await living
            await self.kernel.close()
            if self.carrier is not None:
                await self.carrier.close()
            server.should_exit = True
            await serving


def _secret() -> str:
    """A signing secret that serves both schemes: `whsec_` and 32 bytes in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


class _Server(uvicorn.Server):
    """uvicorn without hands on the process's signals: whoever serves a world decides when it ends."""

    @contextlib.contextmanager
    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    def capture_signals(self) -> Iterator[None]:
        yield
