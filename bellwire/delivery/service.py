"""Delivery as the rest of the hub sees it: it runs, it can be asked for a retry or a test, and it tells of attempts.

Nothing is lost when the process dies at any moment: a row stays in the outbox until its outcome is committed, and one
that was on its way comes back when its lease runs out (or at the next start, where only one process can be).
"""

import asyncio
from collections.abc import Callable, Mapping

import sqlalchemy as sa

from bellwire.db.attempts import NO_EVENT_SEQ, append_attempt
from bellwire.db.config import ConfigCache
from bellwire.db.outbox import Fence, Held, requeue
from bellwire.db.outbox_claim import Claimed, load_claimed
from bellwire.db.writer import Writer
from bellwire.delivery.breaker import Rules
from bellwire.delivery.dispatch import Dispatcher
from bellwire.delivery.gates import Gates
from bellwire.delivery.listeners import Listeners
from bellwire.delivery.observed import observe_attempts
from bellwire.delivery.pump import Pump, now_ms
from bellwire.delivery.replay import Replayer
from bellwire.delivery.sample import sample_event
from bellwire.delivery.send import HTTPCaller, encode_event
from bellwire.delivery.target import Unusable
from bellwire.delivery.turn import Ended
from bellwire.destinations.base import Destination
from bellwire.destinations.registry import DESTINATIONS
from bellwire.model.projects import Integration
from bellwire.settings import Settings


class DeliveryRefused(Exception):
    """There is nothing to send, or nobody to send it to; the message says why."""


class Delivery:
    """One per process, on one event loop."""

    def __init__(
        self,
        engine: sa.Engine,
        writer: Writer,
        config: ConfigCache,
        client: HTTPCaller,
        settings: Settings,
        *,
        destinations: Mapping[str, Destination] = DESTINATIONS,
        rules: Rules | None = None,
        workers: Callable[[], int] = lambda: 1,
    ) -> None:
        self._writer = writer
        self._replayer = Replayer(engine, writer, config)
        self._config = config
        self._dispatcher = Dispatcher(
            config,
            client,
            timeout_s=settings.delivery_timeout_s,
            traceparent=settings.send_traceparent,
            destinations=destinations,
        )
        self._listeners = Listeners()
        self.gates = Gates(rules=rules, pause_after_days=settings.pause_after_days, workers=workers)
        """What is in the way of each lane, as this process knows it."""
        self._pump = Pump(
            writer,
            config,
            self._dispatcher,
            self._listeners,
            timeout_s=settings.delivery_timeout_s,
            limit=settings.delivery_concurrency,
            alone=engine.dialect.name == "sqlite",
            gates=self.gates,
        )

    async def run(self) -> None:
        """Deliver and replay until `stop`; then rows that were taken and not attempted are given back."""
        replaying = asyncio.create_task(self._replayer.run())
        try:
            await self._pump.run()
        finally:
            replaying.cancel()
            await asyncio.gather(replaying, return_exceptions=True)

    def stop(self) -> None:
        """End `run`; call it in the loop's thread."""
        self._pump.stop()

    def wake(self) -> None:
        """Something was committed. Callable from any thread; `run` also asks the committer for it."""
        self._pump.wake()

    def look_now(self) -> None:
        """Another process committed something to deliver; call it in the loop's thread."""
        self._pump.look_now()

    def tell(self, attempt_id: int) -> None:
        """Another process wrote attempts down, up to this id; call it in the loop's thread."""
        self._listeners.tell(attempt_id, from_outside=True)

    def on_attempts(self, callback: Callable[[int], None]) -> None:
        """Call back with the highest id of the attempts that this process writes down."""
        self._listeners.on_attempts(callback)

    def subscribe(self) -> asyncio.Queue[int]:
        """A queue that gets ids of new attempts, of each batch the highest: a wake-up, the table has the data."""
        return self._listeners.subscribe()

    def unsubscribe(self, queue: asyncio.Queue[int]) -> None:
        """Tell this queue no more."""
        self._listeners.unsubscribe(queue)

    def end_streams(self) -> None:
        """Tell every subscriber that the hub is stopping; call it in the loop's thread."""
        self._listeners.end()

    async def retry(self, project_id: str, integration_id: str, event_seq: int) -> None:
        """Send an event again at once, whatever became of it. Returns when the request is on its way.

        If it fails the automatic schedule goes on as it was; success stops it. A delivery that is on the wire right
        now is left alone: it is the attempt that is asked for. In a process that does not deliver, the next one that
        does takes it. Raises DeliveryRefused.
        """
        integration = self._known(project_id, integration_id)
        if not integration.enabled:
            raise DeliveryRefused("the integration is switched off")
        try:
            if self._pump.running:
                row = await self._writer.change(lambda connection: self._take(connection, integration, event_seq))
                if row is not None:
                    self._pump.send_now(row)
            else:
                await self._writer.change(lambda connection: self._requeue(connection, integration, event_seq))
        except LookupError as error:
            raise DeliveryRefused("this event is not kept, so it can not be sent again") from error

    async def send_test(self, project_id: str, integration_id: str) -> int:
        """Send a TEST event to one integration, whatever its filters; once, never retried. Returns the attempt's id.

        Raises DeliveryRefused.
        """
        integration = self._known(project_id, integration_id)
        target = self._dispatcher.target_of(integration)
        if isinstance(target, Unusable):
            raise DeliveryRefused(target.reason)
        attempted = await self._dispatcher.attempt(target, self._sample(integration), "test")
        attempt_id = await self._writer.change(lambda connection: append_attempt(connection, attempted.record))
        self._listeners.tell(attempt_id)
        ended = Ended(held=Held(0, Fence(0)), record=attempted.record, settled=attempted.verdict.settled)
        observe_attempts([ended], self._config.current().integrations)
        return attempt_id

    def _known(self, project_id: str, integration_id: str) -> Integration:
        integration = self._config.current().integrations.get(integration_id)
        if integration is None or integration.project_id != project_id:
            raise DeliveryRefused("there is no such integration")
        return integration

    def _take(self, connection: sa.Connection, integration: Integration, event_seq: int) -> Claimed | None:
        fence, lease_until_ms = self._pump.lease()
        row_id = self._requeue(connection, integration, event_seq, fence, lease_until_ms)
        return None if row_id is None else load_claimed(connection, row_id, fence=fence, lease_until_ms=lease_until_ms)

    def _requeue(
        self,
        connection: sa.Connection,
        integration: Integration,
        event_seq: int,
        fence: Fence | None = None,
        lease_until_ms: int | None = None,
    ) -> int | None:
        return requeue(
            connection,
            project_id=integration.project_id,
            integration_id=integration.id,
            event_seq=event_seq,
            now_ms=now_ms(),
            fence=fence,
            lease_until_ms=lease_until_ms,
        )

    def _sample(self, integration: Integration) -> Claimed:
        """A row that was never queued: the TEST event belongs to no customer and is not kept."""
        apps = self._config.current().apps_of(integration.project_id)
        event = sample_event(app_id=integration.app_id or (apps[0].id if apps else None), now_ms=now_ms())
        return Claimed(
            id=0,
            integration_id=integration.id,
            event_seq=NO_EVENT_SEQ,
            customer_id=0,
            attempt=0,
            manual=True,
            late=False,
            due_at_ms=0,
            fence=Fence(0),
            lease_until_ms=0,
            project_id=integration.project_id,
            event_id=event.id,
            event_type=event.type.value,
            app_user_id=str(event.app_user_id),
            environment=str(event.environment),
            payload=encode_event(event),
        )
