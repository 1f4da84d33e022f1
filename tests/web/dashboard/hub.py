"""A hub for dashboard tests: real tables and real HTTP; only the sending is done by hand, by inserting attempts."""

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import sqlalchemy as sa
from starlette.applications import Starlette

from bellwire.db.apps import create_app, update_app_status
from bellwire.db.config import ConfigCache
from bellwire.db.engine import open_engine
from bellwire.db.integrations import create_integration
from bellwire.db.projects import create_project
from bellwire.db.secrets import Sealer
from bellwire.db.tables import app_user_ids, attempts, attributes, customers, events, metadata, outbox
from bellwire.db.users import create_user, hash_password
from bellwire.db.writer import Writer
from bellwire.delivery.service import DeliveryRefused
from bellwire.destinations.base import Secret
from bellwire.kit.clock import Clock, SystemClock
from bellwire.kit.ids import new_row_id
from bellwire.model.enums import CredentialStatus, Store
from bellwire.settings import Settings
from bellwire.web.dashboard.ports import FeedDelivery
from bellwire.web.dashboard.routes import routes
from tests.support.threaded import serving

EMAIL, PASSWORD = "ada@example.com", "correct horse battery"


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings shaped like a destination's, so that these tests need none."""

    url: str
    authorization: Secret = ""


class HandDelivery:
    """Remembers what was asked; wakes streams when told."""

    def __init__(self) -> None:
        self.retried: list[tuple[str, str, int]] = []
        self.tested: list[tuple[str, str]] = []
        self.refusal = ""
        self._queues: dict[asyncio.Queue[int], asyncio.AbstractEventLoop] = {}
        self._lock = threading.Lock()

    def subscribe(self) -> asyncio.Queue[int]:
        queue: asyncio.Queue[int] = asyncio.Queue()
        with self._lock:
            self._queues[queue] = asyncio.get_running_loop()
        return queue

    def unsubscribe(self, queue: asyncio.Queue[int]) -> None:
        with self._lock:
            self._queues.pop(queue)

    async def retry(self, project_id: str, integration_id: str, event_seq: int) -> object:
        if self.refusal:
            raise DeliveryRefused(self.refusal)
        self.retried.append((project_id, integration_id, event_seq))
        return None

    async def send_test(self, project_id: str, integration_id: str) -> object:
        self.tested.append((project_id, integration_id))
        return None

    @property
    def readers(self) -> int:
        return len(self._queues)

    def wake(self, attempt_id: int) -> None:
        with self._lock:
            for queue, loop in self._queues.items():
                loop.call_soon_threadsafe(queue.put_nowait, attempt_id)


@dataclass
class Parts:
    """What the dashboard gets."""

    settings: Settings
    clock: Clock
    config: ConfigCache
    writer: Writer
    engine: sa.Engine
    delivery: FeedDelivery


@dataclass
class Hub:
    """A served dashboard and ways to make things happen behind it."""

    engine: sa.Engine
    sealer: Sealer
    delivery: HandDelivery
    port: int = 0
    _customers: int = field(default=1000)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def project(self, name: str = "Focus Timer") -> str:
        with self.engine.begin() as connection:
            return create_project(connection, name=name, now_ms=now_ms()).id

    def app(self, project_id: str, name: str = "Focus iOS", store: Store = Store.APP_STORE) -> str:
        with self.engine.begin() as connection:
            app = create_app(
                connection,
                self.sealer,
                project_id=project_id,
                store=store,
                name=name,
                config={"bundle_id": "com.example.focus"},
                secrets={"iap_key_p8": "-----BEGIN PRIVATE KEY-----"},
                now_ms=now_ms(),
            )
            update_app_status(
                connection,
                project_id,
                app.id,
                status=CredentialStatus.OK,
                message="The App Store Server API answers.",
                checked_at_ms=now_ms(),
            )
            return app.id

    def integration(self, project_id: str, name: str = "Backend") -> str:
        settings = WebhookSettings(url="https://api.example.com/hooks", authorization="Bearer hunter2hunter2")
        with self.engine.begin() as connection:
            return create_integration(
                connection,
                self.sealer,
                project_id=project_id,
                destination="webhook",
                name=name,
                settings=settings,
                now_ms=now_ms(),
            ).id

    def customer(self, project_id: str, app_user_id: str, **named: str) -> int:
        self._customers += 1
        at_ms = now_ms()
        who: dict[str, object] = {"project_id": project_id, "first_seen_ms": at_ms, "last_seen_ms": at_ms}
        with self.engine.begin() as connection:
            connection.execute(
                sa.insert(customers).values(
                    id=self._customers, original_app_user_id=app_user_id, next_sequence=1, country="DE", **who
                )
            )
            connection.execute(
                sa.insert(app_user_ids).values(app_user_id=app_user_id, customer_id=self._customers, **who)
            )
            for name, value in named.items():
                connection.execute(
                    sa.insert(attributes).values(
                        customer_id=self._customers, name=name, value=value, updated_at_ms=at_ms
                    )
                )
        return self._customers

    def event(
        self,
        project_id: str,
        customer_id: int,
        app_user_id: str,
        *,
        kind: str = "INITIAL_PURCHASE",
        environment: str = "PRODUCTION",
        app_id: str | None = None,
        age_ms: int = 0,
    ) -> "Sent":
        """An event that was committed `age_ms` ago."""
        event_id = str(uuid.uuid4()).upper()
        at_ms = now_ms() - age_ms
        payload: dict[str, object] = {
            "type": kind,
            "id": event_id,
            "app_user_id": app_user_id,
            "price": 9.99,
            "store": "APP_STORE",
        }
        with self.engine.begin() as connection:
            seq = connection.execute(
                sa.insert(events)
                .values(
                    id=event_id,
                    project_id=project_id,
                    app_id=app_id,
                    customer_id=customer_id,
                    type=kind,
                    environment=environment,
                    store="APP_STORE",
                    app_user_id=app_user_id,
                    event_timestamp_ms=at_ms,
                    store_time_ms=at_ms - 740,
                    received_at_ms=at_ms - 12,
                    committed_at_ms=at_ms,
                    dispatched=True,
                    historical=False,
                    price_usd_micros=9_990_000,
                    payload=json.dumps(payload).encode(),
                )
                .returning(events.c.seq)
            ).scalar_one()
        return Sent(project_id, seq, event_id, kind, environment, app_user_id, customer_id, payload, at_ms)

    def queue(
        self, event: "Sent", integration_id: str, *, state: int = 0, attempt: int = 0, due_in_ms: int = 0
    ) -> None:
        with self.engine.begin() as connection:
            connection.execute(
                sa.insert(outbox).values(
                    integration_id=integration_id,
                    event_seq=event.seq,
                    customer_id=event.customer_id,
                    state=state,
                    attempt=attempt,
                    manual=False,
                    due_at_ms=now_ms() + due_in_ms,
                    created_at_ms=event.at_ms,
                )
            )

    def attempt(
        self,
        event: "Sent",
        integration_id: str,
        *,
        number: int = 1,
        outcome: str = "delivered",
        reason: str = "Accepted.",
        status: int | None = 200,
        error: str | None = None,
        next_in_ms: int | None = None,
        parked: bool = False,
        duration_ms: int = 87,
        answer: bytes = b'{"ok": true}',
        trigger: str = "automatic",
        wake: bool = True,
    ) -> int:
        """Record an attempt as delivery would, and wake the streams."""
        with self.engine.begin() as connection:
            attempt_id = new_row_id()
            connection.execute(
                sa.insert(attempts).values(
                    id=attempt_id,
                    project_id=event.project_id,
                    integration_id=integration_id,
                    event_seq=event.seq,
                    event_id=event.event_id,
                    event_type=event.kind,
                    app_user_id=event.app_user_id,
                    environment=event.environment,
                    attempt=number,
                    trigger=trigger,
                    outcome=outcome,
                    reason=reason,
                    status_code=status,
                    error=error,
                    started_at_ms=event.at_ms + 31,
                    duration_ms=duration_ms,
                    timings=json.dumps({"dns": 1, "connect": 14, "first_byte": 80, "total": duration_ms}),
                    next_attempt_at_ms=None if next_in_ms is None else now_ms() + next_in_ms,
                    parked=parked,
                    request_method="POST",
                    request_url="https://api.example.com/hooks",
                    request_headers=json.dumps(
                        {"Authorization": "Bearer hunter2hunter2", "Content-Type": "application/json"}
                    ),
                    request_body=json.dumps({"api_version": "1.0", "event": event.payload}).encode(),
                    response_headers=json.dumps({"content-type": "application/json", "server": "nginx"}),
                    response_body=answer,
                    response_truncated=False,
                )
            )
        if wake:
            self.delivery.wake(attempt_id)
        return attempt_id


@dataclass(frozen=True)
class Sent:
    """An event in the tables."""

    project_id: str
    seq: int
    event_id: str
    kind: str
    environment: str
    app_user_id: str
    customer_id: int
    payload: dict[str, object]
    at_ms: int


@contextmanager
def serving_hub(folder: Path, *, public_url: str = "") -> Iterator[Hub]:
    """A dashboard on a fresh database with one user."""
    settings = Settings(data_dir=folder, public_url=public_url)
    engine = open_engine(settings.resolved_database_url())
    metadata.create_all(engine)
    sealer = Sealer.open_or_create(folder)
    writer = Writer(engine)
    delivery = HandDelivery()
    with engine.begin() as connection:
        create_user(connection, email=EMAIL, password_hash=hash_password(PASSWORD), now_ms=now_ms())
    parts = Parts(settings, SystemClock(), ConfigCache(engine, sealer), writer, engine, delivery)
    hub = Hub(engine, sealer, delivery)
    try:
        with serving(Starlette(routes=routes(parts))) as port:
            hub.port = port
            try:
                yield hub
            finally:
                delivery.wake(-1)  # open streams end, so that the server can
    finally:
        writer.close()
        engine.dispose()


def now_ms() -> int:
    return time.time_ns() // 1_000_000
