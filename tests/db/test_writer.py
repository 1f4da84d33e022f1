"""The committer: one commit for what queued up, each unit answered for itself, nothing lost at the end."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait

import pytest
import sqlalchemy as sa

from bellwire.db.writer import MAX_UNITS_PER_COMMIT, Writer, WriterClosed

lines = sa.Table("lines", sa.MetaData(), sa.Column("number", sa.Integer, primary_key=True), sa.Column("text", sa.Text))


@pytest.fixture
def database(empty_database: sa.Engine) -> sa.Engine:
    lines.metadata.create_all(empty_database)
    return empty_database


@pytest.fixture
def writer(database: sa.Engine) -> Iterator[Writer]:
    opened = Writer(database)
    yield opened
    opened.close()


class Held:
    """Keeps the committer busy inside a unit, so that everything handed in meanwhile queues up behind it."""

    def __init__(self, writer: Writer) -> None:
        self._started, self._go = threading.Event(), threading.Event()
        self.unit = writer.submit(self._hold, None)
        self._started.wait()

    def _hold(self, connection: sa.Connection, payloads: Sequence[None]) -> list[None]:
        self._started.set()
        self._go.wait()
        return list(payloads)

    def release(self) -> None:
        self._go.set()


class Book:
    """A handler that writes lines and remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def write(self, connection: sa.Connection, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        connection.execute(sa.insert(lines), [{"number": number, "text": ""} for number in numbers])
        return [number * 10 for number in numbers]


def stored(database: sa.Engine) -> list[int]:
    with database.connect() as connection:
        return list(connection.execute(sa.select(lines.c.number).order_by(lines.c.number)).scalars())


def submit_all(writer: Writer, handler: Callable[..., Sequence[int]], numbers: Sequence[int]) -> list[Future[int]]:
    return [writer.submit(handler, number) for number in numbers]


def errors_of(units: Sequence[Future[int] | Future[None]]) -> list[type[BaseException] | None]:
    return [None if (error := unit.exception()) is None else type(error) for unit in units]


def test_lone_unit_is_committed_at_once(writer: Writer, database: sa.Engine) -> None:
    assert writer.submit(Book().write, 1).result() == 10
    assert stored(database) == [1]


def test_queued_units_share_one_call_and_one_commit(writer: Writer, database: sa.Engine) -> None:
    commits: list[int] = []
    writer.on_commit(lambda: commits.append(len(stored(database))))
    book, held = Book(), Held(writer)
    write = book.write
    units = submit_all(writer, write, range(20))
    held.release()
    assert [unit.result() for unit in units] == [number * 10 for number in range(20)]
    assert book.calls == [list(range(20))]  # once, in the order in which they came
    writer.close()
    assert commits == [0, 20]


def test_a_batch_has_a_bound(writer: Writer) -> None:
    book, held = Book(), Held(writer)
    write = book.write
    units = submit_all(writer, write, range(MAX_UNITS_PER_COMMIT + 5))
    held.release()
    wait(units)
    assert [len(call) for call in book.calls] == [MAX_UNITS_PER_COMMIT, 5]


def test_handlers_of_one_batch_commit_together(writer: Writer, database: sa.Engine) -> None:
    first, second, held = Book(), Book(), Held(writer)
    write_first, write_second = first.write, second.write
    units = [
        writer.submit(write_first, 1),
        writer.submit(write_second, 2),
        writer.submit(write_first, 3),
        writer.submit(write_second, 4),
    ]
    held.release()
    assert [unit.result() for unit in units] == [10, 20, 30, 40]
    assert (first.calls, second.calls) == ([[1, 3]], [[2, 4]])
    assert stored(database) == [1, 2, 3, 4]


def test_failing_unit_is_taken_out_alone(writer: Writer, database: sa.Engine) -> None:
    book, other, held = Book(), Book(), Held(writer)
    write = book.write
    units = submit_all(writer, write, [1, 2, 2, 3])
    neighbour = writer.submit(other.write, 4)
    held.release()
    assert errors_of(units) == [None, None, sa.exc.IntegrityError, None]
    assert neighbour.result() == 40
    assert stored(database) == [1, 2, 3, 4]
    one_by_one = [[1], [2], [2], [3]]
    if database.dialect.name == "postgresql":  # another process might have been at it: once more as it was
        one_by_one = [[1, 2, 2, 3], [1], [2], [2], [2], [3]]
    assert book.calls == [[1, 2, 2, 3], *one_by_one]


def test_unit_may_fail_without_undoing_the_batch(writer: Writer, database: sa.Engine) -> None:
    calls: list[list[int]] = []

    def only_odd(connection: sa.Connection, numbers: Sequence[int]) -> list[int | Exception]:
        calls.append(list(numbers))
        odd = [number for number in numbers if number % 2]
        connection.execute(sa.insert(lines), [{"number": number} for number in odd])
        return [number if number % 2 else ValueError(str(number)) for number in numbers]

    held = Held(writer)
    units = [writer.submit(only_odd, number) for number in (1, 2, 3)]
    held.release()
    assert errors_of(units) == [None, ValueError, None]
    assert calls == [[1, 2, 3]]
    assert stored(database) == [1, 3]


def test_wrong_number_of_results_hurts_only_that_handler(writer: Writer, database: sa.Engine) -> None:
    def forgetful(connection: sa.Connection, numbers: Sequence[int]) -> list[int]:
        connection.execute(sa.insert(lines), [{"number": number} for number in numbers])
        return []

    held = Held(writer)
    units = [writer.submit(forgetful, 1), writer.submit(forgetful, 2)]
    neighbour = writer.submit(Book().write, 3)
    held.release()
    assert errors_of(units) == [ValueError, ValueError]
    assert neighbour.result() == 30
    assert stored(database) == [3]


def test_failed_commit_answers_everybody(writer: Writer, database: sa.Engine) -> None:
    commits: list[None] = []
    writer.on_commit(lambda: commits.append(None))
    book, held = Book(), Held(writer)
    units = submit_all(writer, book.write, [1, 2])
    everybody: list[Future[int] | Future[None]] = [held.unit, *units]

    def refuse(_connection: sa.Connection) -> None:
        raise OSError("disk full")

    sa.event.listen(database, "commit", refuse)
    held.release()
    errors = errors_of(everybody)
    sa.event.remove(database, "commit", refuse)
    assert errors == [OSError, OSError, OSError]
    assert (stored(database), commits) == ([], [])
    assert writer.submit(book.write, 3).result() == 30  # and goes on
    assert stored(database) == [3]


def test_lost_transaction_answers_everybody(writer: Writer, database: sa.Engine) -> None:
    """The whole transaction goes, not just a statement: nobody may be told that their work was written."""

    def lose(connection: sa.Connection, numbers: Sequence[int]) -> list[int]:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("ROLLBACK")
        else:
            with database.connect() as other:
                pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
                other.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)")
        connection.execute(sa.insert(lines), [{"number": number} for number in numbers])
        raise RuntimeError("lost")

    book, held = Book(), Held(writer)
    before, lost, after = writer.submit(book.write, 1), writer.submit(lose, 2), writer.submit(Book().write, 3)
    held.release()
    assert None not in errors_of([before, lost, after])
    assert set(stored(database)) <= {2}
    assert writer.submit(book.write, 4).result() == 40


def test_close_writes_what_is_queued_and_takes_no_more(writer: Writer, database: sa.Engine) -> None:
    book, held = Book(), Held(writer)
    write = book.write
    units = submit_all(writer, write, range(MAX_UNITS_PER_COMMIT + 1))
    closing = threading.Thread(target=writer.close)
    closing.start()
    held.release()
    closing.join()
    assert all(unit.done() and unit.exception() is None for unit in units)
    assert len(stored(database)) == MAX_UNITS_PER_COMMIT + 1
    with pytest.raises(WriterClosed):
        writer.submit(write, -1)
    writer.close()


def test_cancelled_unit_is_taken_out_and_the_committer_lives(writer: Writer, database: sa.Engine) -> None:
    book, held = Book(), Held(writer)
    write = book.write
    kept, cancelled = submit_all(writer, write, [1, 2])
    assert cancelled.cancel()
    held.release()
    assert kept.result() == 10
    assert writer.submit(write, 3).result() == 30
    assert stored(database) == [1, 3]


def test_cancelled_caller_does_not_take_the_unit_back(writer: Writer, database: sa.Engine) -> None:
    async def main() -> None:
        held = Held(writer)
        task = asyncio.create_task(writer.write(Book().write, 1))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        held.release()
        assert await writer.write(Book().write, 2) == 20

    asyncio.run(main())
    assert stored(database) == [1, 2]


def test_failing_callback_does_not_stop_the_committer(writer: Writer, database: sa.Engine) -> None:
    def broken() -> None:
        raise RuntimeError("the loop is closed")

    commits: list[None] = []
    writer.on_commit(broken)
    writer.on_commit(lambda: commits.append(None))
    book = Book()
    assert writer.submit(book.write, 1).result() == 10
    assert writer.submit(book.write, 2).result() == 20
    writer.close()
    assert len(commits) == 2


def test_lone_changes(writer: Writer, database: sa.Engine) -> None:
    def add(number: int) -> Callable[[sa.Connection], str]:
        def work(connection: sa.Connection) -> str:
            connection.execute(sa.insert(lines).values(number=number))
            return f"line {number}"

        return work

    async def main() -> list[str | BaseException]:
        held = Held(writer)
        changes = [asyncio.create_task(writer.change(add(number))) for number in (1, 2, 2, 3)]
        await asyncio.sleep(0)
        held.release()
        return await asyncio.gather(*changes, return_exceptions=True)

    first, second, third, fourth = asyncio.run(main())
    assert (first, second, fourth) == ("line 1", "line 2", "line 3")
    assert isinstance(third, sa.exc.IntegrityError)
    assert stored(database) == [1, 2, 3]
