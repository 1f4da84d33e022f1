"""Many things to do: in order where they concern the same thing, side by side where they do not."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger()

T = TypeVar("T")


class Lanes(Generic[T]):
    """A lane for each key, there only while it holds something. At most `at_once` items of one group are worked on at
    the same time, so that a group whose every item takes long does not hold up the others.

    `work` deals with its own errors; what it raises all the same is logged, and its lane goes on.
    """

    def __init__(self, work: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
        self._work = work
        self._lanes: dict[tuple[str, str], deque[T]] = {}
        self._gates: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(at_once))
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        return bool(self._tasks)

    def put(self, group: str, key: str, item: T) -> None:
        """Have `item` done after everything that was put under the same group and key before it."""
        lane = self._lanes.get((group, key))
        if lane is not None:
            lane.append(item)
            return
        lane = self._lanes[(group, key)] = deque([item])
        task = asyncio.get_running_loop().create_task(self._run(group, key, lane))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Wait until nothing is left to do."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Drop what is left, in the middle of it if need be."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, group: str, key: str, lane: deque[T]) -> None:
        try:
            while lane:
                async with self._gates[group]:
                    await self._do(lane.popleft())
        finally:
            del self._lanes[(group, key)]

    async def _do(self, item: T) -> None:
        try:
            await self._work(item)
        except Exception:
            log.exception("lane.failed")
