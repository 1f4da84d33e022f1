"""The line at the foot of the terminal that counts what happens."""

from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live
from rich.text import Text

from bellwire.simulator.world import World

TERMINAL_INTERVAL_S = 0.5
PLAIN_INTERVAL_S = 10.0


class Ticker:
    """Rewrites one line on a terminal; elsewhere says a line every now and then. Use it in a `with`."""

    def __init__(self, world: World, *, stderr: bool = False) -> None:
        self._world = world
        self._console = Console(stderr=stderr, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self.interval_s = PLAIN_INTERVAL_S if self._live is None else TERMINAL_INTERVAL_S

    def __enter__(self) -> "Ticker":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self) -> None:
        """Say how it stands."""
        if self._live is None:
            self._console.print(self.line(), soft_wrap=True)
        else:
            self._live.update(Text(self.line()), refresh=True)

    def line(self) -> str:
        """Date of the simulated world and what happened in it so far."""
        world, shop = self._world, self._world.shop
        receivers = list(world.sink.receivers.values())
        today = datetime.fromtimestamp(world.kernel.now_ms / 1000, UTC).strftime("%d %b %Y")
        counts = {
            "customers": 0 if shop is None else len(shop.customers),
            "actions": sum(world.shop_actions().values()),
            "store notifications": sum(sent.delivered for sent in world.kernel.notifier.history),
            "events received": max((receiver.received for receiver in receivers), default=0),
            "webhook requests": sum(receiver.requests for receiver in receivers),
            "FORGED": sum(receiver.forged for receiver in receivers),
        }
        return "  ".join([today, *(f"{name} {count}" for name, count in counts.items() if count or name.islower())])
