"""A lane: the deliveries of one integration on their way (architecture D4). In memory, no I/O."""

from collections import deque

from bellwire.db.outbox_claim import YOUNG_MS, Claimed, LaneRoom
from bellwire.delivery.gate import Admission, Gate
from bellwire.destinations.base import Batch
from bellwire.model.projects import Integration

AHEAD = 8
"""A lane holds up to this many times its concurrency: what is sent, and what is ready to be sent while a turn of the
database runs. With less the senders wait for rows, and turns get smaller and dearer."""


MAX_HELD = 1_000
"""What a lane that batches holds at most, however many events its destination takes at once."""


class Lane:
    """Rows that are held for one integration. `sending` counts its requests on the wire.

    Without a `batch` a request carries one row, and the database gives out one row of a customer at a time. With one,
    it gives out several, and the lane keeps them in order: what follows an event on the wire waits for it here.
    """

    def __init__(self, integration: Integration, gate: Gate | None = None, *, workers: int = 1) -> None:
        self.integration = integration
        self.gate = gate or Gate(integration.id, integration.project_id)
        self.workers = workers
        self.admitted = Admission(0, 0)
        self.ready: deque[Claimed] = deque()
        self.sending = 0
        self.more = False
        """The last turn took all that the lane had room for, or left some that it had no room for."""
        self.batch: Batch | None = None
        self._on_wire = 0
        self._busy_customers: set[int] = set()
        self._late_held = 0

    @property
    def concurrency(self) -> int:
        return max(1, self.integration.concurrency // self.workers)

    @property
    def held(self) -> int:
        return len(self.ready) + self._on_wire

    @property
    def capacity(self) -> int:
        """How many rows it holds at most."""
        ahead = AHEAD * self.concurrency
        return ahead if self.batch is None else max(ahead, min((self.concurrency + 1) * self.batch.max_count, MAX_HELD))

    @property
    def short(self) -> bool:
        """Senders are about to wait for rows that are there."""
        return self.more and len(self.ready) < self.concurrency

    def room(self, now_ms: int = 0) -> LaneRoom:
        """What may be claimed now. Retries and replays hold at most half of the wire, so that they never keep fresh events out;
        what they leave, and all when there are none, is for fresh events."""
        at_once = self.concurrency if self.batch is None else self.concurrency * self.batch.max_count
        self.admitted = self.gate.admit(
            max(0, self.capacity - self.held),
            max(0, self._late_capacity - self._late_held),
            held=self.held,
            at_once=at_once,
            now_ms=now_ms,
        )
        return LaneRoom(
            rows=self.admitted.rows,
            late=self.admitted.late,
            order_wait_ms=self.integration.order_wait_ms,
            of_a_customer=1 if self.batch is None else self.batch.max_count,
        )

    def take(self, rows: list[Claimed], now_ms: int = 0) -> None:
        """Hold freshly claimed rows, in the order they shall be sent; young ones go before a backlog."""
        since_ms = now_ms - YOUNG_MS
        behind = any(row.due_at_ms < since_ms for row in rows) or (self.ready and self.ready[-1].due_at_ms < since_ms)
        if behind and self.batch is None:
            young = [row for row in rows if row.due_at_ms >= since_ms and not row.late]
            self.ready.extendleft(reversed(young))
            self.ready.extend(row for row in rows if row.due_at_ms < since_ms or row.late)
        else:
            self.ready.extend(rows)
        self._late_held += sum(row.late for row in rows)

    def next(self) -> list[Claimed]:
        """The rows to send now in one request, none when all that are ready wait for others; the caller says `done`
        when they have ended. One row a request while slots are free for all; more when the lane is behind."""
        rows = [self.ready.popleft()] if self.batch is None else self._pick(self.batch)
        if rows:
            self.sending += 1
            self._on_wire += len(rows)
        return rows

    def done(self, rows: list[Claimed]) -> None:
        self.sending -= 1
        self._on_wire -= len(rows)
        self._late_held -= sum(row.late for row in rows)
        if self.batch is not None or self._busy_customers:
            self._busy_customers.difference_update(row.customer_id for row in rows)

    def withdraw(self, customer_id: int) -> list[Claimed]:
        """A customer's rows that are not on the wire, no longer held: an earlier one failed and goes first again."""
        rows = [row for row in self.ready if row.customer_id == customer_id]
        if rows:
            self.ready = deque(row for row in self.ready if row.customer_id != customer_id)
            self._late_held -= sum(row.late for row in rows)
        return rows

    def drain(self) -> list[Claimed]:
        """All rows that are not on the wire, no longer held."""
        rows = list(self.ready)
        self.ready.clear()
        self._late_held -= sum(row.late for row in rows)
        return rows

    @property
    def _late_capacity(self) -> int:
        return max(1, self.concurrency // 2) if self.batch is None else max(1, self.capacity // 2)

    def _pick(self, batch: Batch) -> list[Claimed]:
        free = max(1, self.concurrency - self.sending)
        wanted = min(batch.max_count, -(-len(self.ready) // free))
        rows: list[Claimed] = []
        left: deque[Claimed] = deque()
        for row in self.ready:
            take = len(rows) < wanted and row.customer_id not in self._busy_customers
            (rows if take else left).append(row)
        self.ready = left
        self._busy_customers.update(row.customer_id for row in rows)
        return rows
