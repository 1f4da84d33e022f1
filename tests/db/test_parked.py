"""The list of parked deliveries, on both databases."""

from typing import Any

import pytest
import sqlalchemy as sa

from bellwire.db.attempts import AttemptRecord, append_attempts
from bellwire.db.outbox import OutboxRow, State, enqueue_rows
from bellwire.db.parked import (
    DiscardRefused,
    ParkedFilters,
    count_parked,
    discard_parked,
    lanes_of,
    list_parked,
    load_parked,
)
from bellwire.db.tables import app_user_ids, attempts, customers, outbox, projects
from tests.db.test_replays import add_event, add_integration

NOW = 1_000_000
NOTHING = ParkedFilters()


@pytest.fixture
def connection(engine: sa.Engine) -> Any:
    """Events 1 to 8 parked in two lanes, 9 waits; project q has one parked of its own."""
    with engine.begin() as opened:
        for project in ("p", "q"):
            opened.execute(sa.insert(projects).values(id=project, name=project, settings="{}", created_at_ms=0))
        for name, project in (("lane", "p"), ("other", "p"), ("theirs", "q")):
            add_integration(opened, name, project)
        for number in range(1, 10):
            add_event(opened, number)
            park(opened, "lane" if number % 2 else "other", number)
        add_event(opened, 21, project_id="q")
        park(opened, "theirs", 21)
        opened.execute(sa.update(outbox).where(outbox.c.event_seq == 9).values(state=State.DUE.value))
        yield opened


def park(connection: sa.Connection, lane: str, number: int) -> None:
    row = OutboxRow(integration_id=lane, event_seq=number, customer_id=1 + number % 10, created_at_ms=5)
    enqueue_rows(connection, [row])
    connection.execute(sa.update(outbox).where(outbox.c.event_seq == number).values(state=State.PARKED.value))
    for attempt, status_code in ((1, 503), (2, 400)):
        record = AttemptRecord(
            project_id="p",
            integration_id=lane,
            event_seq=number,
            event_id=f"E{number}",
            event_type="RENEWAL",
            app_user_id="user",
            environment="PRODUCTION",
            attempt=attempt,
            trigger="automatic",
            outcome="rejected",
            reason=f"status {status_code}",
            status_code=status_code,
            started_at_ms=number * 10 + attempt,
            parked=attempt == 2,
        )
        append_attempts(connection, [record])


def seqs(connection: sa.Connection, filters: ParkedFilters = NOTHING, **more: Any) -> list[int]:
    return [one.event_seq for one in list_parked(connection, "p", filters, **more)]


def ids(connection: sa.Connection, *numbers: int) -> list[int]:
    query = sa.select(outbox.c.id).where(outbox.c.event_seq.in_(numbers)).order_by(outbox.c.event_seq)
    return list(connection.execute(query).scalars())


def test_the_list_says_why(connection: sa.Connection) -> None:
    assert seqs(connection) == [8, 7, 6, 5, 4, 3, 2, 1]
    newest = list_parked(connection, "p", NOTHING)[0]
    assert (newest.event_id, newest.attempts, newest.reason, newest.status_code) == ("E8", 2, "status 400", 400)
    assert newest.last_attempt_at_ms == 82
    assert load_parked(connection, "p", newest.id) == newest
    assert count_parked(connection, "p") == {"lane": 4, "other": 4}


def test_pages_and_filters(connection: sa.Connection) -> None:
    first = list_parked(connection, "p", NOTHING, limit=3)
    assert [one.event_seq for one in first] == [8, 7, 6]
    assert seqs(connection, after=first[-1].id, limit=3) == [5, 4, 3]
    assert seqs(connection, ParkedFilters(integration_id="lane")) == [7, 5, 3, 1]
    assert seqs(connection, ParkedFilters(event_type="EXPIRATION")) == [8, 6, 4, 2]
    assert seqs(connection, ParkedFilters(environment="SANDBOX")) == [5]
    connection.execute(
        sa.insert(customers).values(
            id=4, project_id="p", original_app_user_id="user-4", first_seen_ms=0, last_seen_ms=0, next_sequence=1
        )
    )
    connection.execute(
        sa.insert(app_user_ids).values(
            project_id="p", app_user_id="user-4", customer_id=4, first_seen_ms=0, last_seen_ms=0
        )
    )
    assert seqs(connection, ParkedFilters(customer="user-4")) == [3]
    assert seqs(connection, ParkedFilters(customer="nobody")) == []


def test_it_is_still_listed_when_its_attempts_have_aged_out(connection: sa.Connection) -> None:
    connection.execute(sa.delete(attempts))
    newest = list_parked(connection, "p", NOTHING)[0]
    assert (newest.event_seq, newest.reason, newest.attempts) == (8, None, None)


def test_discarding_says_who_and_why_in_the_log(connection: sa.Connection) -> None:
    with pytest.raises(DiscardRefused):
        discard_parked(connection, "p", ids(connection, 1), reason=" \n ", by="ada", now_ms=NOW)
    gone = discard_parked(connection, "p", ids(connection, 1, 2, 9), reason="test data", by="ada", now_ms=NOW)
    assert len(gone) == 2
    assert seqs(connection) == [8, 7, 6, 5, 4, 3]
    last = connection.execute(
        sa.select(attempts).where(attempts.c.event_seq == 1).order_by(attempts.c.id.desc())
    ).first()
    assert last is not None
    assert (last.outcome, last.reason, last.trigger, last.attempt) == (
        "skipped",
        "Discarded by ada: test data",
        "manual",
        3,
    )
    assert discard_parked(connection, "p", gone, reason="again", by="ada", now_ms=NOW) == []


def test_another_project_reaches_none_of_them(connection: sa.Connection) -> None:
    mine = ids(connection, 1, 2)
    assert lanes_of(connection, "p", [*mine, 12345]) == {"lane": [mine[0]], "other": [mine[1]]}
    assert lanes_of(connection, "q", mine) == {}
    assert load_parked(connection, "q", mine[0]) is None
    assert discard_parked(connection, "q", mine, reason="no", by="eve", now_ms=NOW) == []
    assert list_parked(connection, "q", ParkedFilters(integration_id="lane")) == []
    assert len(seqs(connection)) == 8
