"""A fake Google Play: the Developer API, its token server, and a Pub/Sub pusher, on a virtual clock (spec: stores 13.2).

Shares no code with the adapter that it tests.
"""

from bellwire.simulator.google.play import FakePlay
from bellwire.simulator.google.scenarios import SCENARIOS

__all__ = ["SCENARIOS", "FakePlay"]
