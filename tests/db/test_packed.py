"""Rows that come in one step are the rows that come one by one."""

from collections.abc import Iterator

import msgspec
import pytest
import sqlalchemy as sa

from bellwire.db.packed import Packed
from bellwire.db.tables import events, projects


class Row(msgspec.Struct, frozen=True, array_like=True):
    seq: int
    customer_id: int
    app_user_id: str | None
    dispatched: int
    payload: str


ROWS = Packed(
    sa.select(*(events.c[name] for name in ("seq", "customer_id", "app_user_id", "dispatched", "payload"))).where(
        events.c.customer_id == sa.bindparam("customer")
    ),
    Row,
)

ODD = ['plain "quotes" \\ and \n lines', "\x01\x7f\u2028 \U0001f600 é", ""]


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.begin() as opened:
        opened.execute(sa.insert(projects).values(id="p", name="P", settings="{}", created_at_ms=0))
        yield opened


def test_rows_are_as_they_were_written(connection: sa.Connection) -> None:
    for seq, text in enumerate(ODD, 1):
        connection.execute(
            sa.insert(events).values(
                seq=seq, id=f"E{seq}", project_id="p", customer_id=2**62, type="RENEWAL", event_timestamp_ms=0,
                committed_at_ms=0, dispatched=True, historical=False, app_user_id=text or None, payload=text.encode(),
            )
        )  # fmt: skip
    found = sorted(ROWS.fetch(connection, {"customer": 2**62}), key=lambda row: row.seq)
    assert [row.payload for row in found] == ODD
    assert [(row.seq, row.customer_id, row.app_user_id, bool(row.dispatched)) for row in found] == [
        (seq, 2**62, text or None, True) for seq, text in enumerate(ODD, 1)
    ]


def test_no_rows(connection: sa.Connection) -> None:
    assert ROWS.fetch(connection, {"customer": 1}) == []
