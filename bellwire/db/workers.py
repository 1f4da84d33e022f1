"""Which processes run on this database. Each says every few seconds that it is there; who falls silent ages out."""

import hashlib
from collections.abc import Collection, Sequence
from enum import StrEnum

import msgspec
import sqlalchemy as sa
import structlog

from bellwire.db.outbox import release_leases_of
from bellwire.db.tables import workers
from bellwire.kit.ids import NODES

log = structlog.get_logger()

HEARTBEAT_MS = 5_000
DEAD_AFTER_MS = 20_000
"""Silence after which a process counts as dead. One that only slept finds its leases taken over, which is safe."""


class Role(StrEnum):
    """What a process does."""

    ALL = "all"
    WEB = "web"
    """Doors and dashboard, and the work on what came in through them."""
    WORKER = "worker"
    """Delivery, timers, recovery, and whatever another process left behind in the inbox."""

    @property
    def serves(self) -> bool:
        return self is not Role.WORKER

    @property
    def works(self) -> bool:
        return self is not Role.WEB


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """One process. `node` is the process part of the row ids it makes; no two have the same."""

    id: str
    node: int
    role: Role
    host: str
    pid: int
    version: str
    started_at_ms: int
    seen_at_ms: int


def heartbeat_ms(connection: sa.Connection, wall_ms: int) -> int:
    """The time by which processes say that they live: the database's own, where they may be on hosts whose clocks differ.

    `wall_ms` is this process's, which counts on SQLite.
    """
    if connection.dialect.name != "postgresql":
        return wall_ms
    return connection.exec_driver_sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").scalar_one()


def live_workers(connection: sa.Connection, now_ms: int, *, working: bool = False) -> list[Worker]:
    """Processes heard of lately, oldest first; with `working` only those that deliver (they share rate limits)."""
    found = [one for one in list_workers(connection) if _heard(one.seen_at_ms, now_ms)]
    return [one for one in found if one.role.works] if working else found


def list_workers(connection: sa.Connection) -> list[Worker]:
    """Every process that is on record, oldest first."""
    rows = connection.execute(sa.select(workers).order_by(workers.c.started_at_ms, workers.c.id))
    return [msgspec.convert(row, Worker, from_attributes=True) for row in rows]


def register(connection: sa.Connection, worker: Worker, *, alone: bool) -> Worker:
    """Put a process on record, under another node where its own is taken. `alone`: there can be no other."""
    if alone:
        connection.execute(sa.delete(workers))
    taken = set(connection.execute(sa.select(workers.c.node)).scalars())
    if worker.node in taken:
        worker = msgspec.structs.replace(worker, node=min(set(range(NODES)) - taken))
    connection.execute(sa.insert(workers), msgspec.structs.asdict(worker))
    return worker


def beat(connection: sa.Connection, worker: Worker, now_ms: int) -> list[Worker]:
    """Say that `worker` is alive, release what the dead held, and return who else lives.

    Dead rows are locked and skipped where another process is burying them already.
    """
    seen = sa.update(workers).where(workers.c.id == worker.id).values(seen_at_ms=now_ms)
    if not connection.execute(seen).rowcount:
        log.warning("worker.taken_for_dead", id=worker.id, why="it was silent; what it held may be sent twice")
        register(connection, msgspec.structs.replace(worker, seen_at_ms=now_ms), alone=False)
    silent = [one.id for one in list_workers(connection) if not _heard(one.seen_at_ms, now_ms)]
    if silent:
        dead = connection.execute(
            sa.select(workers.c.id, workers.c.node)
            .where(workers.c.id.in_(silent))
            .order_by(workers.c.id)
            .with_for_update(skip_locked=True)
        ).all()
        connection.execute(sa.delete(workers).where(workers.c.id.in_([row.id for row in dead])))
        release_leases_of(connection, {row.node for row in dead})
    return live_workers(connection, now_ms)


def _heard(seen_at_ms: int, now_ms: int) -> bool:
    """Lately; a time far ahead is from before the clock was set back."""
    return now_ms - DEAD_AFTER_MS < seen_at_ms < now_ms + 3 * DEAD_AFTER_MS


def leave(connection: sa.Connection, worker_id: str) -> None:
    """Take a process off the record: it ends in order and holds nothing."""
    connection.execute(sa.delete(workers).where(workers.c.id == worker_id))


def chosen(key: str, live: Collection[Worker]) -> str | None:
    """Whose job `key` is: one of those that work, the same for everybody who knows of the same processes.

    When one comes or goes only its own share moves (rendezvous hashing). For a moment two may think that a job is
    theirs: jobs that are shared this way may be done twice.
    """
    working: Sequence[str] = [one.id for one in live if one.role.works]
    return max(working, key=lambda one: hashlib.sha256(f"{one}\0{key}".encode()).digest(), default=None)
