"""Replays against tables only: what is selected, what is put out, what is counted; on both databases."""

from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec import UNSET

from bellwire.db.outbox import Fence, Held, Later, OutboxRow, State, enqueue_rows, finish, reschedule
from bellwire.db.outbox_claim import Claimed, LaneRoom, claim_due
from bellwire.db.replay_selection import find_portion, preview, wanted_by
from bellwire.db.replays import (
    IdempotencyConflict,
    Replay,
    Replayed,
    cancel_replay,
    count_replayed,
    create_replay,
    list_replays,
    load_replay,
    open_replays,
    put_out,
    withdraw,
)
from bellwire.db.tables import app_user_ids, customers, events, integrations, outbox, projects
from bellwire.engine.matching import matches
from bellwire.model.enums import Environment, EventType
from bellwire.model.events import Event, EventRecord
from bellwire.model.projects import Integration
from bellwire.model.replays import ReplayStatus, Selection, TimeOf, What

NOW = 1_000_000
DAY = 86_400_000
LANE = Integration(id="lane", project_id="p", destination="webhook", name="Lane", created_at_ms=0)
ROOM = LaneRoom(rows=100, late=100, order_wait_ms=60_000)


@pytest.fixture
def connection(engine: sa.Engine) -> Any:
    """Project p with a lane and twenty events of ten customers, one a day; project q with an event of its own."""
    with engine.begin() as opened:
        for project in ("p", "q"):
            opened.execute(sa.insert(projects).values(id=project, name=project, settings="{}", created_at_ms=0))
        for name, project in (("lane", "p"), ("theirs", "q")):
            add_integration(opened, name, project)
        for number in range(1, 21):
            add_event(opened, number)
        add_event(opened, 21, project_id="q")
        yield opened


def add_integration(connection: sa.Connection, name: str, project_id: str) -> None:
    connection.execute(
        sa.insert(integrations).values(
            id=name,
            project_id=project_id,
            destination="webhook",
            name=name,
            settings="{}",
            sealed_secrets=b"",
            enabled=True,
            concurrency=16,
            created_at_ms=0,
        )
    )


def add_event(connection: sa.Connection, number: int, *, project_id: str = "p", **columns: object) -> None:
    values = {
        "seq": number,
        "id": f"E{number}",
        "project_id": project_id,
        "customer_id": 1 + number % 10,
        "type": "RENEWAL" if number % 2 else "EXPIRATION",
        "environment": "SANDBOX" if number % 5 == 0 else "PRODUCTION",
        "app_id": "app1" if number <= 10 else None,
        "app_user_id": f"user-{1 + number % 10}",
        "event_timestamp_ms": number * DAY,
        "committed_at_ms": number * 1000,
        "dispatched": number % 4 != 0,
        "historical": number % 4 == 0,
        "payload": b"{}",
    }
    connection.execute(sa.insert(events).values(values | columns))


ALL = Selection()


def ask(connection: sa.Connection, selection: Selection = ALL, *, key: str | None = None) -> str:
    return create_replay(
        connection,
        project_id="p",
        integration_id="lane",
        selection=selection,
        preview=preview(connection, LANE, selection),
        created_by="tests",
        now_ms=NOW,
        idempotency_key=key,
    )


def get(connection: sa.Connection, replay_id: str, *, now_ms: int = NOW) -> Replay:
    found = load_replay(connection, "p", replay_id, now_ms=now_ms)
    assert found is not None
    return found


def go_on(connection: sa.Connection, replay_id: str, *, rows: int = 1000, scan: int = 1000) -> int | None:
    """One portion."""
    replay = get(connection, replay_id)
    found, upto = find_portion(
        connection, LANE, replay.selection, after=replay.cursor, last=replay.last, rows=rows, scan=scan
    )
    return put_out(connection, replay, found, upto=upto, paced_at_ms=0, now_ms=NOW)


def selected(connection: sa.Connection, selection: Selection, *, integration: Integration = LANE) -> list[int]:
    expected = preview(connection, integration, selection)
    found, upto = find_portion(
        connection, integration, selection, after=expected.begin - 1, last=expected.end, rows=1000, scan=1000
    )
    numbers = [number for number, _ in found]
    assert (len(numbers), numbers[-1:]) == (expected.total, [upto] if numbers else [])
    return numbers


def waiting(connection: sa.Connection) -> list[tuple[int, int]]:
    return [
        (row.event_seq, row.state)
        for row in connection.execute(sa.select(outbox.c.event_seq, outbox.c.state).order_by(outbox.c.event_seq))
    ]


def queue(connection: sa.Connection, number: int, state: State, *, attempt: int = 0, due_at_ms: int = 0) -> None:
    row = OutboxRow(integration_id="lane", event_seq=number, customer_id=1 + number % 10, created_at_ms=0)
    enqueue_rows(connection, [row])
    connection.execute(
        sa.update(outbox)
        .where(outbox.c.event_seq == number)
        .values(state=state.value, attempt=attempt, due_at_ms=due_at_ms, late=attempt > 0)
    )


def claim(connection: sa.Connection, *, fence: int = 7, room: LaneRoom = ROOM) -> Sequence[Claimed]:
    claims = claim_due(
        connection, {"lane": room}, room_of_deleted=room, now_ms=NOW, fence=Fence(fence), lease_until_ms=NOW + 1
    )
    return claims["lane"].rows if "lane" in claims else []


DISPATCHED = [number for number in range(1, 21) if number % 4]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), DISPATCHED),
        (Selection(include_undispatched=True), list(range(1, 21))),
        (Selection(event_id="E7"), [7]),
        (Selection(event_id="E21"), []),
        (Selection(customer="user-3"), [2]),
        (Selection(customer="also-3"), [2]),
        (Selection(customer="nobody"), []),
        (Selection(event_types=(EventType.EXPIRATION,)), [2, 6, 10, 14, 18]),
        (Selection(environment=Environment.SANDBOX), [5, 10, 15]),
        (Selection(app_id="app1"), [number for number in DISPATCHED if number <= 10]),
        (Selection(since_ms=3 * DAY, until_ms=7 * DAY), [3, 5, 6]),
        (Selection(since_ms=3000, until_ms=7000, time_of=TimeOf.COMMIT), [3, 5, 6]),
    ],
)
def test_filters(connection: sa.Connection, selection: Selection, expected: list[int]) -> None:
    connection.execute(
        sa.insert(customers).values(
            id=3, project_id="p", original_app_user_id="user-3", first_seen_ms=0, last_seen_ms=0, next_sequence=1
        )
    )
    for name in ("user-3", "also-3"):
        connection.execute(
            sa.insert(app_user_ids).values(
                project_id="p", app_user_id=name, customer_id=3, first_seen_ms=0, last_seen_ms=0
            )
        )
    assert selected(connection, selection) == expected


@pytest.mark.parametrize("app_id", [None, "app1", "app2"])
@pytest.mark.parametrize("environment", [None, Environment.PRODUCTION, Environment.SANDBOX])
@pytest.mark.parametrize("types", [None, (), (EventType.RENEWAL,), (EventType.SUBSCRIBER_ALIAS, EventType.RENEWAL)])
def test_an_integrations_own_filters_are_the_engines(
    connection: sa.Connection, app_id: str | None, environment: Environment | None, types: tuple[EventType, ...] | None
) -> None:
    add_event(connection, 30, type="SUBSCRIBER_ALIAS", environment=None, app_id=None, dispatched=True)
    add_event(connection, 31, type="SUBSCRIBER_ALIAS", environment="PRODUCTION", app_id="app2", dispatched=True)
    lane = Integration(
        id="lane",
        project_id="p",
        destination="webhook",
        name="Lane",
        app_id=app_id,
        environment=environment,
        event_types=types,
    )
    wanted = set(connection.execute(sa.select(events.c.seq).where(wanted_by(lane))).scalars())
    by_engine = {row.seq for row in connection.execute(sa.select(events)) if matches(lane, as_record(row))}
    assert wanted == by_engine


def as_record(row: Any) -> EventRecord:
    event = Event(
        type=EventType(row.type),
        id=row.id,
        event_timestamp_ms=0,
        app_id=row.app_id or UNSET,
        environment=Environment(row.environment) if row.environment else UNSET,
    )
    return EventRecord(
        event=event,
        project_id=row.project_id,
        customer_id=row.customer_id,
        chain_id=None,
        app_id=row.app_id,
        store_time_ms=None,
        dispatch=True,
    )


def test_the_dry_run_says_how_many_and_what(connection: sa.Connection) -> None:
    queue(connection, 1, State.DUE)
    queue(connection, 3, State.PARKED, attempt=13)
    lane = Integration(id="lane", project_id="p", destination="webhook", name="Lane", event_types=(EventType.RENEWAL,))
    found = preview(connection, lane, Selection(until_ms=13 * DAY))
    assert (found.total, found.filtered, found.undispatched, found.waiting) == (5, 6, 0, 1)
    assert [(one.type, one.count, one.first_at_ms, one.last_at_ms) for one in found.by_type] == [
        ("RENEWAL", 5, 3 * DAY, 11 * DAY)
    ]
    assert (found.first_at_ms, found.last_at_ms) == (3 * DAY, 11 * DAY)
    assert [(one.day, one.count) for one in found.by_day] == [
        ("1970-01-04", 1),
        ("1970-01-06", 1),
        ("1970-01-08", 1),
        ("1970-01-10", 1),
        ("1970-01-12", 1),
    ]
    assert [one.id for one in found.samples] == ["E3", "E5", "E7", "E9", "E11"]
    assert preview(connection, LANE, Selection()).undispatched == 5
    nothing = preview(connection, LANE, Selection(event_id="E21"))
    assert (nothing.total, nothing.samples, nothing.first_at_ms) == (0, [], None)


def test_it_goes_through_the_log_in_portions_and_in_order(connection: sa.Connection) -> None:
    replay_id = ask(connection)
    assert get(connection, replay_id).total == 15
    put = []
    while get(connection, replay_id).cursor < get(connection, replay_id).last:
        put.append(go_on(connection, replay_id, rows=4, scan=7))
    assert sum(one or 0 for one in put) == 15
    assert max(one or 0 for one in put) == 4
    assert waiting(connection) == [(number, State.DUE) for number in DISPATCHED]
    ids = list(connection.execute(sa.select(outbox.c.event_seq).order_by(outbox.c.id)).scalars())
    assert ids == DISPATCHED
    assert connection.execute(sa.select(outbox.c.late).distinct()).scalars().all() == [True]


def test_what_waits_is_not_doubled_and_what_is_parked_is_taken_up(connection: sa.Connection) -> None:
    replay_id = ask(connection, Selection(until_ms=4 * DAY))
    queue(connection, 1, State.DUE)
    queue(connection, 2, State.LEASED)
    queue(connection, 3, State.PARKED, attempt=13)
    assert go_on(connection, replay_id) == 1
    replay = get(connection, replay_id)
    assert (replay.enqueued, replay.passed_over, replay.waiting) == (1, 2, 1)
    assert waiting(connection) == [(1, State.DUE), (2, State.LEASED), (3, State.DUE)]


def test_a_portion_is_put_out_once_whoever_found_it(connection: sa.Connection) -> None:
    """Two workers look at the same moment; so does one that was killed before its commit and looks again."""
    replay_id = ask(connection)
    before = get(connection, replay_id)
    found, upto = find_portion(connection, LANE, before.selection, after=0, last=20, rows=5, scan=100)
    assert put_out(connection, before, found, upto=upto, paced_at_ms=0, now_ms=NOW) == 5
    connection.execute(sa.delete(outbox))  # delivered meanwhile
    assert put_out(connection, before, found, upto=upto, paced_at_ms=0, now_ms=NOW) is None
    assert waiting(connection) == []
    assert get(connection, replay_id).enqueued == 5


def test_all_failed_are_the_parked_and_the_failing(connection: sa.Connection) -> None:
    queue(connection, 1, State.PARKED, attempt=13)
    queue(connection, 2, State.DUE, attempt=3, due_at_ms=NOW + 1000)
    queue(connection, 3, State.DUE)
    queue(connection, 5, State.LEASED, attempt=2)
    assert preview(connection, LANE, Selection(what=What.FAILED)).total == 2
    assert preview(connection, LANE, Selection(what=What.PARKED)).total == 1
    replay_id = ask(connection, Selection(what=What.FAILED))
    assert go_on(connection, replay_id) == 2
    rows = connection.execute(sa.select(outbox).where(outbox.c.replay_id == replay_id).order_by(outbox.c.id)).all()
    assert [(row.event_seq, row.state, row.attempt, row.due_at_ms, row.late) for row in rows] == [
        (1, State.DUE, 1, NOW, True),
        (2, State.DUE, 1, NOW, True),
    ]
    again = ask(connection, Selection(what=What.FAILED))
    assert go_on(connection, again) == 0


def test_selected_parked_deliveries(connection: sa.Connection) -> None:
    for number in (1, 2, 3):
        queue(connection, number, State.PARKED, attempt=13)
    ids = list(connection.execute(sa.select(outbox.c.id).order_by(outbox.c.id)).scalars())
    replay_id = ask(connection, Selection(what=What.PARKED, delivery_ids=(ids[0], ids[2], 999)))
    assert go_on(connection, replay_id) == 2
    assert waiting(connection) == [(1, State.DUE), (2, State.PARKED), (3, State.DUE)]


@pytest.mark.parametrize("of_a_customer", [1, 5])
def test_fresh_events_go_before_a_replay_and_never_wait_for_their_customers_old_ones(
    connection: sa.Connection, of_a_customer: int
) -> None:
    go_on(connection, ask(connection))
    add_event(connection, 40, customer_id=2)
    enqueue_rows(connection, [OutboxRow(integration_id="lane", event_seq=40, customer_id=2, created_at_ms=NOW)])
    taken = claim(connection, room=LaneRoom(rows=3, late=1, order_wait_ms=60_000, of_a_customer=of_a_customer))
    assert sorted((row.event_seq, row.replay_id is not None) for row in taken) == [(1, True), (40, False)]


def test_a_replay_keeps_the_order_of_a_customers_events(connection: sa.Connection) -> None:
    go_on(connection, ask(connection))
    first = [row.event_seq for row in claim(connection)]
    assert first == [number for number in DISPATCHED if number not in (11, 13, 15, 17, 19)]
    assert claim(connection, fence=8) == []  # the earlier ones are on their way


def test_what_becomes_of_the_rows_is_counted(connection: sa.Connection) -> None:
    replay_id = ask(connection, Selection(until_ms=6 * DAY))
    go_on(connection, replay_id)
    first, second, third, fourth = claim(connection)
    held = [Held(row.id, row.fence) for row in (first, second, third, fourth)]
    late = Held(third.id, Fence(99))  # somebody else has it by now
    count_replayed(
        connection,
        [
            Replayed(held[0], replay_id, "delivered"),
            Replayed(held[1], replay_id, "skipped"),
            Replayed(late, replay_id, "delivered"),
        ],
    )
    finish(connection, [held[0], held[1], late])
    reschedule(connection, [Later(held=held[2], due_at_ms=NOW + 5000), Later(held=held[3], due_at_ms=None)])
    replay = get(connection, replay_id)
    assert (replay.delivered, replay.skipped, replay.retrying, replay.failed, replay.waiting) == (1, 1, 1, 1, 0)
    assert replay.enqueued == 4


def test_cancelling_leaves_nothing_waiting_and_loses_nothing(connection: sa.Connection) -> None:
    queue(connection, 1, State.PARKED, attempt=13)
    replay_id = ask(connection, Selection(until_ms=8 * DAY))
    go_on(connection, replay_id)
    (sent, *_) = claim(connection, room=LaneRoom(rows=2, late=2, order_wait_ms=0))
    assert cancel_replay(connection, "p", replay_id, now_ms=NOW)
    assert not cancel_replay(connection, "p", replay_id, now_ms=NOW)
    left = dict(waiting(connection))
    assert set(left.values()) <= {State.LEASED, State.PARKED}
    assert open_replays(connection, now_ms=NOW)[0].id == replay_id
    reschedule(connection, [Later(held=Held(row.id, row.fence), due_at_ms=NOW + 5) for row in [sent]])
    finish(connection, [Held(row.id, Fence(7)) for row in connection.execute(sa.select(outbox)) if row.id != sent.id])
    withdraw(connection, replay_id, now_ms=NOW)
    assert waiting(connection) == [(sent.event_seq, State.PARKED)]
    replay = get(connection, replay_id)
    assert (replay.status, replay.ended_at_ms) == (ReplayStatus.CANCELLED, NOW)
    assert open_replays(connection, now_ms=NOW) == []
    assert go_on(connection, replay_id) is None


def test_what_was_parked_is_parked_again_when_a_replay_is_cancelled(connection: sa.Connection) -> None:
    queue(connection, 1, State.PARKED, attempt=13)
    replay_id = ask(connection, Selection(what=What.PARKED))
    go_on(connection, replay_id)
    cancel_replay(connection, "p", replay_id, now_ms=NOW)
    assert waiting(connection) == [(1, State.PARKED)]
    assert (get(connection, replay_id).enqueued, get(connection, replay_id).failed) == (0, 0)


def test_an_idempotency_key_makes_one_replay(connection: sa.Connection) -> None:
    first = ask(connection, key="k")
    assert ask(connection, key="k") == first
    with pytest.raises(IdempotencyConflict):
        ask(connection, Selection(event_id="E1"), key="k")
    assert len(list_replays(connection, "p", now_ms=NOW)) == 1


def test_the_list_is_paged_and_the_projects_own(connection: sa.Connection) -> None:
    made = {ask(connection) for _ in range(3)}
    first = list_replays(connection, "p", now_ms=NOW, limit=2)
    rest = list_replays(connection, "p", now_ms=NOW, after=first[-1].id)
    assert {one.id for one in [*first, *rest]} == made
    assert list_replays(connection, "q", now_ms=NOW) == []
    assert load_replay(connection, "q", first[0].id, now_ms=NOW) is None
    assert not cancel_replay(connection, "q", first[0].id, now_ms=NOW)
