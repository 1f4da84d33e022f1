"""From a claimed row to what becomes of it: whom it goes to, whether it goes at all, and when again if it fails."""

import random
from collections.abc import Callable, Mapping, Sequence

import structlog
from msgspec.structs import replace

from bellwire.db.attempts import SCHEDULED
from bellwire.db.config import ConfigCache
from bellwire.db.outbox import Held
from bellwire.db.outbox_claim import Claimed
from bellwire.delivery.classify import verdict
from bellwire.delivery.schedule import retry_delay_ms
from bellwire.delivery.send import Attempted, HTTPCaller, attempt, unsent
from bellwire.delivery.target import Target, Targets, Unusable
from bellwire.delivery.together import Together
from bellwire.delivery.turn import Ended
from bellwire.destinations.base import Batch, Destination, Outcome
from bellwire.destinations.registry import DESTINATIONS
from bellwire.model.projects import Integration

log = structlog.get_logger()

_FALLBACK_SCHEDULE = "extended"


class Dispatcher:
    """Attempts rows with the configuration of the moment: a changed address or secret counts for what waits, too."""

    def __init__(
        self,
        config: ConfigCache,
        client: HTTPCaller,
        *,
        timeout_s: float,
        traceparent: bool = False,
        destinations: Mapping[str, Destination] = DESTINATIONS,
    ) -> None:
        self._config = config
        self._traceparent = traceparent
        self._client = client
        self._timeout_s = timeout_s
        self._destinations = destinations
        self._targets = Targets(destinations)

    def target_of(self, integration: Integration) -> Target | Unusable:
        """What this integration sends with."""
        return self._targets.of(integration)

    def batch_of(self, integration: Integration) -> Batch | None:
        """How this integration's destination takes several events at once; None = it does not."""
        destination = self._destinations.get(integration.destination)
        return None if destination is None else destination.batch

    async def deliver(self, rows: Sequence[Claimed], end: Callable[[Claimed, Ended], None]) -> None:
        """Attempt rows of one lane, or skip them with a reason. `end` hears of each as soon as it has ended.

        Raises nothing but cancellation. Rows that `end` did not hear of were not attempted, or not to the end.
        """
        integration = self._config.current().integrations.get(rows[0].integration_id)
        target = None if integration is None or not integration.enabled else self.target_of(integration)
        if isinstance(target, Target):
            await self._attempt_all(target, rows, end)
            return
        for row in rows:
            if integration is None:
                end(row, skipped(row, "the integration was deleted"))
            elif target is None:
                end(row, skipped(row, "the integration is switched off"))
            else:
                unusable = unsent(row, _trigger_of(row), verdict(Outcome.MISCONFIGURED, target.reason))
                end(row, _ended(row, unusable, _FALLBACK_SCHEDULE))

    async def _attempt_all(
        self, target: Target, rows: Sequence[Claimed], end: Callable[[Claimed, Ended], None]
    ) -> None:
        batch = target.destination.batch
        if batch is None:
            for row in rows:
                end(row, _ended(row, await self.attempt(target, row, _trigger_of(row)), target.schedule))
            return
        together = Together(
            target,
            batch,
            self._client,
            timeout_s=self._timeout_s,
            trigger_of=_trigger_of,
            note=lambda row, attempted: end(row, _ended(row, attempted, target.schedule)),
        )
        await together.send(rows)

    async def attempt(self, target: Target, row: Claimed, trigger: str) -> Attempted:
        """One attempt; a fault of our own is one that failed, and is in the log."""
        try:
            return await attempt(
                target,
                row,
                trigger=trigger,
                client=self._client,
                timeout_s=self._timeout_s,
                traceparent=self._traceparent and target.destination.slug == "webhook",
            )
        except Exception:
            log.exception("delivery.failed", integration_id=row.integration_id, event_id=row.event_id)
            return unsent(row, trigger, verdict(Outcome.RETRY, "internal error: the server's log has the cause"))


def skipped(row: Claimed, reason: str) -> Ended:
    """A row that will not be sent; `reason` is shown."""
    return _ended(row, unsent(row, _trigger_of(row), verdict(Outcome.SKIPPED, reason)), _FALLBACK_SCHEDULE)


def _trigger_of(row: Claimed) -> str:
    """Why this row is attempted now."""
    return "manual" if row.manual else "automatic" if row.replay_id is None else "replay"


def _ended(row: Claimed, attempted: Attempted, schedule: str) -> Ended:
    """The attempt with what its automatic schedule has next; after a manual one the database knows (`run_turns`)."""
    record = attempted.record
    settled = attempted.verdict.settled
    if not settled and record.trigger in SCHEDULED:
        delay_ms = None
        if attempted.verdict.retried:
            delay_ms = retry_delay_ms(
                schedule,
                record.attempt,
                retry_after_s=attempted.retry_after_s,
                jitter=random.random(),  # noqa: S311  # spreads load, guards nothing
            )
        due_at_ms = None if delay_ms is None else attempted.ended_at_ms + delay_ms
        record = replace(record, next_attempt_at_ms=due_at_ms, parked=due_at_ms is None)
    return Ended(
        held=Held(row.id, row.fence),
        record=record,
        settled=settled,
        committed_at_ms=None if row.late or row.manual else row.due_at_ms,
        replay_id=row.replay_id,
        retry_after_s=attempted.retry_after_s,
    )
