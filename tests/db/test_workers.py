"""Which processes live, what becomes of the dead, and whose job is whose."""

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from bellwire.db.integrations import Filters, create_integration
from bellwire.db.outbox import Fence, OutboxRow, State, enqueue_rows
from bellwire.db.projects import create_project
from bellwire.db.secrets import Sealer
from bellwire.db.tables import outbox
from bellwire.db.workers import (
    DEAD_AFTER_MS,
    Role,
    Worker,
    beat,
    chosen,
    leave,
    list_workers,
    live_workers,
    register,
)
from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from bellwire.kit.ids import RowIds

NOW_MS = 1_767_225_600_000


def process(name: str, *, node: int = 1, role: Role = Role.WORKER, seen_at_ms: int = NOW_MS) -> Worker:
    return Worker(
        id=name,
        node=node,
        role=role,
        host="here",
        pid=1,
        version="1",
        started_at_ms=NOW_MS,
        seen_at_ms=seen_at_ms,
    )


def test_two_processes_never_have_the_same_node(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        nodes = [register(connection, process(f"w{number}", node=5), alone=False).node for number in range(3)]
        assert nodes[0] == 5
        assert len(set(nodes)) == 3
        assert {one.node for one in list_workers(connection)} == set(nodes)


def test_the_only_process_clears_the_record(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        register(connection, process("old"), alone=False)
        register(connection, process("new"), alone=True)
        assert [one.id for one in list_workers(connection)] == ["new"]


def test_who_falls_silent_counts_no_more_and_is_taken_off_by_anybody(engine: sa.Engine) -> None:
    later = NOW_MS + DEAD_AFTER_MS
    with engine.begin() as connection:
        register(connection, process("a", node=1), alone=False)
        register(connection, process("b", node=2, role=Role.WEB), alone=False)
        beat(connection, process("b", node=2, role=Role.WEB), later - 1)
        assert [one.id for one in live_workers(connection, later - 1)] == ["a", "b"]
        assert [one.id for one in live_workers(connection, later)] == ["b"]
        assert live_workers(connection, later, working=True) == []
        assert [one.id for one in beat(connection, process("b", node=2, role=Role.WEB), later)] == ["b"]
        assert [one.id for one in list_workers(connection)] == ["b"]


def test_who_was_taken_for_dead_while_it_slept_comes_back(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        register(connection, process("sleeper"), alone=False)
        leave(connection, "sleeper")
        assert [one.id for one in beat(connection, process("sleeper"), NOW_MS + 1)] == ["sleeper"]


def test_what_a_dead_process_held_is_due_again_and_what_others_hold_is_not(engine: sa.Engine, sealer: Sealer) -> None:
    ids = {node: RowIds() for node in (1, 2)}
    for node, maker in ids.items():
        maker.node = node
    fences = {node: Fence(maker.next()) for node, maker in ids.items()}
    with engine.begin() as connection:
        project = create_project(connection, name="P", now_ms=NOW_MS)
        hook = create_integration(
            connection,
            sealer,
            project_id=project.id,
            destination="webhook",
            name="hook",
            settings=WebhookSettings(url="https://example.com/"),
            filters=Filters(),
            now_ms=NOW_MS,
        )
        rows = [
            OutboxRow(integration_id=hook.id, event_seq=number, customer_id=1, created_at_ms=NOW_MS)
            for number in (1, 2)
        ]
        enqueue_rows(connection, rows)
        for node, fence in fences.items():
            lease = {"state": State.LEASED.value, "lease": fence, "lease_until_ms": NOW_MS + 600_000}
            connection.execute(sa.update(outbox).where(outbox.c.event_seq == node).values(lease))
        register(connection, process("dead", node=1), alone=False)
        register(connection, process("alive", node=2), alone=False)
    later = NOW_MS + DEAD_AFTER_MS
    with engine.begin() as connection:
        beat(connection, process("alive", node=2), later)
    with engine.connect() as connection:
        held = {row.event_seq: (row.state, row.lease) for row in connection.execute(sa.select(outbox))}
    assert held == {1: (State.DUE, None), 2: (State.LEASED, fences[2])}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_job_is_one_process_s_and_all_agree(count: int) -> None:
    live = [process(f"w{number}", node=number) for number in range(count)]
    jobs = [f"app{number}" for number in range(200)]
    owners = {job: chosen(job, live) for job in jobs}
    assert owners == {job: chosen(job, live[::-1]) for job in jobs}
    assert set(owners.values()) == {one.id for one in live}


def test_only_the_jobs_of_who_went_move() -> None:
    live = [process(f"w{number}", node=number) for number in range(4)]
    jobs = [f"app{number}" for number in range(200)]
    before, after = ({job: chosen(job, some) for job in jobs} for some in (live, live[1:]))
    assert {job for job in jobs if before[job] != after[job]} == {job for job in jobs if before[job] == "w0"}


def test_a_process_that_only_serves_gets_no_jobs() -> None:
    web = process("web", role=Role.WEB)
    assert chosen("app", [web]) is None
    assert chosen("app", [web, replace(web, id="all", role=Role.ALL)]) == "all"
