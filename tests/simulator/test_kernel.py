"""The kernel of the fake stores: appointments in time order, retries on the virtual clock, trouble on request."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bellwire.kit.clock import ManualClock, SharedClock
from bellwire.simulator.kernel import Kernel, Mode, Outgoing, control_routes
from tests.support.threaded import ask, serving

HOUR_MS = 3_600_000


class Door:
    """Takes what a store sends and answers what the test wants."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[str] = []
        self.port = 0

    async def take(self, request: Request) -> Response:
        self.bodies.append((await request.body()).decode())
        return Response(status_code=self.status)

    def message(self, text: str, *, delays_s: tuple[float, ...] = (), port: int | None = None) -> Outgoing:
        url = f"http://127.0.0.1:{self.port if port is None else port}/door"
        return Outgoing(store="test", url=url, body=text.encode(), retry_delays_s=delays_s)


@pytest.fixture
def door() -> Iterator[Door]:
    it = Door()
    with serving(Starlette(routes=[Route("/door", it.take, methods=["POST"])])) as port:
        it.port = port
        yield it


def live(test: Callable[[Kernel], Awaitable[None]], **changes: float) -> Kernel:
    kernel = Kernel(ManualClock(0), time_compression=changes.get("time_compression", 1.0))

    async def run() -> None:
        try:
            await test(kernel)
        finally:
            await kernel.close()

    asyncio.run(run())
    return kernel


def test_appointments_are_kept_in_time_order_at_their_own_time() -> None:
    clock = ManualClock(0)
    kernel = Kernel(clock)
    seen: list[tuple[str, int]] = []
    kernel.at(20, lambda: seen.append(("second", kernel.now_ms)))
    kernel.at(10, lambda: (seen.append(("first", kernel.now_ms)), kernel.at(15, lambda: kernel.record("inner"))))
    kernel.at(20, lambda: seen.append(("third", kernel.now_ms)))
    kernel.at(1_000, lambda: seen.append(("never", kernel.now_ms)))
    assert kernel.next_due_ms() == 10
    clock.set_ms(100)
    kernel.catch_up()
    assert seen == [("first", 10), ("second", 20), ("third", 20)]
    assert kernel.log == [{"at_ms": 15, "what": "inner"}]
    assert kernel.now_ms == 100


def test_same_seed_same_ids() -> None:
    assert Kernel(ManualClock(0), seed=3).uuid() == Kernel(ManualClock(9), seed=3).uuid()


def test_failed_messages_are_retried_when_the_virtual_clock_says_so(door: Door) -> None:
    async def check(kernel: Kernel) -> None:
        door.status = 503
        sent = kernel.notifier.send(door.message("a", delays_s=(3600, 7200)))
        await kernel.flush()
        assert len(sent.attempts) == 1
        await kernel.flush()
        assert len(sent.attempts) == 1
        kernel.clock.advance_ms(HOUR_MS)
        await kernel.flush()
        assert [attempt.at_ms for attempt in sent.attempts] == [0, HOUR_MS]
        door.status = 204
        kernel.clock.advance_ms(10 * HOUR_MS)
        await kernel.flush()
        assert [attempt.status for attempt in sent.attempts] == [503, 503, 204]
        assert sent.delivered
        assert kernel.notifier.waiting == 0

    live(check)


def test_after_the_last_retry_a_store_gives_up(door: Door) -> None:
    async def check(kernel: Kernel) -> None:
        sent = kernel.notifier.send(door.message("a", delays_s=(60,), port=9))
        kernel.clock.advance_ms(HOUR_MS)
        await kernel.flush()
        assert sent.given_up
        assert len(sent.attempts) == 2
        assert sent.attempts[0].status is None
        assert sent.attempts[0].error

    live(check)


def test_schedules_can_be_compressed(door: Door) -> None:
    async def check(kernel: Kernel) -> None:
        door.status = 500
        sent = kernel.notifier.send(door.message("a", delays_s=(3600,)))
        await kernel.flush()
        assert sent.due_ms == HOUR_MS // 100

    live(check, time_compression=100.0)


def test_what_the_wire_can_do(door: Door) -> None:
    async def check(kernel: Kernel) -> None:
        notifier = kernel.notifier
        notifier.set_mode(Mode.PAUSE)
        for text in "abcdef":
            notifier.send(door.message(text))
        await kernel.flush()
        assert door.bodies == []
        notifier.set_mode(Mode.SHUFFLE)
        await kernel.flush()
        assert sorted(door.bodies) == list("abcdef")
        assert door.bodies != list("abcdef")
        door.bodies.clear()
        notifier.set_mode(Mode.DUPLICATE)
        notifier.send(door.message("g"))
        await kernel.flush()
        assert door.bodies == ["g", "g"]
        notifier.set_mode(Mode.DROP)
        lost = notifier.send(door.message("h"))
        notifier.set_mode(Mode.DELAY, delay_ms=HOUR_MS)
        notifier.send(door.message("i"))
        await kernel.flush()
        assert door.bodies == ["g", "g"]
        kernel.clock.advance_ms(HOUR_MS)
        await kernel.flush()
        assert door.bodies == ["g", "g", "i"]
        assert lost.given_up
        assert not lost.delivered

    live(check)


def test_running_along_with_the_clock(door: Door, tmp_path: Path) -> None:
    async def run() -> None:
        kernel = Kernel(SharedClock(tmp_path / "clock"))
        running = asyncio.create_task(kernel.run())
        kernel.at(kernel.now_ms, lambda: kernel.notifier.send(door.message("a")))
        while not door.bodies:
            await asyncio.sleep(0.01)
        kernel.stop()
        await running
        await kernel.close()

    asyncio.run(asyncio.wait_for(run(), 20))


def test_faults_are_used_up_in_order() -> None:
    faults = Kernel(ManualClock(0)).faults
    faults.add("/a", 503, times=2)
    faults.add("/a/b", 429, retry_after=7)
    assert faults.take("/c") is None
    taken = [faults.take("/a/b") for _ in range(4)]
    assert [fault and (fault.status, fault.retry_after) for fault in taken] == [
        (503, None),
        (503, None),
        (429, 7),
        None,
    ]


def test_remote_control() -> None:
    clock = ManualClock(0)
    kernel = Kernel(clock)
    kernel.at(50, lambda: kernel.record("happened"))
    with serving(Starlette(routes=list(control_routes(kernel)))) as port:

        def post(path: str, body: str) -> tuple[int, object]:
            answer = ask(port, "POST", f"/_control/{path}", body=body.encode())
            return answer.status, answer.json()

        assert post("clock", '{"advance_ms":60}') == (200, {"now_ms": 60})
        assert post("clock", '{"set_ms":1000}') == (200, {"now_ms": 1000})
        assert post("clock", '{"rate":2}')[0] == 400
        assert post("clock", "nonsense")[0] == 400
        assert post("clock", '{"leap":1}')[0] == 400
        assert post("notifications", '{"mode":"pause"}') == (200, {"mode": "pause", "waiting": 0})
        assert post("notifications", '{"mode":"resume"}') == (200, {"mode": "normal", "waiting": 0})
        assert post("notifications", '{"mode":"explode"}')[0] == 400
        assert post("faults", '{"path":"/x","status":500}')[0] == 200
        assert kernel.faults.take("/x/y") is not None
        log = ask(port, "GET", "/_control/log").json()
        assert log == {"now_ms": 1000, "log": [{"at_ms": 50, "what": "happened"}]}
