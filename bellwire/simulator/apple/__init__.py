"""A fake App Store: signed notifications and the server API, on a virtual clock (spec: stores 13.2).

Shares no code with the adapter that it tests.
"""

from bellwire.simulator.apple.scenarios import SCENARIOS
from bellwire.simulator.apple.store import FakeAppStore

__all__ = ["SCENARIOS", "FakeAppStore"]
