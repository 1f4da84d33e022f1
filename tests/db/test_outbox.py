"""Queue, claim, settle: on both databases, against tables only."""

from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from bellwire.db.outbox import (
    Fence,
    Held,
    Later,
    OutboxRow,
    State,
    enqueue_rows,
    enqueues_of_this_process,
    finish,
    forget_the_future,
    release,
    release_expired,
    requeue,
    reschedule,
)
from bellwire.db.outbox_claim import YOUNG_MS, Claimed, LaneClaim, LaneRoom, claim_due, load_claimed
from bellwire.db.tables import events, integrations, outbox, projects

ALL = LaneRoom(rows=100, late=100, order_wait_ms=60_000)
NOW = 1_000_000
F1, F2 = Fence(11), Fence(22)


@pytest.fixture
def connection(engine: sa.Engine) -> Any:
    with engine.begin() as opened:
        opened.execute(sa.insert(projects).values(id="p", name="P", settings="{}", created_at_ms=0))
        for name in ("lane", "other"):
            add_integration(opened, name)
        for number in range(1, 30):
            opened.execute(
                sa.insert(events).values(
                    seq=number,
                    id=f"E{number}",
                    project_id="p",
                    customer_id=number,
                    type="RENEWAL",
                    event_timestamp_ms=0,
                    committed_at_ms=0,
                    dispatched=True,
                    historical=False,
                    payload=b"{%d}" % number,
                )
            )
        yield opened


def add_integration(connection: sa.Connection, name: str) -> None:
    connection.execute(
        sa.insert(integrations).values(
            id=name,
            project_id="p",
            destination="webhook",
            name=name,
            settings="{}",
            sealed_secrets=b"",
            enabled=True,
            concurrency=1,
            created_at_ms=0,
        )
    )


def queue(connection: sa.Connection, *numbers: int, lane: str = "lane", customer_id: int | None = None) -> None:
    enqueue_rows(
        connection,
        [
            OutboxRow(
                integration_id=lane, event_seq=number, customer_id=customer_id or number, created_at_ms=NOW - 1000
            )
            for number in numbers
        ],
    )


def claim(
    connection: sa.Connection, *, room: LaneRoom = ALL, fence: Fence = F1, now_ms: int = NOW, **rooms: LaneRoom
) -> dict[str, LaneClaim]:
    return claim_due(
        connection,
        {"lane": room, "other": room} | rooms,
        room_of_deleted=ALL,
        now_ms=now_ms,
        fence=fence,
        lease_until_ms=now_ms + 5000,
    )


def numbers(rows: Sequence[Claimed]) -> list[int]:
    return [row.event_seq for row in rows]


def held(row: Claimed) -> Held:
    return Held(row.id, row.fence)


def states(connection: sa.Connection) -> list[tuple[int, int, int]]:
    query = sa.select(outbox.c.event_seq, outbox.c.state, outbox.c.attempt).order_by(outbox.c.event_seq)
    return [(row.event_seq, row.state, row.attempt) for row in connection.execute(query)]


def test_what_is_queued_is_claimed_once_with_its_event(connection: sa.Connection) -> None:
    before = enqueues_of_this_process()
    queue(connection, 1, 2)
    assert enqueues_of_this_process() != before
    (first, second) = claim(connection)["lane"].rows
    assert (first.event_id, first.payload, first.project_id, first.attempt) == ("E1", b"{1}", "p", 0)
    assert (second.fence, second.lease_until_ms) == (F1, NOW + 5000)
    assert claim(connection, fence=F2) == {}


def test_queueing_again_changes_nothing(connection: sa.Connection) -> None:
    queue(connection, 1)
    claim(connection)
    queue(connection, 1)
    assert states(connection) == [(1, State.LEASED, 0)]


def test_lanes_do_not_share_their_room(connection: sa.Connection) -> None:
    queue(connection, 1, 2, 3)
    queue(connection, 1, 2, 3, lane="other")
    claims = claim(connection, lane=LaneRoom(rows=2, late=2, order_wait_ms=None))
    assert numbers(claims["lane"].rows) == [1, 2]
    assert (claims["lane"].full, claims["other"].full) == (True, False)
    assert numbers(claims["other"].rows) == [1, 2, 3]
    assert claim(connection, lane=LaneRoom(rows=0, late=0, order_wait_ms=None))["lane"].rows == []


def test_late_rows_and_fresh_ones_do_not_starve_each_other(connection: sa.Connection) -> None:
    queue(connection, *range(1, 21))
    connection.execute(
        sa.update(outbox).where(outbox.c.event_seq <= 10).values(attempt=3, late=True, due_at_ms=NOW - 500)
    )
    some = LaneRoom(rows=6, late=2, order_wait_ms=None)
    assert numbers(claim(connection, room=some)["lane"].rows) == [11, 12, 13, 14, 1, 2]
    connection.execute(sa.update(outbox).values(due_at_ms=sa.case((outbox.c.late, 1), else_=NOW - 500)))
    assert numbers(claim(connection, room=some)["lane"].rows) == [3, 4, 15, 16, 17, 18]
    nothing_late = LaneRoom(rows=1, late=0, order_wait_ms=None)
    assert numbers(claim(connection, room=nothing_late)["lane"].rows) == [19]


def test_one_row_of_a_customer_at_a_time(connection: sa.Connection) -> None:
    queue(connection, 1, 2, 3, customer_id=7)
    queue(connection, 4)
    (first, other) = claim(connection)["lane"].rows
    assert [first.event_seq, other.event_seq] == [1, 4]
    assert claim(connection, fence=F2)["lane"].rows == []
    finish(connection, [held(first)])
    assert numbers(claim(connection, fence=F2)["lane"].rows) == [2]


def test_the_lane_says_when_to_look_again(connection: sa.Connection) -> None:
    queue(connection, 1, 2, customer_id=7)
    (first,) = claim(connection)["lane"].rows
    waiting = claim(connection, fence=F2)["lane"]
    assert waiting.next_at_ms == NOW - 1000 + 60_000
    reschedule(connection, [Later(held=held(first), due_at_ms=NOW + 300)])
    assert claim(connection, fence=F2)["lane"].next_at_ms == NOW + 300
    late = claim(connection, fence=F2, now_ms=NOW - 1000 + 60_000)["lane"]
    assert numbers(late.rows) == [1]


def test_only_who_holds_the_lease_settles(connection: sa.Connection) -> None:
    queue(connection, 1)
    (row,) = claim(connection)["lane"].rows
    stranger = Held(row.id, F2)
    finish(connection, [stranger])
    reschedule(connection, [Later(held=stranger, due_at_ms=None)])
    release(connection, [stranger])
    assert states(connection) == [(1, State.LEASED, 0)]
    reschedule(connection, [Later(held=held(row), due_at_ms=None)])
    assert states(connection) == [(1, State.PARKED, 1)]
    finish(connection, [held(row)])
    assert states(connection) == [(1, State.PARKED, 1)]


def test_released_rows_are_due_as_they_were(connection: sa.Connection) -> None:
    queue(connection, 1)
    (row,) = claim(connection)["lane"].rows
    release(connection, [held(row)])
    assert states(connection) == [(1, State.DUE, 0)]
    assert numbers(claim(connection, fence=F2)["lane"].rows) == [1]


def test_leases_that_ran_out(connection: sa.Connection) -> None:
    queue(connection, 1)
    claim(connection)
    assert release_expired(connection, now_ms=NOW + 5000) == 0
    assert release_expired(connection, now_ms=NOW + 5001) == 1
    claim(connection)
    assert release_expired(connection, now_ms=None) == 1


def test_a_clock_that_was_set_back_holds_up_no_first_attempt_and_no_lease(connection: sa.Connection) -> None:
    """Rows of a later time once waited until that time came again: an hour, where a clock was put right by an hour."""
    hour_ms = 3_600_000
    queue(connection, 1)
    claim(connection)
    queue(connection, 2)
    connection.execute(sa.update(outbox).values(lease_until_ms=outbox.c.lease_until_ms + hour_ms))
    connection.execute(
        sa.update(outbox)
        .where(outbox.c.event_seq == 2)
        .values(due_at_ms=NOW + hour_ms, created_at_ms=NOW + hour_ms, lease_until_ms=None)
    )
    assert claim(connection, fence=F2)["lane"].rows == []
    forget_the_future(connection, now_ms=NOW, longest_lease_ms=60_000)
    assert numbers(claim(connection, fence=F2)["lane"].rows) == [2]
    assert release_expired(connection, now_ms=NOW + 59_999) == 1  # claim's own leases are short
    assert release_expired(connection, now_ms=NOW + 60_001) == 1


def test_leases_and_retries_of_the_present_stay_as_they_are(connection: sa.Connection) -> None:
    queue(connection, 1)
    queue(connection, 2)
    connection.execute(sa.update(outbox).where(outbox.c.event_seq == 2).values(late=True, due_at_ms=NOW + 86_400_000))
    claim(connection)
    before = connection.execute(sa.select(outbox)).all()
    forget_the_future(connection, now_ms=NOW - 1_000, longest_lease_ms=5_000)
    assert connection.execute(sa.select(outbox)).all() == before


def test_a_deleted_lane_is_emptied_and_an_unheard_of_one_is_left_alone(connection: sa.Connection) -> None:
    add_integration(connection, "new")
    queue(connection, 1, lane="new")
    unheard = claim(connection)["new"]
    assert (unheard.rows, unheard.next_at_ms) == ([], NOW + 250)
    connection.execute(sa.update(integrations).where(integrations.c.id == "new").values(deleted_at_ms=1))
    assert numbers(claim(connection)["new"].rows) == [1]


def ask(connection: sa.Connection, number: int, *, project_id: str = "p", fence: Fence | None = None) -> int | None:
    until = None if fence is None else NOW + 9
    return requeue(
        connection,
        project_id=project_id,
        integration_id="lane",
        event_seq=number,
        now_ms=NOW,
        fence=fence,
        lease_until_ms=until,
    )


def test_asking_by_hand(connection: sa.Connection) -> None:
    queue(connection, 1, 2, customer_id=7)
    row_id = ask(connection, 2, fence=F2)
    assert row_id is not None
    row = load_claimed(connection, row_id, fence=F2, lease_until_ms=NOW + 9)
    assert (row.event_seq, row.manual, row.payload) == (2, True, b"{2}")
    assert ask(connection, 2) is None
    assert ask(connection, 5) is not None
    assert (5, State.DUE, 0) in states(connection)
    with pytest.raises(LookupError):
        ask(connection, 99)
    with pytest.raises(LookupError):
        ask(connection, 1, project_id="q")


def test_what_is_asked_for_by_hand_does_not_wait_for_its_order(connection: sa.Connection) -> None:
    queue(connection, 1, 2, customer_id=7)
    connection.execute(sa.update(outbox).where(outbox.c.event_seq == 2).values(manual=True))
    assert numbers(claim(connection)["lane"].rows) == [1, 2]


def test_what_is_fresh_overtakes_a_backlog_and_both_have_room(connection: sa.Connection) -> None:
    """After an outage or a pause fresh events came when the last old one had gone."""
    room = LaneRoom(rows=4, late=2, order_wait_ms=60_000)
    queue(connection, *range(1, 11))
    connection.execute(sa.update(outbox).where(outbox.c.event_seq <= 6).values(due_at_ms=NOW - YOUNG_MS - 1))
    first = claim(connection, room=room)["lane"]
    assert sorted(numbers(first.rows)) == [1, 2, 7, 8]
    assert first.full
    second = claim(connection, room=room)["lane"]
    assert sorted(numbers(second.rows)) == [3, 4, 9, 10]
    third = claim(connection, room=room)["lane"]
    assert sorted(numbers(third.rows)) == [5, 6]


def test_a_customers_fresh_event_does_not_overtake_their_old_one(connection: sa.Connection) -> None:
    queue(connection, 1, 2, customer_id=5)
    connection.execute(sa.update(outbox).where(outbox.c.event_seq == 1).values(due_at_ms=NOW - YOUNG_MS - 1))
    assert numbers(claim(connection)["lane"].rows) == [1]


def test_a_small_backlog_is_taken_once(connection: sa.Connection) -> None:
    queue(connection, 1, 2, 3)
    connection.execute(sa.update(outbox).where(outbox.c.event_seq == 1).values(due_at_ms=NOW - YOUNG_MS - 1))
    assert sorted(numbers(claim(connection)["lane"].rows)) == [1, 2, 3]


def test_a_backlog_of_late_rows_is_not_walked_in_every_turn(connection: sa.Connection) -> None:
    """It was, to find out when a row might become free: with 100,000 retries that took 40 ms of each turn."""
    queue(connection, 1, 2, 3, 4)
    connection.execute(sa.update(outbox).values(late=True, attempt=1))
    room = LaneRoom(rows=10, late=2, order_wait_ms=60_000)
    statements: list[str] = []

    def note(*said: object) -> None:
        statements.append(str(said[2]))

    sa.event.listen(connection, "before_cursor_execute", note)
    claimed = claim(connection, room=room)["lane"]
    assert (len(claimed.rows), claimed.full, claimed.next_at_ms) == (2, True, NOW + 1000)
    assert not any("min(earlier.created_at_ms)" in statement for statement in statements)
