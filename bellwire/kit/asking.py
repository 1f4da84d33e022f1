"""Asking something that may hang, such as a database: at most one question at a time, with a bound for the answer."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Asking(Generic[T]):
    """Runs `question` on a thread of its own. Whoever asks while one runs shares its answer, so that no number of
    callers puts more than one question on what hangs."""

    def __init__(self, question: Callable[[], T], *, within_s: float, name: str) -> None:
        self._question = question
        self._within_s = within_s
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._asked: Future[T] | None = None

    async def ask(self) -> T:
        """The answer. Raises TimeoutError when none comes in time, and what the question raises."""
        if self._asked is None or self._asked.done():
            self._asked = self._threads.submit(self._question)
        async with asyncio.timeout(self._within_s):
            return await asyncio.shield(asyncio.wrap_future(self._asked))

    def close(self) -> None:
        """Ask no more; does not wait."""
        self._threads.shutdown(wait=False, cancel_futures=True)
