"""Ranges of ids are ranges of time: on PostgreSQL rows lie in partitions that can be dropped."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from bellwire.db.attempts import AttemptRecord, append_attempt
from bellwire.db.partitions import AHEAD, ATTEMPTS, PARTITIONED, Ranges, attached, prepare
from bellwire.db.tables import attempts
from bellwire.kit import ids

NOW = datetime.now(UTC)
NOW_MS = int(NOW.timestamp() * 1000)
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
    started_at_ms=NOW_MS,
)


@pytest.fixture
def postgresql(engine: sa.Engine) -> sa.Engine:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no partitions")
    return engine


def rows_of(engine: sa.Engine, table: str) -> int:
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(sa.table(table))).scalar_one()


def test_ids_and_times() -> None:
    moment = ids.row_id_at(NOW_MS)
    assert ids.row_id_ms(moment) == ids.row_id_ms(moment + 2**22 - 1) == NOW_MS
    assert ids.row_id_ms(moment + 2**22) == NOW_MS + 1
    assert ids.row_id_at(NOW_MS + 5) - ids.row_id_at(NOW_MS) == ids.row_id_span(5)
    assert ids.row_id_at(0) == 0
    assert ids.row_id_ms(ids.new_row_id()) >= NOW_MS


@pytest.mark.parametrize("ranges", PARTITIONED, ids=lambda ranges: ranges.table)
def test_ranges_follow_each_other(ranges: Ranges) -> None:
    begin = ranges.begin(datetime(2027, 12, 30, 23, 59, tzinfo=UTC))
    names = set()
    for _ in range(100):
        after = ranges.after(begin)
        assert ranges.begin(after) == after > begin
        assert ranges.begin(after - timedelta(milliseconds=1)) == begin
        names.add(ranges.name(begin))
        begin = after
    assert len(names) == 100


def test_a_database_without_partitions_needs_no_preparing(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        assert prepare(engine, NOW_MS) == []


def test_rows_find_their_partition_before_and_after_it_is_made(postgresql: sa.Engine) -> None:
    with postgresql.begin() as connection:
        first = append_attempt(connection, RECORD)
    today = ATTEMPTS.name(ATTEMPTS.begin(NOW))
    assert rows_of(postgresql, ATTEMPTS.default) == 1
    made = prepare(postgresql, NOW_MS)
    assert today in made
    assert ATTEMPTS.name(ATTEMPTS.begin(NOW + AHEAD)) in made
    with postgresql.begin() as connection:
        second = append_attempt(connection, RECORD)
        assert list(connection.execute(sa.select(attempts.c.id).order_by(attempts.c.id)).scalars()) == [first, second]
        assert attached(connection, ATTEMPTS) >= {ATTEMPTS.default, today}
    assert (rows_of(postgresql, ATTEMPTS.default), rows_of(postgresql, today)) == (0, 2)
    assert prepare(postgresql, NOW_MS) == []


def test_partitions_of_the_past_are_made_when_asked_for(postgresql: sa.Engine) -> None:
    prepare(postgresql, NOW_MS)
    made = prepare(postgresql, NOW_MS, since_ms=NOW_MS - 3 * 86_400_000)
    assert [name for name in made if name.startswith(ATTEMPTS.table)] == [
        ATTEMPTS.name(ATTEMPTS.begin(NOW - timedelta(days=days))) for days in (3, 2, 1)
    ]


def test_several_processes_prepare_at_once(postgresql: sa.Engine) -> None:
    made: list[list[str]] = []
    threads = [threading.Thread(target=lambda: made.append(prepare(postgresql, NOW_MS))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(bool, made)) == [False, False, True]


def test_preparing_keeps_no_writer_waiting(postgresql: sa.Engine) -> None:
    """CREATE TABLE ... PARTITION OF would have waited for this transaction, and everybody else behind it."""
    prepare(postgresql, NOW_MS)
    with postgresql.begin() as writing:
        append_attempt(writing, RECORD)
        assert len(prepare(postgresql, NOW_MS + 86_400_000)) >= 1
