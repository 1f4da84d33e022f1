"""Telling other processes at once what they would find by looking: LISTEN and NOTIFY of PostgreSQL.

A wake-up over polling, never the only way to learn of something: whoever listens looks in the tables, and looks now and
then in any case. SQLite has one process, which is woken inside (`Writer.on_commit`).
"""

import contextlib
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
import structlog

from bellwire.kit.ids import new_public_id

log = structlog.get_logger()

_CHANNEL = "bellwire"
_PAUSE_S = 0.25
"""How long the listener hears before it says what is to be said and does its round: at most four times a second."""
_RETRY_S = (0.25, 0.5, 1.0, 2.0, 5.0)


class Topic(StrEnum):
    """What there is to look for."""

    OUTBOX = "outbox"
    """Deliveries that are due."""
    CONFIG = "config"
    """Something that operators configure has changed."""
    ATTEMPTS = "attempts"
    """Attempts were written down; the number is the highest id of them."""


class Audience:
    """Who would hear. `others` is False while no other process lives, which is then not told. `me` is not told either."""

    def __init__(self) -> None:
        self.me = new_public_id("w")
        self.others = True


def with_audience(engine: sa.Engine, audience: Audience) -> sa.Engine:
    """The same pool; what its transactions tell comes from `audience.me`."""
    return engine.execution_options(bellwire_audience=audience)


def notify(connection: sa.Connection, topic: Topic) -> None:
    """Tell the others when this transaction commits, once however often it is called in it."""
    if connection.dialect.name != "postgresql":
        return
    audience = connection.get_execution_options().get("bellwire_audience")
    if audience is not None and not audience.others:
        return
    teller = "" if audience is None else audience.me
    connection.exec_driver_sql("SELECT pg_notify(%s, %s)", (_CHANNEL, f"{topic} {teller}"))


Hear = Callable[[Topic, int], None]
"""Called on the listener's thread, with the number of ATTEMPTS, else 0."""


class Listener:
    """One connection and one thread. `each_round` is called about four times a second, on that thread, connected or not."""

    def __init__(self, engine: sa.Engine, audience: Audience, hear: Hear, *, each_round: Callable[[], None]) -> None:
        self._engine = engine
        self._me = audience.me
        self._hear = hear
        self._each_round = each_round
        self._newest = 0
        self._stopping = threading.Event()
        self.connected = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bellwire-listener", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End, which takes a moment."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def tell_attempts(self, newest: int) -> None:
        """Tell live pages of other processes, together with what else there is to tell within the next moment."""
        self._newest = max(self._newest, newest)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self._listen()
            except Exception as error:
                if self.connected.is_set():
                    failures = 0
                if not failures:
                    log.warning("listener.lost", reason=type(error).__name__)
                self.connected.clear()
                self._do_round()
                self._stopping.wait(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
                failures += 1

    def _listen(self) -> None:
        pooled = self._engine.raw_connection()
        pooled.detach()  # never goes back to the pool
        raw: Any = pooled.dbapi_connection  # pyrefly: ignore[explicit-any]
        with contextlib.closing(raw):
            raw.autocommit = True
            raw.execute(f"LISTEN {_CHANNEL}")
            if not self.connected.is_set():
                self.connected.set()
                for topic in (Topic.OUTBOX, Topic.CONFIG):  # whatever was said while nobody listened
                    self._hear(topic, 0)
            next_s = 0.0
            while not self._stopping.is_set():
                for heard in raw.notifies(timeout=_PAUSE_S, stop_after=1):
                    self._take(heard.payload)
                if time.monotonic() >= next_s:
                    self._tell(raw)
                    self._do_round()
                    next_s = time.monotonic() + _PAUSE_S

    def _take(self, payload: str) -> None:
        topic, _, rest = payload.partition(" ")
        teller, _, number = rest.partition(" ")
        if teller != self._me and topic in set(Topic):  # a newer version may tell of other things
            self._hear(Topic(topic), int(number or 0))

    def _tell(self, raw: Any) -> None:  # pyrefly: ignore[explicit-any]
        newest = self._newest
        if newest:
            raw.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, f"{Topic.ATTEMPTS} {self._me} {newest}"))
            if self._newest == newest:
                self._newest = 0

    def _do_round(self) -> None:
        try:
            self._each_round()
        except Exception as error:
            log.warning("listener.round_failed", reason=type(error).__name__)
