"""Every story of the fake, through adapter and engine alone: what the events are does not hang on the database."""

import asyncio

import pytest

from bellwire.engine.detect import detect
from bellwire.engine.emission import Context, Emission, canonical_rank
from bellwire.engine.merge import blank_chain
from bellwire.model.enums import EventType
from bellwire.model.facts import Snapshot
from bellwire.model.projects import Catalogue, ProjectSettings
from bellwire.model.purchases import Chain
from bellwire.simulator.apple import SCENARIOS, FakeAppStore
from bellwire.simulator.scenario import Post, Scenario
from bellwire.stores.base import PostedReceipt, RecoveredNotification
from tests.stores.apple.connected import Connected, connected


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
def test_story_leads_to_its_events(scenario: Scenario[FakeAppStore]) -> None:
    async def run() -> list[str]:
        async with connected() as it:
            hub = SmallHub(it)
            since = it.clock.now_ms()
            for wait_ms, act in scenario.steps(it.store):
                await hub.live(wait_ms)
                posted = act()
                await hub.live(0)
                if isinstance(posted, Post):
                    await hub.post(posted.store_key)
            if scenario.name == "missed_notifications":
                await hub.recover(since)
            return [short(item) for item in hub.sent]

    assert asyncio.run(run()) == list(scenario.expected)


class SmallHub:
    """The hub without its database: what arrives is verified, decoded, compared, and what was seen is remembered."""

    def __init__(self, it: Connected) -> None:
        self.it = it
        self.chains: dict[tuple[str, str], Chain] = {}
        self.seen: set[str] = set()
        self.sent: list[Emission] = []

    async def live(self, ms: int) -> None:
        """Let time pass from appointment to appointment, reading what arrives in between."""
        target = self.it.clock.now_ms() + ms
        while (due := self.it.kernel.next_due_ms()) is not None and due <= target:
            self.it.clock.set_ms(max(due, self.it.clock.now_ms()))
            await self.read()
        self.it.clock.set_ms(target)
        await self.read()

    async def read(self) -> None:
        await self.it.kernel.flush()
        while self.it.bodies:
            await self.take(self.it.bodies.pop(0))

    async def take(self, raw: bytes) -> None:
        adapter, app = self.it.adapter, self.it.app
        await adapter.verify(app, {}, raw, now_ms=self.it.clock.now_ms())
        notification = adapter.decode(app, raw)
        if notification.dedup_key in self.seen:
            return
        self.seen.add(notification.dedup_key)
        for snapshot in notification.snapshots:
            self.apply(snapshot)
        for key in notification.store_keys:
            known = self.chains.get((str(notification.environment), key))
            for snapshot in await adapter.pull(app, key, known=known, hints=notification.hints):
                self.apply(snapshot)

    async def post(self, store_key: str) -> None:
        posted = PostedReceipt(fetch_token=self.it.store.signed_transaction(store_key))
        for snapshot in await self.it.adapter.verify_receipt(self.it.app, posted):
            self.apply(snapshot)

    async def recover(self, since_ms: int) -> None:
        async for found in self.it.adapter.recover(self.it.app, since_ms, self.it.clock.now_ms() + 1):
            assert isinstance(found, RecoveredNotification)
            await self.take(found.raw)

    def apply(self, snapshot: Snapshot) -> None:
        key = (str(snapshot.environment), snapshot.store_key)
        before = self.chains.get(key) or blank_chain(
            snapshot, chain_id=len(self.chains) + 1, project_id="proj1", app_id="app1", customer_id=1
        )
        context = Context(
            now_ms=self.it.clock.now_ms(), settings=ProjectSettings(), catalogue=Catalogue(), app=self.it.app
        )
        found = detect(before, snapshot, context)
        self.chains[key] = found.after
        self.sent += [item for item in sorted(found.emissions, key=canonical_rank) if item.dispatch]


def short(item: Emission) -> str:
    """The form that scenarios are written in."""
    price = "null" if item.price_micros is None else f"{item.price_micros / 1_000_000:g}"
    match item.type:
        case EventType.INITIAL_PURCHASE | EventType.RENEWAL | EventType.NON_RENEWING_PURCHASE:
            converted = item.type is EventType.RENEWAL and item.period.is_trial_conversion
            return f"{item.type} {item.period.period_type} {price}" + (" CONVERSION" if converted else "")
        case EventType.CANCELLATION:
            return f"{item.type} {item.cancel_reason}" + ("" if price == "0" else f" {price}")
        case EventType.EXPIRATION:
            return f"{item.type} {item.expiration_reason}"
        case EventType.PRODUCT_CHANGE:
            return f"{item.type} {item.period.product_key} {item.new_product_id}"
        case EventType.REFUND_REVERSED:
            return f"{item.type} {price}"
        case EventType.BILLING_ISSUE:
            return item.type + ("" if item.chain.grace_expires_at_ms is None else " GRACE")
        case _:
            return item.type
