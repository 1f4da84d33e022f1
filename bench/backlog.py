"""Many rows at once, made by the database itself: a backlog for delivery, or the history of a hub that has run for long."""

import time

import sqlalchemy as sa

from bellwire.db.config import ConfigCache
from bellwire.db.engine import open_engine
from bellwire.db.secrets import Sealer
from bellwire.kit.ids import row_id_at
from bench.installation import Installation
from bench.sample import event

_STEP = 200_000


def fill_backlog(installed: Installation, count: int, *, size: int = 0) -> None:
    """`count` events of as many customers, each with a delivery that is due; `size` is that of a payload."""
    _fill(installed, count, "events", "outbox", size=size)


def fill_history(installed: Installation, first: int, last: int) -> None:
    """Events `first` to `last` with their customers, purchases, periods and attempts: all delivered."""
    _fill(installed, last, "customers", "app_user_ids", "chains", "periods", "events", "attempts", "inbox", first=first)


def fill_days(installed: Installation, count: int, at_ms: int, day: int) -> None:
    """`count` attempts, and the bytes of as many messages, of one moment."""
    _fill(installed, (day + 1) * count, "attempts", "inbox_bodies", first=day * count + 1, at_ms=at_ms)


def _fill(
    installed: Installation, last: int, *tables: str, first: int = 1, size: int = 0, at_ms: int | None = None
) -> None:
    engine = open_engine(installed.settings.resolved_database_url())
    sealer = Sealer.open_or_create(installed.settings.data_dir, "")
    integration = ConfigCache(engine, sealer).current().integrations_of(installed.apple.project_id)[0]
    now_ms = time.time_ns() // 1_000_000 if at_ms is None else at_ms
    values = {
        "project": installed.apple.project_id,
        "app": installed.apple.id,
        "integration": integration.id,
        "now": now_ms,
        "payload": event(installed.apple.id, size),
        "ids": row_id_at(now_ms if at_ms is not None else now_ms - 3_600_000),
    }
    with engine.connect() as connection:
        there: int = connection.exec_driver_sql("SELECT COALESCE(max(seq), 0) FROM events").scalar_one()
    values["offset"] = there + 1 - first
    for start in range(first, last + 1, _STEP):
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            for table in tables:
                numbers = _NUMBERS[engine.dialect.name]
                wanted = values | {"start": start, "end": min(last, start + _STEP - 1)}
                text = sa.text(_ROWS[table].replace("{numbers}", numbers))
                connection.execute(text, {name: value for name, value in wanted.items() if f":{name}" in text.text})
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT setval('events_seq_seq', (SELECT max(seq) FROM events))")
    if engine.dialect.name == "postgresql" and at_ms is None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("SET statement_timeout = 0")
            connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


_NUMBERS = {
    "postgresql": "SELECT n FROM generate_series(CAST(:start AS bigint), CAST(:end AS bigint)) AS numbers(n)",
    "sqlite": (
        "WITH RECURSIVE numbers(n) AS (SELECT :start UNION ALL SELECT n + 1 FROM numbers WHERE n < :end) "
        "SELECT n FROM numbers"
    ),
}
# Ids and names of 10,000,000,000 and more: far from those that the hub makes, and in order as text too.
_ROWS = {
    "customers": """INSERT INTO customers (id, project_id, original_app_user_id, first_seen_ms, last_seen_ms, next_sequence)
        SELECT 10000000000 + n, :project, 'old-' || (10000000000 + n), :now, :now, 2 FROM ({numbers}) AS x""",
    "app_user_ids": """INSERT INTO app_user_ids (project_id, app_user_id, customer_id, first_seen_ms, last_seen_ms)
        SELECT :project, 'old-' || (10000000000 + n), 10000000000 + n, :now, :now FROM ({numbers}) AS x""",
    "chains": """INSERT INTO chains (id, project_id, app_id, store, environment, store_key, original_transaction_id,
            customer_id, product_type, product_key, state, flags, as_of_ms, updated_at_ms)
        SELECT 10000000000 + n, :project, :app, 'APP_STORE', 'PRODUCTION', 'old-' || (10000000000 + n), 'old-' || (10000000000 + n), 10000000000 + n,
            'SUBSCRIPTION', 'pro_monthly', 'EXPIRED', '{}', :now, :now FROM ({numbers}) AS x""",
    "periods": """INSERT INTO periods (chain_id, period_key, ordinal, product_id, period_type, purchased_at_ms,
            price_assumed, is_trial_conversion, refund_revokes, refund_count, refund_as_of_ms, family_revoked, historical)
        SELECT 10000000000 + n, 'old-' || (10000000000 + n), 1, 'pro_monthly', 'NORMAL', :now, FALSE, FALSE, FALSE, 0, 0, FALSE, FALSE
        FROM ({numbers}) AS x""",
    "events": """INSERT INTO events (seq, id, project_id, app_id, customer_id, type, environment, store, app_user_id,
            event_timestamp_ms, committed_at_ms, dispatched, historical, payload)
        SELECT :offset + n, 'old-' || (10000000000 + n), :project, :app, 10000000000 + n, 'RENEWAL', 'PRODUCTION', 'APP_STORE', 'old-' || (10000000000 + n),
            :now, :now, TRUE, FALSE, :payload FROM ({numbers}) AS x""",
    "outbox": """INSERT INTO outbox (integration_id, event_seq, customer_id, state, attempt, manual, due_at_ms, created_at_ms)
        SELECT :integration, :offset + n, 10000000000 + n, 0, 0, FALSE, :now, :now FROM ({numbers}) AS x""",
    "attempts": """INSERT INTO attempts (id, project_id, integration_id, event_seq, event_id, event_type, app_user_id,
            environment, attempt, trigger, outcome, reason, status_code, started_at_ms, duration_ms, timings, parked,
            request_method, request_url, request_headers, request_body, response_truncated)
        SELECT :ids + n, :project, :integration, :offset + n, 'old-' || (10000000000 + n), 'RENEWAL', 'old-' || (10000000000 + n), 'PRODUCTION', 1, 'automatic',
            'delivered', '', 200, :now, 12, '{}', FALSE, 'POST', 'https://example.com/hooks', '{}', :payload, FALSE
        FROM ({numbers}) AS x""",
    "inbox_bodies": """INSERT INTO inbox_bodies (inbox_id, body, headers)
        SELECT :ids + n, :payload, '{}' FROM ({numbers}) AS x""",
    "inbox": """INSERT INTO inbox (id, project_id, app_id, store, kind, dedup_key, received_at_ms, status, attempts)
        SELECT :ids + n, :project, :app, 'APP_STORE', 'notification', 'old-' || (10000000000 + n), :now, 'processed', 1
        FROM ({numbers}) AS x""",
}
