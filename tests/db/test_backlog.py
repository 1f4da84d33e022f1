"""What metrics say of queues, on both databases."""

import sqlalchemy as sa

from bellwire.db.backlog import LaneBacklog, ReplayProgress, load_backlog
from bellwire.db.inbox import InboxEntry, append_entries
from bellwire.db.outbox import State
from bellwire.db.projects import create_project
from bellwire.db.tables import integrations, outbox, replays


def row(number: int, lane: str, state: State, *, late: bool = False, due_at_ms: int = 0) -> dict[str, object]:
    return {
        "integration_id": lane,
        "event_seq": number,
        "customer_id": number,
        "state": state.value,
        "attempt": int(late),
        "manual": False,
        "late": late,
        "due_at_ms": due_at_ms,
        "created_at_ms": 0,
    }


def test_lanes(engine: sa.Engine) -> None:
    rows = [
        row(1, "a", State.DUE, due_at_ms=500),
        row(2, "a", State.DUE, due_at_ms=400),
        row(3, "a", State.DUE, late=True, due_at_ms=300),
        row(4, "a", State.LEASED, due_at_ms=100),
        row(5, "a", State.PARKED, late=True, due_at_ms=50),
        row(1, "b", State.PARKED, due_at_ms=10),
        row(1, "elsewhere", State.DUE),
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(outbox), rows)
        found = load_backlog(connection, ["a", "b", "c"], now_ms=1000)
    assert found.lanes == [
        LaneBacklog(integration_id="a", fresh=2, late=1, leased=1, parked=1, oldest_due_ms=300),
        LaneBacklog(integration_id="b", fresh=0, late=0, leased=0, parked=1, oldest_due_ms=None),
        LaneBacklog(integration_id="c", fresh=0, late=0, leased=0, parked=0, oldest_due_ms=None),
    ]


def test_inbox(engine: sa.Engine) -> None:
    def entry(number: int, status: str, next_attempt_at_ms: int | None) -> InboxEntry:
        return InboxEntry(
            id=number,
            project_id="p",
            app_id="a",
            store="play_store",
            kind="notification",
            dedup_key=str(number),
            received_at_ms=0,
            body=b"",
            status=status,
            next_attempt_at_ms=next_attempt_at_ms,
        )

    with engine.begin() as connection:
        assert load_backlog(connection, [], now_ms=1000).inbox_oldest_due_ms is None
        append_entries(connection, [entry(1, "received", 900), entry(2, "received", 700), entry(3, "processed", None)])
        found = load_backlog(connection, [], now_ms=1000)
    assert (found.inbox_open, found.inbox_oldest_due_ms) == (2, 700)


def test_replays(engine: sa.Engine) -> None:
    def replay(name: str, integration_id: str, ended_at_ms: int | None = None) -> dict[str, object]:
        return {
            "id": name,
            "project_id": "p",
            "integration_id": integration_id,
            "selection": "{}",
            "status": "running",
            "total": 100,
            "cursor": 0,
            "last": 0,
            "enqueued": 20,
            "passed_over": 5,
            "delivered": 7,
            "created_by": "test",
            "created_at_ms": 0,
            "ended_at_ms": ended_at_ms,
        }

    with engine.begin() as connection:
        project = create_project(connection, name="P", now_ms=0)
        for name in ("a", "b"):
            connection.execute(
                sa.insert(integrations).values(
                    id=name,
                    project_id=project.id,
                    destination="webhook",
                    name=name,
                    settings="{}",
                    sealed_secrets=b"",
                    enabled=True,
                    concurrency=1,
                    created_at_ms=0,
                )
            )
        made = [replay("1", "a"), replay("2", "a"), replay("3", "a", 9), replay("4", "b", 9)]
        connection.execute(sa.insert(replays), [one | {"project_id": project.id} for one in made])
        found = load_backlog(connection, ["a", "b"], now_ms=1000)
    assert found.replays == {"a": ReplayProgress(selected=200, put_out=50, delivered=14)}
