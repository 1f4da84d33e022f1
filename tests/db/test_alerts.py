"""Alerts in the database: told at most once a day, by one of many processes, nothing lost and no flood after a crash."""

import threading
from collections.abc import Iterator

import msgspec
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from bellwire.db import alerts as db
from bellwire.db.alert_figures import load_app_figures, load_lane_figures
from bellwire.db.alerts import AlertState, Matter, MatterKind
from bellwire.db.integrations import create_integration
from bellwire.db.lane_states import SLOT_MS, LaneChange, LaneState, save_lane_changes
from bellwire.db.notices import list_notices
from bellwire.db.outbox import OutboxRow, enqueue_rows
from bellwire.db.projects import create_project
from bellwire.db.secrets import Sealer
from bellwire.db.tables import alert_channels, alert_sends
from bellwire.destinations.base import Secret

NOW = 1_700_000_000_000
DAY_MS = db.DAY_MS


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    url: Secret = "https://tool.example/t0ps3cret"


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.begin() as opened:
        yield opened


@pytest.fixture
def project_id(connection: sa.Connection) -> str:
    return create_project(connection, name="Ours", now_ms=NOW).id


def add_channel(connection: sa.Connection, sealer: Sealer, project_id: str) -> str:
    return db.create_channel(connection, sealer, project_id=project_id, kind="slack", settings=Settings(), now_ms=NOW)


def matter(project_id: str, kind: MatterKind = MatterKind.LATE, message: str = "late") -> Matter:
    return Matter(project_id=project_id, kind=kind, subject="intg1", name="Tool", message=message)


def settle(connection: sa.Connection, at_ms: int, *matters: Matter, names: tuple[str, ...] = ("intg1",)) -> int:
    return db.settle(connection, list(matters), dict.fromkeys(names, "Tool"), now_ms=at_ms)


def take(connection: sa.Connection, sealer: Sealer, at_ms: int) -> list[db.DueSend]:
    return db.take_due_sends(connection, sealer, now_ms=at_ms)


def test_a_channel_keeps_its_secrets_sealed(connection: sa.Connection, sealer: Sealer, project_id: str) -> None:
    channel_id = add_channel(connection, sealer, project_id)
    assert "t0ps3cret" not in str(connection.execute(sa.select(alert_channels)).one())
    (channel,) = db.list_channels(connection, sealer, project_id)
    assert (channel.id, channel.settings) == (channel_id, {"url": Settings().url})
    assert "t0ps3cret" not in repr(channel)
    other = create_project(connection, name="Theirs", now_ms=NOW).id
    assert db.list_channels(connection, sealer, other) == []
    assert not db.delete_channel(connection, other, channel_id)
    assert db.delete_channel(connection, project_id, channel_id)
    assert db.list_channels(connection, sealer, project_id) == []


def test_a_matter_is_told_at_most_once_a_day(connection: sa.Connection, sealer: Sealer, project_id: str) -> None:
    add_channel(connection, sealer, project_id)
    add_channel(connection, sealer, project_id)
    late = matter(project_id)
    assert settle(connection, NOW, late) == 2
    assert settle(connection, NOW + DAY_MS - 1, late) == 0
    assert settle(connection, NOW + DAY_MS, replace(late, message="later still")) == 2
    assert settle(connection, NOW + DAY_MS, late, matter(project_id, MatterKind.FAILURES)) == 2
    first = take(connection, sealer, NOW)[0].message
    assert (first.state, first.kind, first.subject, first.name) == (AlertState.RAISED, "late", "intg1", "Tool")


def test_what_is_over_is_told_once_and_what_comes_back_not_before_its_day(
    connection: sa.Connection, sealer: Sealer, project_id: str
) -> None:
    add_channel(connection, sealer, project_id)
    late = matter(project_id)
    told = [settle(connection, NOW, late), settle(connection, NOW + 10), settle(connection, NOW + 20)]
    told += [settle(connection, NOW + 30, late), settle(connection, NOW + 40), settle(connection, NOW + 50, late)]
    assert told == [1, 1, 0, 0, 0, 0]
    states = [one.message.state for one in take(connection, sealer, NOW + 50)]
    assert states == [AlertState.RAISED, AlertState.OVER]
    assert settle(connection, NOW + DAY_MS, late) == 1
    assert [one.since_ms for one in db.list_open_alerts(connection, project_id)] == [NOW + 50]


def test_a_matter_of_something_deleted_ends_without_a_word(
    connection: sa.Connection, sealer: Sealer, project_id: str
) -> None:
    add_channel(connection, sealer, project_id)
    assert settle(connection, NOW, matter(project_id)) == 1
    assert settle(connection, NOW + 1, names=()) == 0
    assert db.list_open_alerts(connection) == []


def test_without_a_channel_nothing_counts_as_told(connection: sa.Connection, sealer: Sealer, project_id: str) -> None:
    assert settle(connection, NOW, matter(project_id)) == 0
    add_channel(connection, sealer, project_id)
    assert settle(connection, NOW + 1, matter(project_id)) == 1


def test_alerts_of_one_project_go_to_its_own_channels(
    connection: sa.Connection, sealer: Sealer, project_id: str
) -> None:
    other = create_project(connection, name="Theirs", now_ms=NOW).id
    ours = add_channel(connection, sealer, project_id)
    add_channel(connection, sealer, other)
    assert settle(connection, NOW, matter(project_id)) == 1
    assert [one.channel.id for one in take(connection, sealer, NOW)] == [ours]


def test_a_clock_that_was_set_back_does_not_keep_alerts_in(
    connection: sa.Connection, sealer: Sealer, project_id: str
) -> None:
    add_channel(connection, sealer, project_id)
    assert settle(connection, NOW + 400 * DAY_MS, matter(project_id)) == 1
    assert settle(connection, NOW, matter(project_id)) == 1
    assert settle(connection, NOW + 1, matter(project_id)) == 0


def test_a_message_that_went_is_gone_and_one_that_failed_comes_again(
    connection: sa.Connection, sealer: Sealer, project_id: str
) -> None:
    add_channel(connection, sealer, project_id)
    settle(connection, NOW, matter(project_id))
    (send,) = take(connection, sealer, NOW)
    assert take(connection, sealer, NOW) == []
    db.end_send(connection, send, failure="answered 500", now_ms=NOW)
    assert db.next_send_at_ms(connection) == NOW + db.RETRY_AFTER_MS[0]
    (send,) = take(connection, sealer, NOW + db.RETRY_AFTER_MS[0])
    db.end_send(connection, send, failure=None, now_ms=NOW)
    assert db.next_send_at_ms(connection) is None


def test_a_message_that_never_goes_is_given_up_with_a_notice(
    connection: sa.Connection, sealer: Sealer, project_id: str
) -> None:
    add_channel(connection, sealer, project_id)
    settle(connection, NOW, matter(project_id))
    now_ms, attempts = NOW, 0
    while (due_ms := db.next_send_at_ms(connection)) is not None:
        now_ms = due_ms
        (send,) = take(connection, sealer, now_ms)
        attempts += 1
        db.end_send(connection, send, failure="answered 500", now_ms=now_ms)
    assert attempts == len(db.RETRY_AFTER_MS)
    (notice,) = list_notices(connection, project_id)
    assert notice.kind == db.UNSENT_NOTICE
    assert "answered 500" in notice.message
    assert settle(connection, now_ms + DAY_MS, matter(project_id)) == 1
    (send,) = take(connection, sealer, now_ms + DAY_MS)
    db.end_send(connection, send, failure=None, now_ms=now_ms + DAY_MS)
    assert list_notices(connection, project_id) == []


def test_a_process_that_dies_of_sending_does_not_send_for_ever(
    connection: sa.Connection, sealer: Sealer, project_id: str
) -> None:
    """It never says how an attempt ended; each is counted before it is made, and the end is not silent."""
    add_channel(connection, sealer, project_id)
    settle(connection, NOW, matter(project_id))
    attempts = 0
    while (due_ms := db.next_send_at_ms(connection)) is not None:
        attempts += len(take(connection, sealer, due_ms))
    assert attempts == len(db.RETRY_AFTER_MS)
    (notice,) = list_notices(connection, project_id)
    assert "died while sending" in notice.message


def test_a_channel_that_is_removed_takes_its_messages_along(
    connection: sa.Connection, sealer: Sealer, project_id: str
) -> None:
    channel_id = add_channel(connection, sealer, project_id)
    settle(connection, NOW, matter(project_id))
    db.delete_channel(connection, project_id, channel_id)
    assert connection.execute(sa.select(alert_sends)).all() == []


def test_of_several_processes_that_watch_one_tells(engine: sa.Engine, sealer: Sealer) -> None:
    with engine.begin() as connection:
        project_id = create_project(connection, name="Ours", now_ms=NOW).id
        add_channel(connection, sealer, project_id)
    queued: list[int] = []
    start = threading.Barrier(4)

    def watch() -> None:
        start.wait()
        with engine.begin() as connection:
            queued.append(settle(connection, NOW, matter(project_id)))

    threads = [threading.Thread(target=watch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(queued) == [0, 0, 0, 1]


def test_figures_of_lanes(connection: sa.Connection, sealer: Sealer, project_id: str) -> None:
    now_ms = NOW - NOW % SLOT_MS + 1234
    lane = create_integration(
        connection, sealer, project_id=project_id, destination="webhook", name="Tool", settings=Settings(), now_ms=NOW
    )
    slot = now_ms - now_ms % SLOT_MS
    hour_ms = 3_600_000
    counts = {slot: (4, 1), slot - hour_ms: (10, 2), slot - hour_ms - SLOT_MS: (100, 7), slot - 9 * DAY_MS: (999, 999)}
    change = LaneChange(
        integration_id=lane.id, project_id=project_id, columns={"last_failure": "answered 500"}, counts=counts
    )
    save_lane_changes(connection, [change], now_ms=now_ms)
    rows = [
        OutboxRow(integration_id=lane.id, event_seq=number, customer_id=1, created_at_ms=now_ms + offset)
        for number, offset in enumerate((-5000, -100, 9000))
    ]
    enqueue_rows(connection, rows)
    (found,) = load_lane_figures(connection, now_ms=now_ms)
    assert (found.name, found.enabled, found.state) == ("Tool", True, LaneState(last_failure="answered 500"))
    assert (found.attempts, found.failures) == (14, 3)
    assert (found.week_attempts, found.week_failures) == (100, 7)
    assert (found.oldest_due_ms, found.waiting) == (now_ms - 5000, 3)
    assert load_app_figures(connection, silent_since_ms=now_ms) == []
