"""The claim statement does what the order rule says, for any outbox (architecture D4)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from bellwire.db import outbox as outbox_module
from bellwire.db import outbox_claim
from bellwire.db.bulk import Bulk, BulkInsert
from bellwire.db.engine import open_engine
from bellwire.db.outbox import Fence, State
from bellwire.db.outbox_claim import LaneRoom, claim_due
from bellwire.db.postgres import prefer_indexes
from bellwire.db.tables import events, integrations, metadata, outbox, projects

NOW = 1000
FENCE = Fence(99)


@dataclass(frozen=True)
class Row:
    id: int
    customer_id: int
    state: int
    attempt: int
    manual: bool
    late: bool
    due_at_ms: int
    created_at_ms: int


def must_wait(row: Row, rows: list[Row], taken: set[int], room: LaneRoom) -> bool:
    """The rule in words: an earlier event of the customer is unfinished and young, or takes part in this claim; where
    they may go together, taking part is no reason."""
    wait_ms = room.order_wait_ms
    earlier = [one for one in rows if one.customer_id == row.customer_id and one.id < row.id]
    young = [one for one in earlier if wait_ms is None or (wait_ms > 0 and one.created_at_ms > NOW - wait_ms)]
    if room.of_a_customer > 1:
        due = [one for one in earlier if (one.state == State.DUE and one.due_at_ms <= NOW) or one.id in taken]
        return len(due) >= room.of_a_customer or any(
            (one.state == State.LEASED and one.id not in taken) or (one.state == State.DUE and one.due_at_ms > NOW)
            for one in young
        )
    return (
        any(one.state in (State.DUE, State.LEASED) for one in young)
        or any(one.state == State.DUE and one.due_at_ms <= NOW for one in earlier)
        or any(one.id in taken for one in earlier)
    )


def expected(rows: list[Row], room: LaneRoom) -> set[int]:
    """Late ones first, up to their share; then fresh ones with what is left."""
    taken: set[int] = set()
    for late, limit in ((True, min(room.late, room.rows)), (False, None)):
        left = [replace(row, state=State.LEASED) if row.id in taken else row for row in rows]
        free = [
            row
            for row in left
            if row.state == State.DUE
            and row.due_at_ms <= NOW
            and row.late == late
            and (row.manual or not must_wait(row, left, taken, room))
        ]
        free.sort(key=lambda row: (row.due_at_ms, row.id))
        taken |= {row.id for row in free[: room.rows - len(taken) if limit is None else limit]}
    return without_gaps(rows, taken) if room.of_a_customer > 1 else taken


def without_gaps(rows: list[Row], taken: set[int]) -> set[int]:
    """Those that do not go before an earlier one that is due and was not taken; what was asked for by hand may."""
    kept: set[int] = set()
    for row in rows:
        due = {one.id for one in rows if one.customer_id == row.customer_id and one.id < row.id
               and one.state == State.DUE and one.due_at_ms <= NOW}  # fmt: skip
        if row.id in taken and (row.manual or due <= kept):
            kept.add(row.id)
    return kept


rows_of_any_kind = st.lists(
    st.builds(
        Row,
        id=st.just(0),
        customer_id=st.integers(1, 3),
        state=st.sampled_from([State.DUE, State.DUE, State.DUE, State.LEASED, State.PARKED]),
        attempt=st.integers(0, 2),
        late=st.booleans(),
        manual=st.sampled_from([False, False, False, True]),
        due_at_ms=st.integers(NOW - 3, NOW + 3),
        created_at_ms=st.integers(NOW - 100, NOW),
    ),
    max_size=12,
).map(lambda rows: [replace(row, id=number) for number, row in enumerate(rows, 1)])

rooms = st.builds(
    LaneRoom,
    rows=st.integers(0, 8),
    late=st.integers(0, 8),
    order_wait_ms=st.one_of(st.none(), st.just(0), st.integers(1, 120)),
    of_a_customer=st.sampled_from([1, 2, 4]),
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    if request.param == "sqlite":
        engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    else:
        engine = open_engine(request.getfixturevalue("postgres").create_database())
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(projects).values(id="p", name="P", settings="{}", created_at_ms=0))
    with engine.begin() as connection:
        connection.execute(
            sa.insert(integrations).values(
                id="lane",
                project_id="p",
                destination="webhook",
                name="lane",
                settings="{}",
                sealed_secrets=b"",
                enabled=True,
                concurrency=1,
                created_at_ms=0,
            )
        )
        for number in range(1, 13):
            connection.execute(
                sa.insert(events).values(
                    seq=number,
                    id=f"E{number}",
                    project_id="p",
                    customer_id=1,
                    type="RENEWAL",
                    event_timestamp_ms=0,
                    committed_at_ms=0,
                    dispatched=True,
                    historical=False,
                    payload=b"{}",
                )
            )
    yield engine
    engine.dispose()


@settings(max_examples=300, deadline=None)
@given(rows=rows_of_any_kind, room=rooms)
def test_exactly_the_rows_that_the_rule_lets_go(database: sa.Engine, rows: list[Row], room: LaneRoom) -> None:
    with database.begin() as connection:
        connection.execute(sa.delete(outbox))
        for row in rows:
            lease = 5 if row.state == State.LEASED else None
            connection.execute(
                sa.insert(outbox).values(integration_id="lane", event_seq=row.id, lease=lease, **row.__dict__)
            )
        claims = claim_due(
            connection, {"lane": room}, room_of_deleted=room, now_ms=NOW, fence=FENCE, lease_until_ms=NOW + 1
        )
        query = sa.select(outbox.c.id).where(outbox.c.lease == FENCE)
        in_table = set(connection.execute(query).scalars())
    claimed = claims["lane"].rows if "lane" in claims else []
    assert in_table == {row.id for row in claimed} == expected(rows, room)
    assert len(claimed) <= room.rows
    in_order = [row.customer_id for row in claimed if not row.manual]
    assert max(Counter(in_order).values(), default=0) <= room.of_a_customer
    for customer_id in {row.customer_id for row in claimed}:
        numbers = [row.id for row in claimed if row.customer_id == customer_id]
        assert numbers == sorted(numbers) or any(row.manual for row in claimed)
    later = [row.due_at_ms for row in rows if row.state == State.DUE and row.due_at_ms > NOW]
    if later and not claims["lane"].full:
        assert claims["lane"].next_at_ms is not None
        assert claims["lane"].next_at_ms <= min(later)


def test_claiming_does_not_depend_on_what_the_database_believes_of_the_queue(engine: sa.Engine) -> None:
    """PostgreSQL had last looked while the queue was empty, took it for empty, and went through all of it for each row."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite's planner has no such statistics")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO outbox (integration_id, event_seq, customer_id, state, attempt, manual, due_at_ms, created_at_ms)"
            " SELECT 'intg1', n, n, 0, 0, FALSE, 1, 1 FROM generate_series(1, 3000) AS numbers(n)"
        )
        connection.exec_driver_sql("UPDATE pg_class SET relpages = 30, reltuples = 0 WHERE relname = 'outbox'")
        claim = outbox_claim._FRESH[False]._query.compile(dialect=connection.dialect)
        values = claim.construct_params({"lane": "intg1", "now": 2, "young_after": 0, "rows": 100})
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {claim}", values).scalars())
    assert "Sort" not in plan
    assert "ix_outbox_class on outbox waiting" in plan
    assert "ix_outbox_customer on outbox earlier" in plan


def test_writing_down_does_not_depend_on_what_the_database_believes_of_the_queue(engine: sa.Engine) -> None:
    """Like claiming: what ended was once looked for in the whole backlog, row by row."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite's planner has no such statistics")
    statements = {
        name: statement
        for name, statement in vars(outbox_module).items()
        if isinstance(statement, Bulk) and not isinstance(statement, BulkInsert)
    } | {"_LEASE": outbox_claim._LEASE}
    assert "_FINISH" in statements
    with engine.connect() as connection:
        prefer_indexes(connection)
        connection.exec_driver_sql("UPDATE pg_class SET relpages = 30, reltuples = 0 WHERE relname = 'outbox'")
        for name, statement in statements.items():
            values = ("{}",) * statement._postgresql.count("%s")
            plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement._postgresql}", values).scalars())
            assert "Seq Scan on outbox" not in plan, name
