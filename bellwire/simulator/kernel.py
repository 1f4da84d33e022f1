"""What all fake stores share: a virtual clock with appointments, the outbound wire, faults on request, and a log."""

import asyncio
import heapq
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bellwire.kit.clock import ManualClock, SharedClock
from bellwire.simulator.notifier import Attempt, Mode, Notifier, Outgoing, Sent

__all__ = ["Attempt", "Fault", "Faults", "Kernel", "Mode", "Notifier", "Outgoing", "Sent", "control_routes"]

TICK_S = 0.05
RUN_CONCURRENCY = 8
LOG_LIMIT = 5_000


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The answer that a fake gives instead of its own. `retry_after` is in the store's own unit."""

    status: int
    retry_after: int | None = None


class Faults:
    """Answers to give instead of the real ones, by path prefix, a number of times each."""

    def __init__(self) -> None:
        self._planned: list[tuple[str, Fault, int]] = []

    def add(self, path_prefix: str, status: int, times: int = 1, retry_after: int | None = None) -> None:
        """Answer the next `times` requests below `path_prefix` with `status`."""
        self._planned.append((path_prefix, Fault(status=status, retry_after=retry_after), times))

    def take(self, path: str) -> Fault | None:
        """The fault planned for a request to `path`, used up by asking."""
        for index, (prefix, fault, times) in enumerate(self._planned):
            if path.startswith(prefix):
                if times <= 1:
                    del self._planned[index]
                else:
                    self._planned[index] = (prefix, fault, times - 1)
                return fault
        return None

    def clear(self) -> None:
        self._planned.clear()


class Kernel:
    """One virtual world: a clock, appointments on it, and what the stores in it say to the hub."""

    def __init__(self, clock: SharedClock | ManualClock, *, seed: int = 1, time_compression: float = 1.0) -> None:
        self.clock = clock
        self.random = random.Random(seed)
        self.notifier = Notifier(lambda: self.now_ms, self.random, time_compression=time_compression)
        self.faults = Faults()
        self.log: list[dict[str, object]] = []
        self._appointments: list[tuple[int, int, Callable[[], object]]] = []
        self._count = 0
        self._callback_ms: int | None = None
        self._stopped = False

    @property
    def now_ms(self) -> int:
        """The due time of the running appointment, else the clock's time."""
        return self.clock.now_ms() if self._callback_ms is None else self._callback_ms

    def uuid(self) -> str:
        """A seeded random UUID (version 4)."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def at(self, when_ms: int, callback: Callable[[], object]) -> None:
        """Call `callback` when the virtual clock has reached `when_ms`; same time, same order as asked."""
        heapq.heappush(self._appointments, (when_ms, self._count, callback))
        self._count += 1

    def catch_up(self) -> None:
        """Keep every appointment that is due, in time order; those may make new ones."""
        if self._callback_ms is not None:
            return
        while self._appointments and self._appointments[0][0] <= self.clock.now_ms():
            when_ms, _, callback = heapq.heappop(self._appointments)
            self._callback_ms = when_ms
            try:
                callback()
            finally:
                self._callback_ms = None

    def next_due_ms(self) -> int | None:
        """When the next appointment or message is due; None = nothing is planned."""
        moments = [self._appointments[0][0]] if self._appointments else []
        message = self.notifier.next_due_ms()
        return min([*moments, *([] if message is None else [message])], default=None)

    def record(self, what: str, **details: object) -> None:
        """Add a line to the log that `GET /_control/log` shows."""
        self.log.append({"at_ms": self.now_ms, "what": what, **details})
        if len(self.log) > LOG_LIMIT:
            del self.log[: LOG_LIMIT // 10]

    async def flush(self) -> None:
        """Catch up, then send everything that is due, one at a time, and wait for the answers."""
        self.catch_up()
        while await self.notifier.pump():
            self.catch_up()

    async def run(self) -> None:
        """Live along with the clock until `stop`."""
        self._stopped = False
        while not self._stopped:
            self.catch_up()
            await self.notifier.pump(concurrency=RUN_CONCURRENCY)
            await asyncio.sleep(TICK_S)

    def stop(self) -> None:
        self._stopped = True

    async def close(self) -> None:
        self.stop()
        await self.notifier.close()


class ClockCommand(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /_control/clock."""

    advance_ms: int | None = None
    set_ms: int | None = None
    rate: float | None = None


class NotificationsCommand(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /_control/notifications."""

    mode: str
    delay_ms: int = 0


class FaultsCommand(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /_control/faults."""

    path: str
    status: int
    times: int = 1
    retry_after: int | None = None


def control_routes(kernel: Kernel) -> list[Route]:
    """The remote control that all stores of a kernel share; each store adds its own under `/_control/<store>/`."""

    async def clock(request: Request) -> Response:
        command = msgspec.json.decode(await request.body(), type=ClockCommand)
        if command.rate is not None:
            if not isinstance(kernel.clock, SharedClock):
                return JSONResponse({"error": "this clock has no rate"}, status_code=400)
            kernel.clock.set(rate=command.rate)
        if command.set_ms is not None:
            _set(kernel.clock, command.set_ms)
        if command.advance_ms is not None:
            kernel.clock.advance_ms(command.advance_ms)
        kernel.catch_up()
        return JSONResponse({"now_ms": kernel.now_ms})

    async def notifications(request: Request) -> Response:
        command = msgspec.json.decode(await request.body(), type=NotificationsCommand)
        name = "normal" if command.mode == "resume" else command.mode
        if name not in set(Mode):
            return JSONResponse({"error": f"mode is one of resume, {', '.join(Mode)}"}, status_code=400)
        kernel.notifier.set_mode(Mode(name), delay_ms=command.delay_ms)
        return JSONResponse({"mode": kernel.notifier.mode, "waiting": kernel.notifier.waiting})

    async def faults(request: Request) -> Response:
        command = msgspec.json.decode(await request.body(), type=FaultsCommand)
        kernel.faults.add(command.path, command.status, command.times, command.retry_after)
        return JSONResponse({})

    async def log(_request: Request) -> Response:
        return JSONResponse({"now_ms": kernel.now_ms, "log": kernel.log})

    return [
        Route("/_control/clock", checked(clock), methods=["POST"]),
        Route("/_control/notifications", checked(notifications), methods=["POST"]),
        Route("/_control/faults", checked(faults), methods=["POST"]),
        Route("/_control/log", log, methods=["GET"]),
    ]


def checked(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """`handler`, answering 400 with the reason when a body cannot be used."""

    async def wrapped(request: Request) -> Response:
        try:
            return await handler(request)
        except (msgspec.DecodeError, LookupError, ValueError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)

    return wrapped


def _set(clock: SharedClock | ManualClock, now_ms: int) -> None:
    if isinstance(clock, SharedClock):
        clock.set(virtual_ms=now_ms)
    else:
        clock.set_ms(now_ms)
