"""What metrics say of queues, on both databases."""

import sqlalchemy as sa

from bellwire.db.backlog import LaneBacklog, load_backlog
from bellwire.db.inbox import InboxEntry, append_entries
from bellwire.db.outbox import State
from bellwire.db.tables import outbox


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
        found = load_backlog(connection, ["a", "b", "c"])
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
        assert load_backlog(connection, []).inbox_oldest_due_ms is None
        append_entries(connection, [entry(1, "received", 900), entry(2, "received", 700), entry(3, "processed", None)])
        found = load_backlog(connection, [])
    assert (found.inbox_open, found.inbox_oldest_due_ms) == (2, 700)
