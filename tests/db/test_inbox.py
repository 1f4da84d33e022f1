"""The inbox gives back what was kept."""

import sqlalchemy as sa
from msgspec.structs import replace

from bellwire.db.inbox import RECEIVED, InboxEntry, append_entries, load_open
from bellwire.db.tables import inbox_bodies


def test_waiting_notifications_are_loaded_with_the_bytes_that_came(engine: sa.Engine) -> None:
    """Rows once failed to become entries: their column names are a subclass of str."""
    entry = InboxEntry(
        id=7,
        project_id="proj1",
        app_id="app1",
        store="APP_STORE",
        kind="notification",
        dedup_key="uuid-1",
        received_at_ms=1_000,
        body=b'{"signedPayload": "x"}',
        status=RECEIVED,
        next_attempt_at_ms=1_000,
    )
    with engine.begin() as connection:
        assert append_entries(connection, [entry, replace(entry, id=8)]) == [True, False]
        assert load_open(connection, 999, limit=10) == []
        (loaded,) = load_open(connection, 1_000, limit=10)
    assert (loaded.id, loaded.app_id, loaded.body, loaded.attempts) == (7, "app1", entry.body, 0)


def test_one_body_for_each_entry_that_is_kept(engine: sa.Engine) -> None:
    entry = InboxEntry(
        id=1,
        project_id="proj1",
        app_id="app1",
        store="APP_STORE",
        kind="notification",
        dedup_key="uuid-1",
        received_at_ms=1_000,
        body=b"first",
        headers='{"user-agent": "x"}',
        next_attempt_at_ms=1_000,
    )
    again = replace(entry, id=2, body=b"again")
    other = replace(entry, id=3, dedup_key="uuid-3", body=b"other")
    with engine.begin() as connection:
        assert append_entries(connection, [entry]) == [True]
        assert append_entries(connection, [again, other, replace(other, id=4)]) == [False, True, False]
        rows = connection.execute(sa.select(inbox_bodies).order_by(inbox_bodies.c.inbox_id)).all()
    assert [tuple(row) for row in rows] == [(1, b"first", entry.headers), (3, b"other", entry.headers)]


def test_an_open_entry_whose_body_has_aged_out_is_still_found(engine: sa.Engine) -> None:
    """It is then put aside as one that cannot be read, and not looked at for ever."""
    entry = InboxEntry(
        id=1,
        project_id="proj1",
        app_id="app1",
        store="APP_STORE",
        kind="notification",
        dedup_key="uuid-1",
        received_at_ms=1_000,
        body=b"first",
        next_attempt_at_ms=1_000,
    )
    with engine.begin() as connection:
        append_entries(connection, [entry])
        connection.execute(sa.delete(inbox_bodies))
        (loaded,) = load_open(connection, 1_000, limit=10)
    assert (loaded.id, loaded.body) == (1, b"")


def test_a_notification_kept_before_the_clock_was_set_back_does_not_wait_for_that_time(engine: sa.Engine) -> None:
    now_ms, hour_ms = 10_000_000, 3_600_000
    entry = InboxEntry(
        id=1,
        project_id="proj1",
        app_id="app1",
        store="APP_STORE",
        kind="notification",
        dedup_key="uuid-1",
        received_at_ms=now_ms,
        body=b"first",
        next_attempt_at_ms=now_ms + 30_000,
    )
    with engine.begin() as connection:
        append_entries(connection, [entry])
        assert load_open(connection, now_ms, limit=10) == []
        (loaded,) = load_open(connection, now_ms - hour_ms, limit=10)
    assert loaded.id == 1
