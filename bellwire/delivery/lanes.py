"""A lane: the deliveries of one integration on their way (architecture D4). In memory, no I/O."""

from collections import deque

from bellwire.db.outbox_claim import Claimed, LaneRoom
from bellwire.model.projects import Integration

AHEAD = 8
"""A lane holds up to this many times its concurrency: what is sent, and what is ready to be sent while a turn of the
database runs. With less the senders wait for rows, and turns get smaller and dearer."""


class Lane:
    """Rows that are held for one integration. `sending` counts its requests on the wire."""

    def __init__(self, integration: Integration) -> None:
        self.integration = integration
        self.ready: deque[Claimed] = deque()
        self.sending = 0
        self.more = False
        """The last turn took all that the lane had room for, or left some that it had no room for."""
        self._late_held = 0

    @property
    def concurrency(self) -> int:
        return max(1, self.integration.concurrency)

    @property
    def held(self) -> int:
        return len(self.ready) + self.sending

    @property
    def short(self) -> bool:
        """Senders are about to wait for rows that are there."""
        return self.more and len(self.ready) < self.concurrency

    def room(self) -> LaneRoom:
        """What may be claimed now. Retries and replays hold at most half of the wire, so that they never keep fresh events out;
        what they leave, and all when there are none, is for fresh events."""
        return LaneRoom(
            rows=max(0, AHEAD * self.concurrency - self.held),
            late=max(0, max(1, self.concurrency // 2) - self._late_held),
            order_wait_ms=self.integration.order_wait_ms,
        )

    def take(self, rows: list[Claimed]) -> None:
        """Hold freshly claimed rows, in the order they shall be sent."""
        self.ready.extend(rows)
        self._late_held += sum(row.late for row in rows)

    def next(self) -> Claimed:
        """The row to send now; the caller says `done` when it has ended."""
        self.sending += 1
        return self.ready.popleft()

    def done(self, row: Claimed) -> None:
        self.sending -= 1
        self._late_held -= row.late

    def drain(self) -> list[Claimed]:
        """All rows that are not on the wire, no longer held."""
        rows = list(self.ready)
        self.ready.clear()
        self._late_held -= sum(row.late for row in rows)
        return rows
