"""Group commit (architecture D2): everything that changes the database goes through one committer thread.

Callers hand in a unit of work: a handler and its payload. The thread takes all units that queued up while its last
commit ran, calls each handler once with all its payloads, commits once, and then answers everybody. There is no timer:
an idle hub commits a lone unit at once.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog

from bellwire.db.postgres import is_conflict, prefer_indexes
from bellwire.observe import metrics

log = structlog.get_logger()

P = TypeVar("P")
R = TypeVar("R")

Handler = Callable[[sa.Connection, Sequence[P]], Sequence[R | Exception]]
"""Does the work of many units with bulk statements; one result each, an Exception where that unit alone failed.

When a handler raises, the whole transaction is rolled back and done again: that handler with one payload at a time, each
behind a savepoint, so that a bad unit is taken out and answered alone and never fails its neighbours. A handler may thus
be called twice for a unit, and only what it did to the database the second time counts. Units of one handler are done in
the order in which they were handed in; between two handlers that queue at the same moment there is no order.
"""

MAX_UNITS_PER_COMMIT = 500


class WriterClosed(Exception):
    """The hub is stopping; nothing of this unit was written."""


class _Unit:
    """Work that waits, and whoever waits for it: a coroutine of `loop`, else a thread."""

    __slots__ = ("answer", "handler", "loop", "payload")

    def __init__(
        self,
        handler: Handler[Any, Any],
        payload: Any,  # pyrefly: ignore[explicit-any]
        answer: "asyncio.Future[Any] | Future[Any]",
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.handler = handler
        self.payload = payload
        self.answer = answer
        self.loop = loop


_Answer = tuple["asyncio.Future[Any] | Future[Any]", Any]


class Writer:
    """The committer. One thread, one connection; `submit` from anywhere, `write` from asyncio."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._queue: SimpleQueue[_Unit | None] = SimpleQueue()
        self._closing = False
        self._closing_lock = threading.Lock()
        self._after_commit: list[Callable[[], None]] = []
        self._connection: sa.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="bellwire-writer", daemon=True)
        self._thread.start()

    def submit(self, handler: Handler[P, R], payload: P) -> Future[R]:
        """Queue a unit; the future resolves after the commit that made it durable.

        A future that is cancelled while it still waits in the queue takes its unit out.
        """
        future: Future[R] = Future()
        self._put(_Unit(handler, payload, future, None))
        return future

    async def write(self, handler: Handler[P, R], payload: P) -> R:
        """Like `submit`, awaited. Cancelling the caller does not take the unit back."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._put(_Unit(handler, payload, answer, loop))
        return await answer

    def submit_change(self, work: Callable[[sa.Connection], R]) -> Future[R]:
        """Queue a lone change (an operator's, not a hot path's). `work` may run twice: the first is then undone."""
        handler: Handler[Callable[[sa.Connection], R], R] = _do_each
        return self.submit(handler, work)

    async def change(self, work: Callable[[sa.Connection], R]) -> R:
        """Like `submit_change`, awaited."""
        handler: Handler[Callable[[sa.Connection], R], R] = _do_each
        return await self.write(handler, work)

    @property
    def alive(self) -> bool:
        """Whether anything can still be written."""
        return self._thread.is_alive() and not self._closing

    @property
    def waiting(self) -> int:
        """Units that wait for the next transaction."""
        return self._queue.qsize()

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the writer's thread after each commit: a wake-up, never the work itself."""
        self._after_commit.append(callback)

    def close(self) -> None:
        """Finish what is queued and stop."""
        with self._closing_lock:
            if not self._closing:
                self._closing = True
                self._queue.put(None)
        self._thread.join()

    def _put(self, unit: _Unit) -> None:
        with self._closing_lock:
            if self._closing:
                raise WriterClosed("the hub is stopping")
            self._queue.put(unit)

    def _run(self) -> None:
        last = False
        while not last:
            units, last = self._next_units()
            wanted = [unit for unit in units if unit.loop is not None or _still_wanted(unit.answer)]
            if wanted:
                self._commit(wanted)
        self._drop_connection()

    def _next_units(self) -> tuple[list[_Unit], bool]:
        """All that is queued, up to the bound; waits for the first. And whether nothing can come any more."""
        units: list[_Unit] = []
        unit = self._queue.get()
        while unit is not None:
            units.append(unit)
            if len(units) == MAX_UNITS_PER_COMMIT:
                return units, False
            try:
                unit = self._queue.get_nowait()
            except Empty:
                return units, False
        return units, True

    def _commit(self, units: list[_Unit]) -> None:
        by_handler: dict[Handler[Any, Any], list[_Unit]] = {}
        for unit in units:
            by_handler.setdefault(unit.handler, []).append(unit)
        began_s = time.perf_counter()
        try:
            answers = self._attempt(by_handler)
        except Exception as error:
            metrics.COMMIT_FAILURES.add(1)
            _reply([(unit, error) for unit in units])
            return
        took_ms = (time.perf_counter() - began_s) * 1000
        _reply(answers)
        metrics.COMMIT_SECONDS.observe(took_ms)
        metrics.COMMIT_UNITS.observe(len(units))
        for callback in self._after_commit:
            try:
                callback()
            except Exception:
                log.exception("commit.callback_failed")  # the committer must outlive it, or nothing is written again

    def _attempt(self, by_handler: dict[Handler[Any, Any], list[_Unit]]) -> list[tuple[_Unit, Any]]:
        """The answers, once everything is committed. Raises when the transaction is lost, and with it everybody's work.

        The usual case costs no savepoint. Where something fails, all is undone and done again with care; but once as it
        was when another process was at the same rows: now its work is seen.
        """
        try:
            return self._transact(by_handler, _call_whole)
        except _HandlerFailed as failure:
            bad = failure.handler
            met = is_conflict(failure.__cause__)
        if met:
            try:
                return self._transact(by_handler, _call_whole)
            except _HandlerFailed as failure:
                bad = failure.handler

        def with_care(connection: sa.Connection, handler: Handler[P, R], payloads: list[P]) -> Sequence[R | Exception]:
            call = _call_each if handler == bad else _call_guarded
            return call(connection, handler, payloads)

        return self._transact(by_handler, with_care)

    def _transact(self, by_handler: dict[Handler[Any, Any], list[_Unit]], call: "_Call") -> list[tuple[_Unit, Any]]:
        answers: list[tuple[_Unit, Any]] = []
        connection = self._connected()
        try:
            with connection.begin():
                for handler, group in by_handler.items():
                    results = call(connection, handler, [unit.payload for unit in group])
                    answers += zip(group, results, strict=True)
        except _HandlerFailed:
            if connection.invalidated:
                self._drop_connection()
            raise
        except Exception:
            self._drop_connection()  # who knows what it still holds: giving it back to the pool rolls back
            raise
        return answers

    def _connected(self) -> sa.Connection:
        """The committer's own connection, kept from commit to commit; a new one after the old was lost."""
        if self._connection is None:
            connection = self._engine.connect()
            try:
                prefer_indexes(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                connection.close()


_Call = Callable[[sa.Connection, Handler[Any, Any], list[Any]], Sequence[Any]]


class _HandlerFailed(Exception):
    def __init__(self, handler: Handler[Any, Any]) -> None:
        super().__init__()
        self.handler = handler


def _still_wanted(answer: "asyncio.Future[Any] | Future[Any]") -> bool:
    return isinstance(answer, Future) and answer.set_running_or_notify_cancel()


def _reply(answers: Sequence[tuple[_Unit, Any]]) -> None:
    """Answer threads at once, and each event loop with one wake-up for all that waits there."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
    for unit, result in answers:
        if unit.loop is None:
            _resolve([(unit.answer, result)])
        else:
            by_loop.setdefault(unit.loop, []).append((unit.answer, result))
    for loop, some in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits there any more
            loop.call_soon_threadsafe(_resolve, some)


def _resolve(answers: Sequence[_Answer]) -> None:
    for answer, result in answers:
        if isinstance(answer, asyncio.Future) and answer.done():
            continue  # whoever asked was cancelled
        if isinstance(result, Exception):
            answer.set_exception(result)
        else:
            answer.set_result(result)


def _do_each(connection: sa.Connection, works: Sequence[Callable[[sa.Connection], R]]) -> list[R | Exception]:
    return [work(connection) for work in works]


def _checked(connection: sa.Connection, handler: Handler[P, R], payloads: list[P]) -> Sequence[R | Exception]:
    results = handler(connection, payloads)
    if len(results) != len(payloads):
        raise ValueError(f"{handler!r} gave {len(results)} results for {len(payloads)} units")
    return results


def _call_whole(connection: sa.Connection, handler: Handler[P, R], payloads: list[P]) -> Sequence[R | Exception]:
    """The handler's results; whatever it raises names it."""
    try:
        return _checked(connection, handler, payloads)
    except Exception as error:
        raise _HandlerFailed(handler) from error


def _call_guarded(
    connection: sa.Connection, handler: Handler[P, R], payloads: list[P], *, again: bool = True
) -> Sequence[R | Exception]:
    """The handler's results, behind a savepoint: what fails is done again one by one, and once more where it met
    another process (`again`)."""
    savepoint = connection.begin_nested()
    try:
        results = _checked(connection, handler, payloads)
    except Exception as error:
        savepoint.rollback()
        if len(payloads) > 1:
            return _call_each(connection, handler, payloads)
        if again and is_conflict(error):
            return _call_guarded(connection, handler, payloads, again=False)
        return [error]
    savepoint.commit()
    return results


def _call_each(connection: sa.Connection, handler: Handler[P, R], payloads: list[P]) -> Sequence[R | Exception]:
    return [_call_guarded(connection, handler, [payload])[0] for payload in payloads]
