"""Who is on the wire: senders of each lane, and a bound over all that no lane can use up for the others."""

import asyncio
from collections.abc import Awaitable, Callable

from bellwire.db.outbox_claim import Claimed
from bellwire.delivery.lanes import Lane

GUARANTEED = 2
"""Requests that every lane may have on the wire, however busy the others are."""

Send = Callable[[list[Claimed]], Awaitable[None]]


class Senders:
    """Runs one task per request slot; a slot goes on to its lane's next rows, so that a task is not made for each."""

    def __init__(self, send: Send, *, limit: int) -> None:
        self._send = send
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, Lane] = {}
        """Lanes that have rows ready and found the bound reached, longest waiting first."""

    def feed(self, lane: Lane) -> None:
        """Start senders for what is ready, within the lane's concurrency and the bound over all."""
        while lane.ready and lane.sending < lane.concurrency:
            if len(self._tasks) >= self._limit and lane.sending >= GUARANTEED:
                self._waiting.setdefault(lane.integration.id, lane)
                return
            rows = lane.next()
            if not rows:
                return
            task = asyncio.create_task(self._run(lane, rows))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, lane: Lane, rows: list[Claimed]) -> None:
        while rows:
            try:
                await self._send(rows)
            finally:
                lane.done(rows)
            if self._must_yield(lane) or not lane.ready or lane.sending >= lane.concurrency:
                break
            rows = lane.next()
        asyncio.get_running_loop().call_soon(self._pass_on, lane)

    def _must_yield(self, lane: Lane) -> bool:
        return bool(self._waiting) and lane.sending >= GUARANTEED

    def _pass_on(self, lane: Lane) -> None:
        """A slot is free: first for a lane that waits for one, then for the lane that had it."""
        if self._waiting:
            self.feed(self._waiting.pop(next(iter(self._waiting))))
        self.feed(lane)

    async def drain(self, grace_s: float) -> None:
        """Let what is on the wire end, for so long; then cancel the rest and wait for that."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(set(self._tasks), timeout=grace_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
