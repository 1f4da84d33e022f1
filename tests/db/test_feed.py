"""Reads of the live feed, on both databases."""

import itertools

import msgspec
import pytest
import sqlalchemy as sa

from bellwire.db import feed
from bellwire.db.attempts import NO_EVENT_SEQ, AttemptRecord, append_attempt
from bellwire.db.deliveries import load_attempt, load_attempt_lines, load_deliveries_of_event, load_delivery
from bellwire.db.feed import FeedCursor, latest_attempt_id, load_changes, load_page
from bellwire.db.feed_queue import load_queued
from bellwire.db.feed_rows import FeedFilters, FeedStatus
from bellwire.db.health import load_integration_health
from bellwire.db.projects import create_project
from bellwire.db.tables import app_user_ids, attempts, customers, events, integrations, outbox
from bellwire.kit.ids import new_row_id

NOW = 1_790_000_000_000
ALL = FeedFilters()


class Log:
    """Puts rows into the tables as ingest and delivery do."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._ids = itertools.count(1)
        self.project = self.new_project()
        self.lane = self.new_lane(self.project)

    def new_project(self) -> str:
        with self.engine.begin() as connection:
            return create_project(connection, name="p", now_ms=NOW).id

    def new_lane(self, project: str) -> str:
        name = f"intg{next(self._ids)}"
        with self.engine.begin() as connection:
            connection.execute(
                sa.insert(integrations).values(
                    id=name,
                    project_id=project,
                    destination="webhook",
                    name=name,
                    settings="{}",
                    sealed_secrets=b"",
                    enabled=True,
                    concurrency=1,
                    created_at_ms=NOW,
                )
            )
        return name

    def event(
        self, project: str = "", kind: str = "RENEWAL", user: str = "ada", environment: str = "PRODUCTION"
    ) -> int:
        project = project or self.project
        number = next(self._ids)
        with self.engine.begin() as connection:
            known = connection.execute(
                sa.select(app_user_ids.c.customer_id).where(
                    app_user_ids.c.project_id == project, app_user_ids.c.app_user_id == user
                )
            ).scalar_one_or_none()
            if known is None:
                known = number
                who = {"project_id": project, "first_seen_ms": NOW, "last_seen_ms": NOW}
                connection.execute(
                    sa.insert(customers).values(id=number, original_app_user_id=user, next_sequence=1, **who)
                )
                connection.execute(sa.insert(app_user_ids).values(app_user_id=user, customer_id=number, **who))
            return connection.execute(
                sa.insert(events)
                .values(
                    id=f"E{number}",
                    project_id=project,
                    customer_id=known,
                    type=kind,
                    environment=environment,
                    app_user_id=user,
                    event_timestamp_ms=NOW,
                    committed_at_ms=NOW,
                    dispatched=True,
                    historical=False,
                    payload=b"{}",
                )
                .returning(events.c.seq)
            ).scalar_one()

    def attempt(self, seq: int, lane: str = "", /, **fields: object) -> int:
        with self.engine.begin() as connection:
            event = connection.execute(sa.select(events).where(events.c.seq == seq)).one()
            record = AttemptRecord(
                project_id=event.project_id,
                integration_id=lane or self.lane,
                event_seq=seq,
                event_id=event.id,
                event_type=event.type,
                app_user_id=event.app_user_id,
                environment=event.environment,
                attempt=1,
                trigger="automatic",
                outcome="delivered",
                reason="ok",
                started_at_ms=NOW,
            )
            return append_attempt(connection, msgspec.structs.replace(record, **fields))

    def waiting(self, seq: int, lane: str = "", state: int = 0, attempt: int = 0, due_at_ms: int = NOW) -> None:
        with self.engine.begin() as connection:
            connection.execute(
                sa.insert(outbox).values(
                    integration_id=lane or self.lane,
                    event_seq=seq,
                    customer_id=1,
                    state=state,
                    attempt=attempt,
                    manual=False,
                    due_at_ms=due_at_ms,
                    created_at_ms=NOW - 5_000,
                )
            )

    def page(self, filters: FeedFilters = ALL, before: int | None = None, limit: int = 50) -> feed.FeedPage:
        with self.engine.connect() as connection:
            return load_page(connection, self.project, filters, before=before, limit=limit)


@pytest.fixture
def log(engine: sa.Engine) -> Log:
    return Log(engine)


def seqs(page: feed.FeedPage) -> list[int]:
    return [row.event_seq for row in page.rows]


def test_a_delivery_is_one_row_that_shows_its_latest_attempt(log: Log) -> None:
    first, second = log.event(), log.event()
    log.attempt(first, outcome="retry", status_code=503, next_attempt_at_ms=NOW + 5_000)
    log.attempt(second)
    log.attempt(first, attempt=2, status_code=200)
    rows = log.page().rows
    assert [(row.event_seq, row.attempt, row.status) for row in rows] == [
        (first, 2, FeedStatus.SENT),
        (second, 1, FeedStatus.SENT),
    ]


def test_the_same_event_in_two_integrations_is_two_rows(log: Log) -> None:
    other = log.new_lane(log.project)
    seq = log.event()
    log.attempt(seq)
    log.attempt(seq, other)
    assert [row.integration_id for row in log.page().rows] == [other, log.lane]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"outcome": "delivered"}, FeedStatus.SENT),
        ({"outcome": "skipped"}, FeedStatus.SKIPPED),
        ({"outcome": "retry", "next_attempt_at_ms": NOW}, FeedStatus.RETRYING),
        ({"outcome": "misconfigured", "next_attempt_at_ms": NOW}, FeedStatus.RETRYING),
        ({"outcome": "retry", "parked": True}, FeedStatus.FAILED),
        ({"outcome": "retry"}, FeedStatus.FAILED),
        ({"outcome": "rejected"}, FeedStatus.FAILED),
    ],
)
def test_status_filter_agrees_with_the_status_shown(log: Log, fields: dict[str, object], status: FeedStatus) -> None:
    seq = log.event()
    log.attempt(seq, **fields)
    assert log.page().rows[0].status is status
    for asked in (FeedStatus.SENT, FeedStatus.SKIPPED, FeedStatus.RETRYING, FeedStatus.FAILED):
        assert seqs(log.page(FeedFilters(status=asked))) == ([seq] if asked is status else [])


def test_filters_by_type_environment_integration_and_customer(log: Log) -> None:
    other = log.new_lane(log.project)
    renewal = log.event(user="ada")
    cancellation = log.event(kind="CANCELLATION", user="bob", environment="SANDBOX")
    log.attempt(renewal)
    log.attempt(cancellation, other)
    assert seqs(log.page(FeedFilters(event_type="RENEWAL"))) == [renewal]
    assert seqs(log.page(FeedFilters(environment="SANDBOX"))) == [cancellation]
    assert seqs(log.page(FeedFilters(integration_id=other))) == [cancellation]
    assert seqs(log.page(FeedFilters(customer="ada"))) == [renewal]
    assert seqs(log.page(FeedFilters(customer="ada", integration_id=other))) == []
    assert seqs(log.page(FeedFilters(customer="nobody"))) == []


def test_another_project_sees_nothing_of_it_by_any_filter(log: Log) -> None:
    stranger = log.new_project()
    lane = log.new_lane(stranger)
    seq = log.event(stranger, user="ada")
    log.attempt(seq, lane)
    log.waiting(seq, lane)
    for filters in (
        ALL,
        FeedFilters(integration_id=lane),
        FeedFilters(customer="ada"),
        FeedFilters(event_type="RENEWAL"),
    ):
        assert log.page(filters).rows == []
        with log.engine.connect() as connection:
            assert load_changes(connection, log.project, filters, after=FeedCursor(0)) == ([], FeedCursor(0))
            assert load_queued(connection, log.project, filters, now_ms=NOW, queued_before_ms=NOW) == []
    with log.engine.connect() as connection:
        assert load_delivery(connection, log.project, lane, f"E{seq}") is None
        assert load_deliveries_of_event(connection, log.project, seq) == []
        assert latest_attempt_id(connection, log.project) == 0


def test_pages_follow_one_another_without_gap_or_repeat(log: Log) -> None:
    made = [log.event() for _ in range(7)]
    for seq in made:
        log.attempt(seq)
    found: list[int] = []
    before = None
    while True:
        page = log.page(before=before, limit=3)
        found += seqs(page)
        before = page.older_than
        if before is None:
            break
    assert found == made[::-1]


def test_a_search_stops_at_its_bound_and_says_where_it_goes_on(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "SCAN_ROWS", 5)
    rare = log.event(kind="TRANSFER")
    log.attempt(rare, started_at_ms=NOW - 99)
    for _ in range(8):
        log.attempt(log.event(), started_at_ms=NOW - 1)
    filters = FeedFilters(event_type="TRANSFER")
    page = log.page(filters)
    assert page.rows == []
    assert page.searched_to_ms == NOW - 1
    page = log.page(filters, before=page.older_than)
    assert seqs(page) == [rare]
    assert page.older_than is None


def test_changes_come_once_each_newest_first_and_move_the_cursor(log: Log) -> None:
    first, second = log.event(), log.event()
    start = log.attempt(first, outcome="retry", next_attempt_at_ms=NOW)
    log.attempt(second)
    newest = log.attempt(first, attempt=2)
    with log.engine.connect() as connection:
        rows, cursor = load_changes(connection, log.project, ALL, after=FeedCursor.at(start))
        assert [(row.event_seq, row.attempt) for row in rows] == [(first, 2), (second, 1)]
        assert cursor.newest == newest == latest_attempt_id(connection, log.project)
        assert load_changes(connection, log.project, ALL, after=cursor) == ([], cursor)
        filtered, cursor = load_changes(
            connection, log.project, FeedFilters(event_type="TRANSFER"), after=FeedCursor(0)
        )
        assert (filtered, cursor.newest) == ([], newest)


def test_attempt_that_commits_later_with_a_lower_id_is_not_missed(log: Log) -> None:
    """Two processes: the one that drew its ids first commits last."""
    first, slow = log.event(), log.event()
    start = log.attempt(first)
    slow_id = new_row_id()
    quick_id = log.attempt(first, attempt=2)
    with log.engine.connect() as connection:
        rows, cursor = load_changes(connection, log.project, ALL, after=FeedCursor.at(start))
        assert ([row.attempt_id for row in rows], cursor.newest) == ([quick_id], quick_id)
    committed_id = log.attempt(slow)
    with log.engine.begin() as connection:
        connection.execute(sa.update(attempts).where(attempts.c.id == committed_id).values(id=slow_id))
    with log.engine.connect() as connection:
        rows, cursor = load_changes(connection, log.project, ALL, after=cursor)
        assert ([row.attempt_id for row in rows], cursor.newest) == ([slow_id], quick_id)
        assert load_changes(connection, log.project, ALL, after=cursor) == ([], cursor)


def test_waiting_deliveries_are_shown_until_their_first_attempt(log: Log) -> None:
    due, sending, retried, parked, far = (log.event() for _ in range(5))
    log.waiting(due)
    log.waiting(sending, state=1)
    log.waiting(retried, attempt=1)
    log.waiting(parked, state=2)
    log.waiting(far, due_at_ms=NOW + 3_600_000)
    with log.engine.connect() as connection:
        rows = load_queued(connection, log.project, ALL, now_ms=NOW, queued_before_ms=NOW - 1_000)
        assert [(row.event_seq, row.status) for row in rows] == [
            (sending, FeedStatus.SENDING),
            (due, FeedStatus.QUEUED),
        ]
        assert load_queued(connection, log.project, ALL, now_ms=NOW, queued_before_ms=NOW - 9_000) == []
        sent_only = FeedFilters(status=FeedStatus.SENT)
        assert load_queued(connection, log.project, sent_only, now_ms=NOW, queued_before_ms=NOW) == []


def test_a_row_tells_what_the_outbox_plans(log: Log) -> None:
    retrying, leased, parked = (log.event() for _ in range(3))
    for seq in (retrying, leased, parked):
        log.attempt(seq, outcome="retry", next_attempt_at_ms=NOW + 1)
    log.waiting(retrying, attempt=1, due_at_ms=NOW + 7)
    log.waiting(leased, attempt=1, state=1)
    log.waiting(parked, attempt=1, state=2)
    found = {row.event_seq: (row.status, row.next_at_ms) for row in log.page().rows}
    assert found[retrying] == (FeedStatus.RETRYING, NOW + 7)
    assert found[leased][0] is FeedStatus.SENDING
    assert found[parked][1] is None


def test_one_delivery_with_all_its_attempts(log: Log) -> None:
    seq = log.event()
    first = log.attempt(seq, outcome="retry", response_body=b"busy", next_attempt_at_ms=NOW)
    second = log.attempt(seq, attempt=2)
    elsewhere = log.attempt(log.event())
    with log.engine.connect() as connection:
        row = load_delivery(connection, log.project, log.lane, log.page().rows[1].event_id)
        assert row is not None
        assert row.attempt_id == second
        assert [line.id for line in load_attempt_lines(connection, row)] == [second, first]
        attempt = load_attempt(connection, row, first)
        assert attempt is not None
        assert attempt.response_body == b"busy"
        assert load_attempt(connection, row, elsewhere) is None
        assert [one.attempt_id for one in load_deliveries_of_event(connection, log.project, seq)] == [second]


def test_an_event_nobody_tried_yet_is_found_in_the_outbox(log: Log) -> None:
    seq = log.event()
    log.waiting(seq)
    with log.engine.connect() as connection:
        rows = load_deliveries_of_event(connection, log.project, seq)
        assert [row.status for row in rows] == [FeedStatus.QUEUED]
        row = load_delivery(connection, log.project, log.lane, rows[0].event_id)
        assert row == rows[0]


def test_test_events_have_no_event_row_and_stay_apart(log: Log) -> None:
    with log.engine.begin() as connection:
        for name in ("T1", "T2"):
            append_attempt(
                connection,
                AttemptRecord(
                    project_id=log.project,
                    integration_id=log.lane,
                    event_seq=NO_EVENT_SEQ,
                    event_id=name,
                    event_type="TEST",
                    app_user_id="x",
                    environment="SANDBOX",
                    attempt=1,
                    trigger="test",
                    outcome="delivered",
                    reason="ok",
                    started_at_ms=NOW,
                ),
            )
    assert [row.event_id for row in log.page().rows] == ["T2", "T1"]
    with log.engine.connect() as connection:
        row = load_delivery(connection, log.project, log.lane, "T1")
        assert row is not None
        assert len(load_attempt_lines(connection, row)) == 1


def test_health_counts_attempts_of_a_day_and_what_waits(log: Log) -> None:
    idle = log.new_lane(log.project)
    log.attempt(log.event(), started_at_ms=NOW - 90_000_000, outcome="rejected")
    log.attempt(log.event())
    log.attempt(log.event(), outcome="skipped")
    failed = log.event()
    log.attempt(failed, outcome="retry", status_code=503, next_attempt_at_ms=NOW)
    log.waiting(failed, attempt=1)
    log.waiting(log.event())
    log.waiting(log.event(), state=2, attempt=9)
    with log.engine.connect() as connection:
        found = load_integration_health(connection, [log.lane, idle], now_ms=NOW)
    state = found[log.lane]
    assert (state.queued, state.retrying, state.parked) == (1, 1, 1)
    assert (state.attempts, state.delivered, state.success_permille) == (2, 1, 500)
    assert (state.last_outcome, state.last_status_code) == ("retry", 503)
    assert not state.last_is_test
    assert found[idle].success_permille is None
    assert found[idle].last_at_ms is None


def test_a_failed_test_event_was_shown_as_one_that_will_be_retried(log: Log) -> None:
    log.attempt(log.event(), outcome="retry", trigger="test", status_code=503)
    with log.engine.connect() as connection:
        state = load_integration_health(connection, [log.lane], now_ms=NOW)[log.lane]
    assert (state.last_outcome, state.last_parked, state.last_is_test) == ("retry", False, True)


def test_reads_walk_an_index_and_never_the_log(log: Log) -> None:
    """Holds for SQLite, whose planner decides without statistics."""
    if log.engine.dialect.name != "sqlite":
        pytest.skip("plans of the other database depend on its statistics")
    plans: list[str] = []

    def explain(
        connection: sa.Connection, _cursor: object, statement: str, parameters: tuple[object, ...], *_: object
    ) -> None:
        if statement.startswith("SELECT"):
            rows = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in rows)

    sa.event.listen(log.engine, "before_cursor_execute", explain)
    for filters in (ALL, FeedFilters(integration_id=log.lane), FeedFilters(customer="ada", event_type="RENEWAL")):
        log.page(filters)
        with log.engine.connect() as connection:
            load_changes(connection, log.project, filters, after=FeedCursor.at(3))
            load_queued(connection, log.project, filters, now_ms=NOW, queued_before_ms=NOW)
    walked = [plan for plan in plans if plan.startswith("SCAN") and not plan.startswith("SCAN CONSTANT ROW")]
    assert plans
    assert walked == []
