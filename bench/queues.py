"""Other people's queues: how fast PgQueuer, procrastinate and SAQ drain tasks that post what Bellwire posts.

One task is the same signed 1.6 KB POST to the same nginx, 64 at once. All three run on the benchmark's PostgreSQL with
`synchronous_commit` on, as their documentation advises for speed: PgQueuer fetches and acknowledges in batches over a pool of
asyncpg, procrastinate deletes what went well, SAQ works with 64 tasks. None of them keeps the request and the answer, as
Bellwire does. The clock stops at the answer to the last post, before it is written down that it is done: in their favour.
"""

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg
import procrastinate
import saq
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode
from saq.queue.postgres import PostgresQueue

from bench.databases import Database, databases
from bench.processes import nginx
from bench.sample import body
from tests.support.postgres import database_name

AT_ONCE = 64
BATCH = 100
LONGEST_S = 120
SECRET = b"a webhook signing secret of 32 b"


class Poster:
    """What a task does; `rate` once `count` of them were answered."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.started_s = self.ended_s = 0.0
        self.done = 0

    async def post(self, payload: bytes) -> None:
        stamp = str(int(time.time()))
        mac = hmac.new(SECRET, f"{stamp}.".encode() + payload, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Signature": f"t={stamp},v1={mac}"}
        async with self._session.post(self._url, data=payload, headers=headers) as answer:
            await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the sink answered {answer.status}")
        self.done += 1
        self.ended_s = time.perf_counter()

    def start(self) -> None:
        self.started_s = time.perf_counter()

    def rate(self, count: int) -> float:
        if self.done != count:
            raise RuntimeError(f"{self.done} of {count} tasks were done")
        return count / (self.ended_s - self.started_s)


Drain = Callable[[Poster, str, list[bytes]], Awaitable[None]]


async def drain_pgqueuer(poster: Poster, url: str, payloads: list[bytes]) -> None:
    async with asyncpg.create_pool(url, min_size=4, max_size=10) as pool:
        queuer = PgQueuer.from_asyncpg_pool(pool)
        queries = Queries(queuer.connection)
        await queries.install()

        @queuer.entrypoint("post")
        async def post(job: Job) -> None:
            await poster.post(job.payload or b"")

        count = len(payloads)
        wanted: list[bytes | None] = [*payloads]
        await queries.enqueue(["post"] * count, wanted, [0] * count)
        poster.start()
        await queuer.qm.run(batch_size=BATCH, mode=QueueExecutionMode.drain, max_concurrent_tasks=2 * BATCH)


async def drain_procrastinate(poster: Poster, url: str, payloads: list[bytes]) -> None:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=20))
    async with app.open_async():
        await app.schema_manager.apply_schema_async()

        @app.task(name="post")
        async def post(payload: str) -> None:
            await poster.post(payload.encode())

        arguments: list[dict[str, Any]] = [{"payload": payload.decode()} for payload in payloads]
        await post.batch_defer_async(*arguments)
        poster.start()
        await app.run_worker_async(
            concurrency=AT_ONCE,
            wait=False,
            delete_jobs="successful",
            listen_notify=False,
            install_signal_handlers=False,
        )


async def drain_saq(poster: Poster, url: str, payloads: list[bytes]) -> None:
    queue = PostgresQueue.from_url(url, min_size=4, max_size=20)
    await queue.connect()

    async def post(_context: Any, *, payload: str) -> None:
        await poster.post(payload.encode())

    for start in range(0, len(payloads), BATCH):
        some = payloads[start : start + BATCH]
        await asyncio.gather(*(queue.enqueue("post", payload=payload.decode(), timeout=60) for payload in some))
    worker = saq.Worker(queue, functions=[("post", post)], concurrency=AT_ONCE)
    poster.start()
    working = asyncio.create_task(worker.start())
    deadline_s = time.perf_counter() + LONGEST_S
    while poster.done < len(payloads) and time.perf_counter() < deadline_s:
        await asyncio.sleep(0.02)
    await worker.stop()
    await asyncio.gather(working, return_exceptions=True)
    await queue.disconnect()


QUEUES: dict[str, Drain] = {"pgqueuer": drain_pgqueuer, "procrastinate": drain_procrastinate, "saq": drain_saq}


def measure(name: str, database: Database, count: int) -> float:
    """Tasks a second over `count` tasks in a database of their own."""
    assert database.server is not None, "these queues run on PostgreSQL"
    logging.getLogger(name).setLevel(logging.ERROR)
    url = database.server.create_database()
    plain = f"postgresql://postgres@/{database_name(url)}?host={url.split('?host=', 1)[1]}"
    try:
        with nginx() as sink:
            return uvloop.run(_measured(QUEUES[name], plain, sink, count))
    finally:
        database.server.drop_database(url)


async def _measured(drain: Drain, url: str, sink: str, count: int) -> float:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:
        poster = Poster(session, sink)
        await drain(poster, url, [body(number) for number in range(count)])
        return poster.rate(count)


if __name__ == "__main__":
    with databases(("postgresql",)) as [database]:
        for name in QUEUES:
            print(f"{name} {measure(name, database, 1_000):.0f} tasks/s", flush=True)
