"""The line at the foot of the terminal that counts what happens."""

from datetime import UTC, datetime
from typing import TextIO

from bellwire.simulator.world import World


class Ticker:
    """Rewrites one line on a terminal; elsewhere says a line every now and then."""

    def __init__(self, world: World, out: TextIO) -> None:
        self._world = world
        self._out = out
        self._live = out.isatty()
        self.interval_s = 0.5 if self._live else 10.0

    def show(self) -> None:
        """Say how it stands."""
        if self._live:
            self._out.write(f"\r\x1b[2K{self.line()}")
        else:
            self._out.write(self.line() + "\n")
        self._out.flush()

    def end(self) -> None:
        """Leave the terminal at the beginning of a fresh line."""
        if self._live:
            self._out.write("\n")
            self._out.flush()

    def line(self) -> str:
        world = self._world
        today = datetime.fromtimestamp(world.kernel.now_ms / 1000, UTC).strftime("%d %b %Y")
        receivers = world.sink.receivers.values()
        events = max((receiver.received for receiver in receivers), default=0)
        shop = world.shop
        actions = 0 if shop is None else sum(shop.actions.values())
        notified = sum(sent.delivered for sent in world.kernel.notifier.history)
        forged = sum(receiver.forged for receiver in receivers)
        text = (
            f"  {today}   customers {0 if shop is None else len(shop.customers)}   actions {actions}   "
            f"store notifications {notified}   events received {events}   "
            f"webhook requests {sum(receiver.requests for receiver in receivers)}"
        )
        return text + (f"   FORGED {forged}" if forged else "")
