"""A hub cut down to what delivery needs: a real SQLite file, committer, configuration, client and delivery."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from bellwire.db.config import ConfigCache
from bellwire.db.engine import open_engine
from bellwire.db.events import StagedEvent, append_events
from bellwire.db.integrations import Filters, create_integration
from bellwire.db.lane_states import LaneChange, LaneState, load_lane_states, save_lane_changes
from bellwire.db.migrate import upgrade
from bellwire.db.outbox import OutboxRow, enqueue_rows
from bellwire.db.partitions import prepare
from bellwire.db.projects import create_project
from bellwire.db.secrets import Sealer
from bellwire.db.tables import attempts, events, metadata, outbox
from bellwire.db.writer import Writer
from bellwire.delivery.breaker import Rules
from bellwire.delivery.service import Delivery
from bellwire.destinations.base import Destination
from bellwire.destinations.registry import DESTINATIONS
from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from bellwire.kit.clock import SystemClock
from bellwire.kit.http import GuardedClient
from bellwire.model.enums import Environment, EventType, Store
from bellwire.model.events import Event, EventRecord
from bellwire.model.projects import Integration
from bellwire.settings import Settings
from tests.support.databases import database_url

now_ms = SystemClock().now_ms
Row = sa.Row[*tuple[Any, ...]]


class Hub:
    """Opened on a folder; opening it again on the same folder is a restart."""

    def __init__(
        self,
        folder: Path,
        client: GuardedClient,
        settings: Settings,
        *,
        url: str | None = None,
        destinations: Mapping[str, Destination] = DESTINATIONS,
        rules: Rules | None = None,
    ) -> None:
        self.engine = open_engine(url or database_url(folder))
        if self.engine.dialect.name == "sqlite":
            metadata.create_all(self.engine)
        elif url is not None:
            upgrade(self.engine)
            prepare(self.engine, now_ms())
        self.sealer = Sealer.open_or_create(folder)
        self.writer = Writer(self.engine)
        self.config = ConfigCache(self.engine, self.sealer)
        self.client = client
        self._settings = settings
        self._destinations = destinations
        self.rules = rules
        self.delivery = self.new_delivery()
        self._events = 0
        self._sequences: dict[int, int] = {}

    def new_delivery(self) -> Delivery:
        """As a process that starts makes one."""
        return Delivery(
            self.engine,
            self.writer,
            self.config,
            self.client,
            self._settings,
            destinations=self._destinations,
            rules=self.rules,
        )

    @property
    def project_id(self) -> str:
        projects = self.config.current().projects
        return next(iter(projects)) if projects else self._new_project()

    def _new_project(self) -> str:
        made = self.writer.submit_change(lambda c: create_project(c, name="Test", now_ms=now_ms())).result()
        return made.id

    def webhook(self, url: str, *, filters: Filters | None = None, **settings: Any) -> Integration:
        """Connect one receiver."""
        return self.connect("webhook", WebhookSettings(url=url, **settings), name=url, filters=filters)

    def connect(
        self, destination: str, settings: msgspec.Struct, *, name: str = "", filters: Filters | None = None
    ) -> Integration:
        """Connect a destination."""
        project_id = self.project_id
        return self.writer.submit_change(
            lambda connection: create_integration(
                connection,
                self.sealer,
                project_id=project_id,
                destination=destination,
                name=name or destination,
                settings=settings,
                filters=filters,
                now_ms=now_ms(),
            )
        ).result()

    def emit(self, *integrations: Integration, customer_id: int = 1, count: int = 1) -> list[int]:
        """Append events and their deliveries in one transaction; returns the events' numbers."""
        staged = [self._event(customer_id) for _ in range(count)]  # numbered from 1 for each customer

        def work(connection: sa.Connection) -> list[int]:
            numbers = list(append_events(connection, staged, committed_at_ms=now_ms()).values())
            enqueue_rows(
                connection,
                [
                    OutboxRow(integration_id=one.id, event_seq=number, customer_id=customer_id, created_at_ms=now_ms())
                    for number in numbers
                    for one in integrations
                ],
            )
            return numbers

        return self.writer.submit_change(work).result()

    def _event(self, customer_id: int) -> StagedEvent:
        self._events += 1
        self._sequences[customer_id] = self._sequences.get(customer_id, 0) + 1
        event = Event(
            type=EventType.RENEWAL,
            id=f"EVENT-{customer_id}-{self._events}-{now_ms()}",
            event_timestamp_ms=now_ms(),
            app_user_id=f"user-{customer_id}",
            environment=Environment.PRODUCTION,
            store=Store.APP_STORE,
            product_id="pro_monthly",
            price=9.99,
            customer_sequence=self._sequences[customer_id],
        )
        record = EventRecord(
            event=event,
            project_id=self.project_id,
            customer_id=customer_id,
            chain_id=None,
            app_id=None,
            store_time_ms=None,
            dispatch=True,
        )
        return StagedEvent(record=record, received_at_ms=now_ms(), store_time_ms=None)

    def waiting(self) -> Sequence[Row]:
        """The outbox, oldest row first."""
        return self._read(sa.select(outbox).order_by(outbox.c.id))

    def attempts(self, integration: Integration | None = None) -> Sequence[Row]:
        """The attempt log, oldest first."""
        query = sa.select(attempts).order_by(attempts.c.id)
        return self._read(query if integration is None else query.where(attempts.c.integration_id == integration.id))

    def lane(self, integration: Integration) -> LaneState:
        """What all processes know of a lane."""
        with self.engine.execution_options(bellwire_read_only=True).connect() as connection:
            return load_lane_states(connection).get(integration.id, LaneState())

    def tell(self, integration: Integration, **columns: object) -> None:
        """Write a lane's state as another process does."""
        change = LaneChange(integration_id=integration.id, project_id=integration.project_id, columns=columns)
        self.writer.submit_change(lambda c: save_lane_changes(c, [change], now_ms=now_ms())).result()

    def change(self, statement: sa.Update | sa.Delete) -> None:
        """Meddle with a table."""
        self.writer.submit_change(lambda connection: connection.execute(statement).rowcount).result()

    def change_payloads(self, old: bytes, new: bytes, *, customer_id: int | None = None) -> None:
        """Meddle with what events (of a customer) are sent as."""

        def work(connection: sa.Connection) -> None:
            for row in connection.execute(sa.select(events.c.seq, events.c.payload, events.c.customer_id)).all():
                if customer_id in (None, row.customer_id):
                    changed = {"payload": row.payload.replace(old, new)}
                    connection.execute(sa.update(events).where(events.c.seq == row.seq).values(changed))

        self.writer.submit_change(work).result()

    def sql(self, statement: str) -> None:
        """Meddle with the schema."""
        self.writer.submit_change(lambda connection: connection.exec_driver_sql(statement).rowcount).result()

    def make_due(self) -> None:
        """Let time pass for everything that waits."""
        self.change(sa.update(outbox).values(due_at_ms=0))

    def _read(self, query: sa.Select[Any]) -> Sequence[Row]:
        with self.engine.execution_options(bellwire_read_only=True).connect() as connection:
            return connection.execute(query).all()

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Run delivery; at the end stop it the graceful way, and have another one ready."""
        task = asyncio.create_task(self.delivery.run())
        try:
            yield
        finally:
            self.delivery.stop()
            await task
            self.delivery = self.new_delivery()

    async def abandon(self, task: "asyncio.Task[None]") -> None:
        """Die as by SIGKILL: nothing more reaches the database."""
        self.writer.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        self.writer.close()
        self.engine.dispose()


@asynccontextmanager
async def open_hub(
    folder: Path,
    *,
    url: str | None = None,
    destinations: Mapping[str, Destination] = DESTINATIONS,
    rules: Rules | None = None,
    **settings: Any,
) -> AsyncIterator[Hub]:
    client = GuardedClient(allow_private=True)
    settled = replace(Settings(allow_private_addresses=True), **settings)
    try:
        hub = Hub(folder, client, settled, url=url, destinations=destinations, rules=rules)
        try:
            yield hub
        finally:
            await hub.close()
    finally:
        await client.close()


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds; the scene's own bound is the time-out."""
    while not holds():
        await asyncio.sleep(0.01)


def play(scene: Callable[[], Any]) -> None:
    """Run an async test, with a bound that only a hanging one reaches."""

    async def main() -> None:
        await asyncio.wait_for(scene(), 30)

    asyncio.run(main())
