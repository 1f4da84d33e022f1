"""What is old goes, what is not stays, and nobody who writes is kept waiting; on both databases."""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest
import sqlalchemy as sa

from bellwire.db import aging, retention
from bellwire.db.aging import DAY_MS, Policy, bodies_since_ms, survey
from bellwire.db.attempts import AttemptRecord, append_attempt
from bellwire.db.inbox import InboxEntry, append_entries
from bellwire.db.partitions import ATTEMPTS, INBOX_BODIES, attached, moment, prepare
from bellwire.db.projects import create_project
from bellwire.db.retention import Retention, Round
from bellwire.db.tables import attempts, inbox, inbox_bodies, notices, sessions
from bellwire.db.users import create_session, create_user
from bellwire.db.writer import Writer
from bellwire.kit.clock import ManualClock
from bellwire.kit.ids import row_id_at

NOW = 1_790_000_000_000
POLICY = Policy(attempts_ms=30 * DAY_MS, bodies_ms=60 * DAY_MS)
RECORD = AttemptRecord(
    project_id="proj1",
    integration_id="intg1",
    event_seq=1,
    event_id="e",
    event_type="RENEWAL",
    app_user_id=None,
    environment=None,
    attempt=1,
    trigger="automatic",
    outcome="delivered",
    reason="",
    started_at_ms=NOW,
    request_body=b"x" * 800,
)


class Store:
    """A database at a time of its own, filled as delivery and ingest do."""

    def __init__(self, engine: sa.Engine, writer: Writer) -> None:
        self.engine = engine
        self.writer = writer
        self.clock = ManualClock(NOW)
        self._count = 0

    def attempts(self, count: int, at_ms: int) -> None:
        first = row_id_at(at_ms)
        rows = [
            msgspec.structs.asdict(RECORD) | {"id": first + self._next(), "started_at_ms": at_ms} for _ in range(count)
        ]
        with self.engine.begin() as connection:
            connection.execute(sa.insert(attempts), rows)

    def messages(self, count: int, at_ms: int) -> None:
        first = row_id_at(at_ms)
        entries = [
            InboxEntry(
                id=first + number,
                project_id="proj1",
                app_id="app1",
                store="APP_STORE",
                kind="notification",
                dedup_key=f"key-{number}",
                received_at_ms=at_ms,
                body=b"x" * 1500,
                status="processed",
            )
            for number in (self._next() for _ in range(count))
        ]
        with self.engine.begin() as connection:
            append_entries(connection, entries)

    def _next(self) -> int:
        self._count += 1
        return self._count

    def count(self, table: sa.Table) -> int:
        with self.engine.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()

    def round(self, policy: Policy = POLICY) -> Round:
        done = asyncio.run(Retention(self.engine, self.writer, self.clock, policy).round())
        assert done is not None
        return done

    def bytes(self) -> int:
        """What both tables take on disk; on SQLite the whole file."""
        with self.engine.connect() as connection:
            if self.engine.dialect.name == "sqlite":
                pages: int = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
                return pages * 4096
            return sum(share.bytes or 0 for share in survey(connection, POLICY, NOW))


@pytest.fixture
def store(engine: sa.Engine) -> Iterator[Store]:
    writer = Writer(engine)
    yield Store(engine, writer)
    writer.close()


def test_old_attempts_and_bodies_go_and_the_inbox_stays(store: Store) -> None:
    prepare(store.engine, NOW, since_ms=NOW - 120 * DAY_MS)
    for days in (100, 40, 29, 0):
        store.attempts(50, NOW - days * DAY_MS)
        store.messages(50, NOW - days * DAY_MS)
    store.round()
    assert (store.count(attempts), store.count(inbox_bodies), store.count(inbox)) == (100, 150, 200)
    assert store.round() == Round(rows={}, dropped=[], put_off=[])


def test_what_is_kept_for_ever_stays(store: Store) -> None:
    store.attempts(5, NOW - 900 * DAY_MS)
    store.messages(5, NOW - 900 * DAY_MS)
    store.round(Policy.of_days(attempts=0, bodies=0))
    assert (store.count(attempts), store.count(inbox_bodies)) == (5, 5)


def test_what_lies_in_no_range_of_time_goes_too(store: Store) -> None:
    """A clock that was far off, or rows from before there were partitions."""
    store.attempts(300, NOW - 500 * DAY_MS)
    store.attempts(3, NOW + 5_000 * DAY_MS)
    assert sum(store.round().rows.values()) == 300
    assert store.count(attempts) == 3


def test_sessions_and_notices_come_to_an_end(store: Store) -> None:
    with store.engine.begin() as connection:
        project_id = create_project(connection, name="Ours", now_ms=NOW).id
        user = create_user(connection, email="a@example.com", password_hash="x", now_ms=NOW)
        create_session(connection, user.id, now_ms=NOW, lifetime_ms=1_000)
        create_session(connection, user.id, now_ms=NOW, lifetime_ms=DAY_MS)
        common = {"project_id": project_id, "kind": "unknown_product", "message": "", "count": 1, "first_seen_ms": 0}
        connection.execute(
            sa.insert(notices),
            [
                common | {"subject": "old", "last_seen_ms": NOW - 91 * DAY_MS},
                common | {"subject": "new", "last_seen_ms": NOW - 89 * DAY_MS},
            ],
        )
    store.clock.set_ms(NOW + 2_000)
    assert store.round().rows == {"sessions": 1, "notices": 1}
    assert (store.count(sessions), store.count(notices)) == (1, 1)


def test_storage_levels_off(store: Store) -> None:
    """The short form of `bench.soak`: half a year in a few seconds, with the same load each day."""
    sizes = []
    for _ in range(30):
        store.clock.advance_ms(6 * DAY_MS)
        store.round()
        store.attempts(200, store.clock.now_ms())
        store.messages(100, store.clock.now_ms())
        with store.engine.begin() as connection:
            connection.execute(sa.delete(inbox))  # which is kept for ever, and would hide the rest
        sizes.append(store.bytes())
    assert max(sizes[20:]) <= 1.1 * max(sizes[10:20])
    assert store.count(attempts) <= 200 * 7


def test_others_are_served_between_the_batches(store: Store) -> None:
    store.attempts(2_000, NOW - 60 * DAY_MS)
    batches = 0
    served = 0

    def tell(_table: str, _rows: int) -> None:
        nonlocal batches
        batches += 1

    async def scene() -> None:
        nonlocal served
        done = asyncio.create_task(Retention(store.engine, store.writer, store.clock, POLICY).round(tell))
        while not done.done():
            await store.writer.change(lambda connection: append_attempt(connection, RECORD))
            served += 1
        await done

    asyncio.run(scene())
    assert batches > 2
    assert served > batches
    assert store.count(attempts) == served


def test_survey_tells_what_would_go(store: Store) -> None:
    prepare(store.engine, NOW, since_ms=NOW - 70 * DAY_MS)
    store.attempts(7, NOW - 40 * DAY_MS)
    store.attempts(2, NOW)
    store.messages(3, NOW - 61 * DAY_MS)
    with store.engine.begin() as connection:
        if store.engine.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE")
        shares = {share.table: share for share in survey(connection, POLICY, NOW)}
    first = shares["attempts"]
    assert (first.old_rows, first.oldest_ms, first.kept_ms) == (7, NOW - 40 * DAY_MS, 30 * DAY_MS)
    if store.engine.dialect.name == "postgresql":
        assert first.old_partitions[-1] == ATTEMPTS.name(ATTEMPTS.begin(moment(NOW - 31 * DAY_MS)))
        assert first.bytes
    else:
        assert shares["inbox_bodies"].old_rows == 3


def test_how_far_back_the_bytes_of_the_inbox_reach(store: Store) -> None:
    with store.engine.connect() as connection:
        assert bodies_since_ms(connection) is None
    store.messages(3, NOW - 200 * DAY_MS)
    store.messages(3, NOW)
    with store.engine.connect() as connection:
        assert bodies_since_ms(connection) is None
    store.round()
    with store.engine.connect() as connection:
        since_ms = bodies_since_ms(connection)
    assert since_ms is not None
    assert NOW - 200 * DAY_MS < since_ms <= NOW


@pytest.fixture
def postgresql(store: Store) -> Store:
    if store.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no partitions")
    return store


def test_whole_partitions_are_dropped(postgresql: Store) -> None:
    prepare(postgresql.engine, NOW, since_ms=NOW - 100 * DAY_MS)
    postgresql.attempts(10, NOW - 50 * DAY_MS)
    done = postgresql.round()
    assert done.rows == {}
    assert ATTEMPTS.name(ATTEMPTS.begin(moment(NOW - 50 * DAY_MS))) in done.dropped
    with postgresql.engine.connect() as connection:
        assert len(attached(connection, ATTEMPTS)) == 1 + 31 + 7
        assert INBOX_BODIES.default in attached(connection, INBOX_BODIES)


def test_partition_that_is_in_use_is_put_off_and_writers_go_on(
    postgresql: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_DETACH_TRIES", 2)
    monkeypatch.setattr(retention, "_DETACH_PAUSE_S", 0.0)
    prepare(postgresql.engine, NOW, since_ms=NOW - 31 * DAY_MS)
    with postgresql.engine.connect() as reading:
        reading.execute(sa.select(attempts.c.id)).all()
        done = postgresql.round()
        assert len(done.put_off) == 1
        with postgresql.engine.begin() as writing:
            append_attempt(writing, RECORD)
    assert postgresql.round().dropped == done.put_off


def test_partition_left_behind_by_a_process_that_was_killed_is_dropped(postgresql: Store) -> None:
    prepare(postgresql.engine, NOW, since_ms=NOW - 40 * DAY_MS)
    with postgresql.engine.begin() as connection:
        ranges, name = aging.old_partitions(connection, POLICY, NOW)[0]
        aging.detach(connection, ranges, name)
    assert name in postgresql.round().dropped
    assert not sa.inspect(postgresql.engine).has_table(name)


def test_one_process_at_a_time(postgresql: Store) -> None:
    turn = Retention(postgresql.engine, postgresql.writer, postgresql.clock, POLICY)
    other = Retention(postgresql.engine, postgresql.writer, postgresql.clock, POLICY)
    held = turn._take_turn()
    assert held is not None
    assert asyncio.run(other.round()) is None
    held.close()
    assert asyncio.run(other.round()) is not None


def test_cleaning_of_hot_tables_does_not_wait_for_a_fifth_of_them(postgresql: Store) -> None:
    with postgresql.engine.connect() as connection:
        options: list[str] = connection.exec_driver_sql(
            "SELECT reloptions FROM pg_class WHERE relname = 'outbox'"
        ).scalar_one()
    assert "autovacuum_vacuum_scale_factor=0.01" in options
