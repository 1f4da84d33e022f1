"""Who hears of attempts once they are written down."""

import asyncio
from collections.abc import Callable

import structlog

from bellwire.delivery.turn import Turn, TurnResult

log = structlog.get_logger()

_BACKLOG = 100
_END = -1


class Listeners:
    """Queues of those who want to be woken."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[int]] = set()
        self._callbacks: list[Callable[[int], None]] = []

    def subscribe(self) -> asyncio.Queue[int]:
        queue: asyncio.Queue[int] = asyncio.Queue(_BACKLOG)
        self._queues.add(queue)
        return queue

    def unsubscribe(self, queue: asyncio.Queue[int]) -> None:
        self._queues.discard(queue)

    def on_attempts(self, callback: Callable[[int], None]) -> None:
        """Tell somebody of the attempts of this process, so that other processes hear of them."""
        self._callbacks.append(callback)

    def tell(self, attempt_id: int, *, from_outside: bool = False) -> None:
        """Wake everybody; a queue that nobody reads is told no more once it is full."""
        if not from_outside:
            for callback in self._callbacks:
                callback(attempt_id)
        for queue in self._queues:
            if not queue.full():
                queue.put_nowait(attempt_id)

    def end(self) -> None:
        """The hub is stopping: live pages shall end. A negative number says so."""
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(_END)

    def note(self, turn: Turn, result: TurnResult) -> None:
        """What a turn brought, after its commit."""
        if result.expired:
            log.warning("lease.expired", rows=result.expired)
        if result.last_attempt_id is not None:
            self.tell(result.last_attempt_id)
