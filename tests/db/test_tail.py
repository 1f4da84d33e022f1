"""Events in the order of their commits, of one project, and single attempts."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from bellwire.db.attempts import AttemptRecord, append_attempt
from bellwire.db.projects import create_project
from bellwire.db.tables import events
from bellwire.db.tail import TailCursor, events_after, latest_events, load_attempt, start_tail
from bellwire.model.enums import EventType

NOW = 1_700_000_000_000


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.begin() as opened:
        yield opened


@pytest.fixture
def project_id(connection: sa.Connection) -> str:
    return create_project(connection, name="Ours", now_ms=NOW).id


def commit(connection: sa.Connection, project_id: str, kind: EventType, event_id: str) -> None:
    connection.execute(
        sa.insert(events).values(
            id=event_id,
            project_id=project_id,
            customer_id=1,
            type=kind.value,
            event_timestamp_ms=NOW,
            committed_at_ms=NOW,
            dispatched=True,
            historical=False,
            payload=event_id.encode(),
        )
    )


def test_events_of_a_project_in_order(connection: sa.Connection, project_id: str) -> None:
    other = create_project(connection, name="Theirs", now_ms=NOW).id
    assert start_tail(connection, project_id) == TailCursor(0, frozenset())
    for number in range(5):
        commit(connection, project_id, EventType.RENEWAL, f"r{number}")
        commit(connection, other, EventType.RENEWAL, f"t{number}")
    commit(connection, project_id, EventType.EXPIRATION, "e")

    last = latest_events(connection, project_id, limit=3)
    assert [one.payload for one in last] == [b"r3", b"r4", b"e"]
    renewals = latest_events(connection, project_id, types=[EventType.RENEWAL], limit=2)
    assert [one.payload for one in renewals] == [b"r3", b"r4"]
    start = TailCursor(0, frozenset())
    news, cursor = events_after(connection, project_id, start, limit=2)
    assert [one.payload for one in news] == [b"r0", b"r1"]
    news, cursor = events_after(connection, project_id, cursor)
    assert [one.payload for one in news] == [b"r2", b"r3", b"r4", b"e"]
    assert events_after(connection, project_id, cursor) == ([], cursor)
    assert cursor == start_tail(connection, project_id)
    expirations, _ = events_after(connection, project_id, start, types=[EventType.EXPIRATION])
    assert [one.payload for one in expirations] == [b"e"]


def test_event_that_commits_later_with_a_lower_number_is_not_missed(engine: sa.Engine) -> None:
    """Two processes on PostgreSQL: the one that drew its number first commits last. On SQLite writers take turns."""
    if engine.dialect.name == "sqlite":
        pytest.skip("one writer at a time")
    with engine.begin() as setup:
        project_id = create_project(setup, name="Ours", now_ms=NOW).id
    with engine.connect() as slow, engine.connect() as quick, engine.connect() as reading:
        commit(slow, project_id, EventType.RENEWAL, "slow")
        commit(quick, project_id, EventType.RENEWAL, "quick")
        quick.commit()
        news, cursor = events_after(reading, project_id, start_tail(slow, "projnone"))
        assert [one.payload for one in news] == [b"quick"]
        reading.rollback()
        slow.commit()
        news, cursor = events_after(reading, project_id, cursor)
        assert [one.payload for one in news] == [b"slow"]
        assert events_after(reading, project_id, cursor) == ([], cursor)


def test_attempt_of_a_project(connection: sa.Connection, project_id: str) -> None:
    record = AttemptRecord(
        project_id=project_id,
        integration_id="intg1",
        event_seq=0,
        event_id="e",
        event_type="TEST",
        app_user_id=None,
        environment=None,
        attempt=1,
        trigger="test",
        outcome="delivered",
        reason="",
        started_at_ms=NOW,
        response_body=b"\x00\xff",
    )
    attempt_id = append_attempt(connection, record)
    assert load_attempt(connection, project_id, attempt_id) == record
    assert load_attempt(connection, "projnone", attempt_id) is None
    assert load_attempt(connection, project_id, attempt_id + 1) is None
