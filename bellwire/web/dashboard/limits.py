"""Slows down guessing of passwords: counts failures in memory, by address and account."""

import time
from collections import OrderedDict, deque

from bellwire.kit.buckets import household

WINDOW_S = 15 * 60
PER_ACCOUNT = 5
"""Failures of one client at one account."""
PER_CLIENT = 30
"""Failures of one client over all accounts."""
MAX_KEYS = 10_000
"""Oldest are forgotten beyond this, so that strangers cannot fill the memory."""


class FailedLogins:
    """Failures of the last WINDOW_S. One per process; a restart forgets."""

    def __init__(self) -> None:
        self._failures: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def retry_after_s(self, client: str, account: str) -> int:
        """How long this client must wait before the next try; 0 = not at all."""
        client, account = household(client), _key(account)
        waits = (self._wait((client, account), PER_ACCOUNT), self._wait((client, ""), PER_CLIENT))
        return max(waits)

    def tried(self, client: str, account: str) -> None:
        """Count a login as failed until it proves otherwise."""
        client, account = household(client), _key(account)
        for key in ((client, account), (client, "")):
            self._failures.setdefault(key, deque()).append(time.monotonic())
            self._failures.move_to_end(key)
        while len(self._failures) > MAX_KEYS:
            self._failures.popitem(last=False)

    def succeeded(self, client: str, account: str) -> None:
        """The account is the client's: its slips are forgotten, and this login was none."""
        client, account = household(client), _key(account)
        self._failures.pop((client, account), None)
        if times := self._failures.get((client, "")):
            times.pop()

    def _wait(self, key: tuple[str, str], allowed: int) -> int:
        times = self._failures.get(key)
        if times is None:
            return 0
        oldest = time.monotonic() - WINDOW_S
        while times and times[0] <= oldest:
            times.popleft()
        return int(times[-allowed] - oldest) + 1 if len(times) >= allowed else 0


def _key(text: str) -> str:
    return text[:254]  # an e-mail address is no longer; what is kept of strangers' text is bounded
