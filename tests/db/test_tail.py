"""Events in the order of their commits, of one project, and single attempts."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from bellwire.db.attempts import AttemptRecord, append_attempt
from bellwire.db.projects import create_project
from bellwire.db.tables import events
from bellwire.db.tail import events_after, latest_events, latest_seq, load_attempt
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
    assert latest_seq(connection) == 0
    for number in range(5):
        commit(connection, project_id, EventType.RENEWAL, f"r{number}")
        commit(connection, other, EventType.RENEWAL, f"t{number}")
    commit(connection, project_id, EventType.EXPIRATION, "e")

    last = latest_events(connection, project_id, limit=3)
    assert [one.payload for one in last] == [b"r3", b"r4", b"e"]
    renewals = latest_events(connection, project_id, types=[EventType.RENEWAL], limit=2)
    assert [one.payload for one in renewals] == [b"r3", b"r4"]
    assert [one.payload for one in events_after(connection, project_id, last[0].seq)] == [b"r4", b"e"]
    assert [one.payload for one in events_after(connection, project_id, 0, limit=2)] == [b"r0", b"r1"]
    expirations = events_after(connection, project_id, 0, types=[EventType.EXPIRATION])
    assert [one.payload for one in expirations] == [b"e"]
    assert events_after(connection, project_id, latest_seq(connection)) == []


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
