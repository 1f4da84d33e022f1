"""Group commit (architecture D2): everything that changes the database goes through one committer thread.

Callers hand in a unit of work: a handler and its payload. The thread takes all units that queued up while its last
commit ran, calls each handler once with all its payloads, commits once, and then answers everybody. There is no timer:
an idle hub commits a lone unit at once.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog

log = structlog.get_logger()

P = TypeVar("P")
R = TypeVar("R")

Handler = Callable[[sa.Connection, Sequence[P]], Sequence[R | Exception]]
"""Does the work of many units with bulk statements; one result each, an Exception where that unit alone failed.

A handler that raises is rolled back to where it began and called again with one payload at a time, so that a bad unit
is taken out and answered alone and never fails its neighbours. Units of one handler are done in the order in which they
were handed in; between two handlers that queue at the same moment there is no order.
"""

MAX_UNITS_PER_COMMIT = 500


class WriterClosed(Exception):
    """The hub is stopping; nothing of this unit was written."""


class Writer:
    """The committer. One thread, one connection; `submit` from anywhere, `write` from asyncio."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._queue: deque[tuple[Handler[Any, Any], Any, Future[Any]]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._after_commit: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run, name="bellwire-writer", daemon=True)
        self._thread.start()

    def submit(self, handler: Handler[P, R], payload: P) -> Future[R]:
        """Queue a unit; the future resolves after the commit that made it durable.

        A future that is cancelled while it still waits in the queue takes its unit out.
        """
        future: Future[R] = Future()
        with self._wake:
            if self._closing:
                raise WriterClosed("the hub is stopping")
            self._queue.append((handler, payload, future))
            self._wake.notify()
        return future

    async def write(self, handler: Handler[P, R], payload: P) -> R:
        """Like `submit`, awaited. Cancelling the caller does not take the unit back."""
        return await asyncio.shield(asyncio.wrap_future(self.submit(handler, payload)))

    def submit_change(self, work: Callable[[sa.Connection], R]) -> Future[R]:
        """Queue a lone change (an operator's, not a hot path's). `work` may run twice: the first is then undone."""
        handler: Handler[Callable[[sa.Connection], R], R] = _do_each
        return self.submit(handler, work)

    async def change(self, work: Callable[[sa.Connection], R]) -> R:
        """Like `submit_change`, awaited."""
        return await asyncio.shield(asyncio.wrap_future(self.submit_change(work)))

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the writer's thread after each commit: a wake-up, never the work itself."""
        self._after_commit.append(callback)

    def close(self) -> None:
        """Finish what is queued and stop."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closing:
                    self._wake.wait()
                if not self._queue:
                    return
                units = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_UNITS_PER_COMMIT))]
            units = [unit for unit in units if unit[2].set_running_or_notify_cancel()]
            if units:
                self._commit(units)

    def _commit(self, units: list[tuple[Handler[Any, Any], Any, Future[Any]]]) -> None:
        by_handler: dict[Handler[Any, Any], list[tuple[Any, Future[Any]]]] = {}
        for handler, payload, future in units:
            by_handler.setdefault(handler, []).append((payload, future))
        answers: list[tuple[Future[Any], Any]] = []
        try:
            with self._engine.begin() as connection:
                for handler, group in by_handler.items():
                    results = _call(connection, handler, [payload for payload, _ in group])
                    answers += [(future, result) for (_, future), result in zip(group, results, strict=True)]
        except Exception as error:
            for _, _, future in units:
                future.set_exception(error)
            return
        for future, result in answers:
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        for callback in self._after_commit:
            try:
                callback()
            except Exception:
                log.exception("commit.callback_failed")  # the committer must outlive it, or nothing is written again


def _do_each(connection: sa.Connection, works: Sequence[Callable[[sa.Connection], R]]) -> list[R | Exception]:
    return [work(connection) for work in works]


def _call(connection: sa.Connection, handler: Handler[P, R], payloads: list[P]) -> Sequence[R | Exception]:
    """The handler's results. Raises only when the transaction itself is lost, and with it everybody's work."""
    savepoint = connection.begin_nested()
    try:
        results = handler(connection, payloads)
        if len(results) != len(payloads):
            raise ValueError(f"{handler!r} gave {len(results)} results for {len(payloads)} units")
    except Exception as error:
        savepoint.rollback()
        if len(payloads) == 1:
            return [error]
    else:
        savepoint.commit()
        return results
    return [_call(connection, handler, [payload])[0] for payload in payloads]
