"""Migrations carry over what is in the tables already."""

import sqlalchemy as sa
from alembic import command

from bellwire.db import migrate
from bellwire.db.attempts import AttemptRecord
from bellwire.db.tables import attempts, inbox, inbox_bodies
from bellwire.kit.ids import row_id_at, row_id_ms

NOW = 1_790_000_000_000


def upgrade_to(engine: sa.Engine, revision: str) -> None:
    with engine.begin() as connection:
        command.upgrade(migrate.alembic_config(connection), revision)


def insert(engine: sa.Engine, table: str, *rows: dict[str, object]) -> None:
    described = sa.table(table, *map(sa.column, rows[0]))
    with engine.begin() as connection:
        connection.execute(sa.insert(described), rows)


def test_attempts_get_ids_that_sort_by_time(empty_database: sa.Engine) -> None:
    upgrade_to(empty_database, "0003")
    fields: dict[str, object] = dict.fromkeys(AttemptRecord.__struct_fields__)
    fields |= {"project_id": "p", "integration_id": "i", "event_seq": 1, "event_type": "RENEWAL", "attempt": 1}
    fields |= {"trigger": "automatic", "outcome": "delivered", "reason": "", "duration_ms": 1, "timings": "{}"}
    fields |= {"parked": False, "response_truncated": False, "request_body": b"\x00\xff"}
    insert(
        empty_database,
        "attempts",
        *(fields | {"event_id": f"e{number}", "started_at_ms": NOW + number // 2} for number in range(6)),
        fields | {"event_id": "clock", "started_at_ms": 5},
    )
    migrate.upgrade(empty_database)
    with empty_database.connect() as connection:
        rows = connection.execute(sa.select(attempts).order_by(attempts.c.id)).all()
    assert [row.event_id for row in rows] == ["clock", *(f"e{number}" for number in range(6))]
    assert [row_id_ms(row.id) for row in rows[1:]] == [row.started_at_ms for row in rows[1:]]
    assert rows[0].id < row_id_at(NOW)
    assert {row.request_body for row in rows} == {b"\x00\xff"}


def test_inbox_bodies_move_to_their_own_table(empty_database: sa.Engine) -> None:
    upgrade_to(empty_database, "0004")
    fields: dict[str, object] = {
        "project_id": "p",
        "app_id": "a",
        "store": "APP_STORE",
        "kind": "notification",
        "received_at_ms": NOW,
    }
    fields |= {"status": "processed", "attempts": 1, "headers": "{}"}
    rows = [
        fields | {"id": row_id_at(NOW) + number, "dedup_key": f"k{number}", "body": b"\x00\xff%d" % number}
        for number in range(5)
    ]
    insert(empty_database, "inbox", *rows)
    migrate.upgrade(empty_database)
    with empty_database.connect() as connection:
        moved = connection.execute(sa.select(inbox_bodies).order_by(inbox_bodies.c.inbox_id)).all()
        narrow = connection.execute(sa.select(inbox.c.id, inbox.c.dedup_key).order_by(inbox.c.id)).all()
    assert [tuple(row) for row in moved] == [(row["id"], row["body"], "{}") for row in rows]
    assert [tuple(row) for row in narrow] == [(row["id"], row["dedup_key"]) for row in rows]
