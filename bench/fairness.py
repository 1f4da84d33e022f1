"""What a bad destination costs the others, and what a backlog costs fresh events: p99 from commit to first send.

`python -m bench.fairness [--quick]`. By turns: without and with the trouble. Prints medians and

- `ratio fairness_p99`: p99 of three well lanes while one lane is dead and one answers after 30 s, each with a backlog,
  through their p99 without these two;
- `ratio fresh_p99_while_draining`: p99 of fresh events of a lane while its backlog drains, through its idle value.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import sqlalchemy as sa
import uvloop

from bellwire.app import Hub, configure_logging
from bellwire.db import tables
from bellwire.db.integrations import Filters, create_integration
from bellwire.db.outbox import OutboxRow, enqueue_rows
from bellwire.db.projects import create_project
from bellwire.destinations.webhook.destination import Settings as Webhook
from bellwire.model.enums import Environment, EventType, Store
from bellwire.model.events import Event
from bellwire.settings import Settings
from bench.processes import free_port, nginx, python_server

BACKLOG = 100_000
EVENTS = 600
PAUSE_S = 0.01
"""Between two fresh events: some hundred a second, well below what the hub can do."""
SLOW_S = 30
_HOUR_MS = 3_600_000
_KNOWN = 1_000
"""Events that a backlog's rows are about; each is in it many times over, as many customers."""


class Scene:
    """A hub of its own with its lanes, gone with its folder."""

    def __init__(self, folder: Path, sink_url: str) -> None:
        self.settings = Settings(data_dir=folder, allow_private_addresses=True, log_level="error")
        configure_logging(self.settings)
        self.hub = Hub(self.settings)
        self.sink_url = sink_url
        with self.hub.engine.begin() as connection:
            self.project_id = create_project(connection, name="Bench", now_ms=0).id
        self._numbers = iter(range(1, 10_000_000))

    def lane(self, url: str) -> str:
        with self.hub.engine.begin() as connection:
            made = create_integration(
                connection,
                self.hub.sealer,
                project_id=self.project_id,
                destination="webhook",
                name="Lane",
                settings=Webhook(url=url),
                filters=Filters(),
                now_ms=0,
            )
        return made.id

    def backlog(self, lane: str, count: int, *, late: bool) -> None:
        """Old rows, each of a customer of its own: first attempts, or (`late`) retries."""
        due_ms = _now_ms() - _HOUR_MS
        with self.hub.engine.begin() as connection:
            first = self._append(connection, count, due_ms)
            rows = [
                {
                    "integration_id": lane,
                    "event_seq": first + number,
                    "customer_id": 1_000_000 + first + number,
                    "state": 0,
                    "attempt": int(late),
                    "manual": False,
                    "late": late,
                    "due_at_ms": due_ms,
                    "created_at_ms": due_ms,
                }
                for number in range(count)
            ]
            connection.execute(sa.insert(tables.outbox), rows)

    async def fresh(self, lanes: Sequence[str], count: int) -> list[float]:
        """Milliseconds from commit to first send of `count` events, one after the other to the lanes in turn."""
        sent: dict[int, int] = {}
        seqs: list[int] = []
        for number in range(count):
            lane = lanes[number % len(lanes)]
            seqs.append(await self.hub.writer.change(lambda c, lane=lane: self._commit(c, lane)))
            await asyncio.sleep(PAUSE_S)
        deadline = time.monotonic() + 60
        while len(sent) < count and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
            sent = await asyncio.to_thread(self._sent, seqs)
        with self.hub.read_engine.connect() as connection:
            query = sa.select(tables.events.c.seq, tables.events.c.committed_at_ms).where(
                tables.events.c.seq >= seqs[0], tables.events.c.seq <= seqs[-1]
            )
            committed = {row.seq: row.committed_at_ms for row in connection.execute(query)}
        return [float(sent.get(seq, _now_ms()) - committed[seq]) for seq in seqs]

    def _commit(self, connection: sa.Connection, lane: str) -> int:
        now_ms = _now_ms()
        seq = self._append(connection, 1, now_ms)
        enqueue_rows(connection, [OutboxRow(integration_id=lane, event_seq=seq, customer_id=seq, created_at_ms=now_ms)])
        return seq

    def _append(self, connection: sa.Connection, count: int, now_ms: int) -> int:
        numbers = [next(self._numbers) for _ in range(count)]
        payload = [msgspec.json.encode(_event(number)) for number in range(min(count, _KNOWN))]
        connection.execute(
            sa.insert(tables.events),
            [
                {
                    "seq": number,
                    "id": f"E{number}",
                    "project_id": self.project_id,
                    "customer_id": number,
                    "type": "RENEWAL",
                    "event_timestamp_ms": now_ms,
                    "committed_at_ms": now_ms,
                    "dispatched": True,
                    "historical": False,
                    "payload": payload[number % len(payload)],
                }
                for number in numbers
            ],
        )
        return numbers[0]

    def _sent(self, seqs: list[int]) -> dict[int, int]:
        query = (
            sa.select(tables.attempts.c.event_seq, sa.func.min(tables.attempts.c.started_at_ms).label("at"))
            .where(tables.attempts.c.event_seq >= seqs[0], tables.attempts.c.event_seq <= seqs[-1])
            .group_by(tables.attempts.c.event_seq)
        )
        with self.hub.read_engine.connect() as connection:
            return {row.event_seq: row.at for row in connection.execute(query)}

    async def close(self) -> None:
        await self.hub.stop()


async def among_others(sink: str, slow: str, *, backlog: int, events: int, trouble: bool) -> float:
    """p99 of well lanes, with or without a dead and a slow lane beside them."""
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder), sink)
        lanes = [scene.lane(sink) for _ in range(3)]
        if trouble:
            for url in (f"http://127.0.0.1:{free_port()}/", slow):
                scene.backlog(scene.lane(url), backlog, late=False)
        return await _measure(scene, lanes, events)


async def while_draining(sink: str, *, backlog: int, events: int, late: bool | None) -> float:
    """p99 of fresh events of one lane: idle (`late` None), or while old first attempts or old retries drain."""
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder), sink)
        lane = scene.lane(sink)
        if late is not None:
            scene.backlog(lane, backlog, late=late)
        return await _measure(scene, [lane], events)


async def _measure(scene: Scene, lanes: Sequence[str], events: int) -> float:
    running = asyncio.create_task(scene.hub.delivery.run())
    try:
        await scene.fresh(lanes, 50)  # connections are open, code is warm
        times = await scene.fresh(lanes, events)
    finally:
        scene.hub.delivery.stop()
        await running
        await scene.close()
    return statistics.quantiles(times, n=100)[98]


def _event(number: int) -> Event:
    return Event(
        type=EventType.RENEWAL,
        id=f"00000000-0000-5000-8000-{number:012d}",
        event_timestamp_ms=1_790_000_000_000,
        app_user_id=f"customer-{number}",
        environment=Environment.PRODUCTION,
        store=Store.APP_STORE,
        product_id="pro_monthly",
        price=9.99,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> None:
    """Measure and print."""
    if "--quick" in sys.argv:
        compare(rounds=3, events=EVENTS // 2, backlog=BACKLOG // 5)
    else:
        compare(rounds=5, events=EVENTS, backlog=BACKLOG)


def compare(*, rounds: int, events: int, backlog: int) -> None:
    """All five by turns, and the lines that say how they compare."""
    with nginx() as sink, python_server("bench.slow_sink", str(SLOW_S)) as slow_port:
        slow = f"http://127.0.0.1:{slow_port}/"
        plan: dict[str, Callable[[], float]] = {
            "well_alone": lambda: uvloop.run(among_others(sink, slow, backlog=backlog, events=events, trouble=False)),
            "well_beside": lambda: uvloop.run(among_others(sink, slow, backlog=backlog, events=events, trouble=True)),
            "idle": lambda: uvloop.run(while_draining(sink, backlog=backlog, events=events, late=None)),
            "draining_first": lambda: uvloop.run(while_draining(sink, backlog=backlog, events=events, late=False)),
            "draining_late": lambda: uvloop.run(while_draining(sink, backlog=backlog, events=events, late=True)),
        }
        found: dict[str, list[float]] = {name: [] for name in plan}
        for number in range(rounds):
            for name, measure in plan.items():
                found[name].append(measure())
                print(f"round {number + 1}/{rounds}  p99 {name:16} {found[name][-1]:8.1f} ms", flush=True)
    middle = {name: statistics.median(values) for name, values in found.items()}
    for name, value in middle.items():
        print(f"median p99 {name:16} {value:8.1f} ms  ({min(found[name]):.1f} to {max(found[name]):.1f})")
    print(f"ratio fairness_p99 {middle['well_beside'] / middle['well_alone']:.3f}")
    worst = max(middle["draining_first"], middle["draining_late"])
    print(f"ratio fresh_p99_while_draining {worst / middle['idle']:.3f}")


if __name__ == "__main__":
    main()
