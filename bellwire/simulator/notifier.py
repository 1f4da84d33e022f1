"""How fake stores push: queued messages, the store's retry schedule, and trouble on request.

Retries are due on the virtual clock (the store's delay divided by `time_compression`), so that a jump of three days
brings three days of retries. The signature or token of a message is made anew for each attempt by `headers_fn`.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import aiohttp

ATTEMPT_TIMEOUT_S = 10.0


class Mode(StrEnum):
    """What the wire between the store and the hub does."""

    NORMAL = "normal"
    PAUSE = "pause"
    """Nothing is sent; everything waits for `normal`."""
    DROP = "drop"
    """Each message counts as sent and unanswered, and is never tried again."""
    DUPLICATE = "duplicate"
    """Each message is sent twice."""
    SHUFFLE = "shuffle"
    """What is queued together is sent in random order."""
    DELAY = "delay"
    """Each message waits `delay_ms` of virtual time first."""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One message of a store. `retry_delays_s` are the waits after each failed attempt."""

    store: str
    url: str
    body: bytes
    headers_fn: Callable[[], Mapping[str, str]] = dict
    accept_statuses: frozenset[int] = frozenset(range(200, 207))
    retry_delays_s: tuple[float, ...] = ()
    label: str = ""
    """The store's own id of the message, for logs."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try: when (virtual), and the status that came back, or the name of the trouble."""

    at_ms: int
    status: int | None
    error: str | None = None


@dataclass(kw_only=True)
class Sent:
    """A message and what became of it so far."""

    message: Outgoing
    queued_at_ms: int
    due_ms: int
    sequence: int
    attempts: list[Attempt] = field(default_factory=list)
    delivered: bool = False
    given_up: bool = False

    @property
    def open(self) -> bool:
        return not (self.delivered or self.given_up)


class Notifier:
    """The outbound side of all fake stores of one kernel; `history` keeps every message for `onlyFailures` and tests."""

    def __init__(self, now_ms: Callable[[], int], rng: random.Random, *, time_compression: float) -> None:
        self._now_ms = now_ms
        self._random = rng
        self._compression = time_compression
        self._session: aiohttp.ClientSession | None = None
        self._pending: list[Sent] = []
        self._in_flight = asyncio.Lock()
        self._sequence = 0
        self.mode = Mode.NORMAL
        self.delay_ms = 0
        self.history: list[Sent] = []

    def send(self, message: Outgoing) -> Sent:
        """Queue a message; it leaves with the next `pump`."""
        now = self._now_ms()
        due = now + self.delay_ms if self.mode is Mode.DELAY else now
        sent = Sent(message=message, queued_at_ms=now, due_ms=due, sequence=self._sequence)
        self._sequence += 1
        self.history.append(sent)
        if self.mode is Mode.DROP:
            sent.attempts.append(Attempt(at_ms=now, status=None, error="dropped"))
            sent.given_up = True
        else:
            self._pending.append(sent)
        return sent

    def set_mode(self, mode: Mode, *, delay_ms: int = 0) -> None:
        """Change what the wire does from now on; `drop` also loses what is still queued."""
        self.mode = mode
        self.delay_ms = delay_ms
        if mode is Mode.DROP:
            for sent in self._pending:
                sent.attempts.append(Attempt(at_ms=self._now_ms(), status=None, error="dropped"))
                sent.given_up = True
            self._pending.clear()

    @property
    def waiting(self) -> int:
        """Messages that are queued or wait for a retry."""
        return len(self._pending)

    def next_due_ms(self) -> int | None:
        """When the next message leaves; None = none waits, or the wire is paused."""
        if self.mode is Mode.PAUSE:
            return None
        return min((sent.due_ms for sent in self._pending), default=None)

    async def pump(self, *, concurrency: int = 1) -> int:
        """Send what is due now, once each; returns how many attempts were made."""
        async with self._in_flight:
            if self.mode is Mode.PAUSE:
                return 0
            now = self._now_ms()
            due = sorted((s for s in self._pending if s.due_ms <= now), key=lambda s: (s.due_ms, s.sequence))
            if not due:
                return 0
            if self.mode is Mode.SHUFFLE:
                self._random.shuffle(due)
            slots = asyncio.Semaphore(concurrency)
            copies = 2 if self.mode is Mode.DUPLICATE else 1

            async def one(sent: Sent) -> None:
                async with slots:
                    for _ in range(copies):
                        await self._attempt(sent)

            if concurrency == 1:
                for sent in due:
                    await one(sent)
            else:
                await asyncio.gather(*(one(sent) for sent in due))
            self._pending = [s for s in self._pending if s.open]
            return len(due) * copies

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _attempt(self, sent: Sent) -> None:
        message = sent.message
        status, error = await self._post(message)
        at_ms = max(sent.due_ms, sent.queued_at_ms)
        sent.attempts.append(Attempt(at_ms=at_ms, status=status, error=error))
        if status in message.accept_statuses:
            sent.delivered = True
            return
        tries = len(sent.attempts)
        if sent.delivered:
            return  # the second copy of a duplicated message
        if tries > len(message.retry_delays_s):
            sent.given_up = True
            return
        sent.due_ms = at_ms + int(message.retry_delays_s[tries - 1] * 1000 / self._compression)

    async def _post(self, message: Outgoing) -> tuple[int | None, str | None]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ATTEMPT_TIMEOUT_S))
        try:
            async with self._session.post(
                message.url, data=message.body, headers=dict(message.headers_fn()), allow_redirects=False
            ) as response:
                await response.read()
                return response.status, None
        except TimeoutError:
            return None, "timeout"
        except (aiohttp.ClientError, OSError) as error:
            return None, type(error).__name__
