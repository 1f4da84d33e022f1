"""The inbox gives back what was kept."""

import sqlalchemy as sa
from msgspec.structs import replace

from bellwire.db.inbox import RECEIVED, InboxEntry, append_entries, load_open


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
