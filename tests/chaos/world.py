"""What is around the hub: fake stores that tell two hubs the same, shoppers who post receipts to both, a receiver.

The second hub, the twin, starts with the same rows and is never harmed: what it derives is what there was to derive.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import sqlalchemy as sa
from starlette.applications import Starlette

from bellwire.db.apps import create_app
from bellwire.db.engine import open_engine
from bellwire.db.integrations import Filters, create_integration, update_integration
from bellwire.db.keys import KeyKind, create_key
from bellwire.db.migrate import upgrade
from bellwire.db.projects import create_project
from bellwire.db.secrets import Sealer
from bellwire.db.tables import metadata
from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from bellwire.kit.clock import SharedClock
from bellwire.model.enums import Store
from bellwire.simulator.apple import FakeAppStore
from bellwire.simulator.apple.records import ACTIVE as APPLE_ACTIVE
from bellwire.simulator.google import FakePlay
from bellwire.simulator.google.records import ACTIVE as PLAY_ACTIVE
from bellwire.simulator.kernel import Kernel, Notifier, Outgoing, Sent

BUNDLE = "com.example.app"
DAY_MS = 86_400_000
COMPRESSION = 7200.0
RETRIES_S = (3600.0,) * 2000
"""Stores try again every half second and do not give up: an outage here is as short as they allow for."""
RECEIVER_NAME = "receiver.test"

BOUNDED_WAIT_MS = 3_000
LANES: Mapping[str, Filters] = {
    "strict": Filters(order_wait_ms=None, concurrency=8),
    "bounded": Filters(order_wait_ms=BOUNDED_WAIT_MS, concurrency=4),
    "careless": Filters(order_wait_ms=0, concurrency=8),
}
"""The integrations: one that keeps order at any price, one that waits so long for it, one that never waits."""


class TellsBoth(Notifier):
    """Sends each message of a store to the hub and to its twin."""

    hub_url = ""
    twin_url = ""

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    def send(self, message: Outgoing) -> Sent:
        patient = replace(message, retry_delays_s=RETRIES_S)
        super().send(replace(patient, url=message.url.replace(self.hub_url, self.twin_url)))
        return super().send(patient)

    def to_hub(self) -> list[Sent]:
        return [sent for sent in self.history if sent.message.url.startswith(self.hub_url)]

    @property
    def quiet(self) -> bool:
        return not any(sent.open for sent in self.history)


@dataclass(kw_only=True)
class Purchase:
    """One chain: the store it is in, how that store calls it, and whose it is (None = only the store told)."""

    store: Store
    key: str
    user: str | None
    over: bool = False


@dataclass(kw_only=True)
class Posted:
    """A receipt and whether the hub has answered 200."""

    purchase: Purchase
    accepted: bool = False
    twin_accepted: bool = False
    tries: int = 0


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the hub was told by the end of a round."""

    notifications: Mapping[str, bool]
    """By the store's id of the message: whether the hub answered that it has it."""
    receipts: Sequence[tuple[str, str]]
    """Those that were answered 200: the purchase and whose it is."""
    purchases: Sequence[str]


class World:
    """Everything but the hub; `hub_url` may lead over a wire that breaks."""

    def __init__(self, clock: SharedClock, chance: random.Random, *, hub_url: str, twin_url: str) -> None:
        self.chance = chance
        self.clock = clock
        self.hub_url = hub_url
        self.twin_url = twin_url
        self.kernel = Kernel(clock, seed=chance.getrandbits(32), time_compression=COMPRESSION)
        self.notifier = TellsBoth(lambda: self.kernel.now_ms, self.kernel.random, time_compression=COMPRESSION)
        self.notifier.hub_url, self.notifier.twin_url = hub_url, twin_url
        self.kernel.notifier = self.notifier
        self.apple = FakeAppStore(self.kernel, bundle_id=BUNDLE)
        self.play = FakePlay(self.kernel, package_name=BUNDLE)
        self.purchases: list[Purchase] = []
        self.posted: list[Posted] = []
        self._keys: dict[Store, str] = {}
        self._people = 0
        self._posting: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    @property
    def stores(self) -> Starlette:
        """What answers as App Store and Google Play."""
        return Starlette(routes=[*self.apple.routes(), *self.play.routes()])

    @property
    def told(self) -> Told:
        return Told(
            notifications={sent.message.label: sent.delivered for sent in self.notifier.to_hub()},
            receipts=[(one.purchase.key, one.purchase.user or "") for one in self.posted if one.accepted],
            purchases=[one.key for one in self.purchases],
        )

    # ---- setting up

    def set_up(self, twin_folder: Path, *, stores_url: str, receiver: str) -> None:
        """Make the twin's database: project, apps, keys, and integrations that are switched off."""
        self.apple.base_url = self.play.base_url = stores_url
        engine = open_engine(f"sqlite:///{twin_folder / 'bellwire.db'}")
        upgrade(engine)
        sealer = Sealer.open_or_create(twin_folder)
        now_ms = self.clock.now_ms()
        with engine.begin() as connection:
            project = create_project(connection, name="Chaos", now_ms=now_ms)
            for store, slug, fake in ((Store.APP_STORE, "apple", self.apple), (Store.PLAY_STORE, "google", self.play)):
                credentials = fake.credentials()
                app = create_app(
                    connection,
                    sealer,
                    project_id=project.id,
                    store=store,
                    name=slug,
                    config=credentials["config"],
                    secrets={name: str(value) for name, value in credentials["secrets"].items()},
                    track_new_purchases=True,
                    now_ms=now_ms,
                )
                fake.notification_url = f"{self.hub_url}/v1/incoming-webhooks/{slug}/{app.token}"
                self._keys[store], _ = create_key(
                    connection,
                    sealer,
                    project_id=project.id,
                    app_id=app.id,
                    kind=KeyKind.PUBLIC,
                    name=slug,
                    now_ms=now_ms,
                )
            for lane, filters in LANES.items():
                create_integration(
                    connection,
                    sealer,
                    project_id=project.id,
                    destination="webhook",
                    name=lane,
                    settings=WebhookSettings(url=f"http://{receiver}/{lane}"),
                    filters=filters,
                    enabled=False,
                    now_ms=now_ms,
                )
        engine.dispose()

    def copy_to(self, engine: sa.Engine, twin_folder: Path) -> None:
        """Give the hub the same rows as its twin, and switch its integrations on."""
        upgrade(engine)
        twin = open_engine(f"sqlite:///{twin_folder / 'bellwire.db'}")
        with twin.execution_options(bellwire_read_only=True).connect() as source, engine.begin() as target:
            for table in metadata.sorted_tables:
                target.execute(sa.delete(table))
                rows: list[dict[str, object]] = [row._asdict() for row in source.execute(sa.select(table))]
                if rows:
                    target.execute(sa.insert(table), rows)
            integrations = metadata.tables["integrations"]
            sealer = Sealer.open_or_create(twin_folder)
            for row in target.execute(sa.select(integrations.c.project_id, integrations.c.id)).all():
                update_integration(target, sealer, row.project_id, row.id, enabled=True)
        twin.dispose()

    # ---- what happens

    def act(self) -> None:
        """A burst: time passes or some people change their minds, and others buy.

        No purchase sees two changes in a burst, or both hubs might not see both.
        """
        if self.chance.random() < 0.5:
            self.clock.advance_ms(int(self.chance.uniform(1, 6) * DAY_MS))
        else:
            for purchase in self.purchases:
                if not purchase.over and self.chance.random() < 0.4:
                    self._change(purchase)
        for _ in range(self.chance.randint(1, 4)):
            self._stranger()
        for _ in range(self.chance.randint(1, 4)):
            self._person()

    def _stranger(self) -> None:
        """Somebody whose app says nothing: only the store tells of it."""
        if self.chance.random() < 0.5:
            store, key = Store.APP_STORE, self.apple.purchase("pro_monthly", trial=self.chance.random() < 0.5)
        else:
            store, key = Store.PLAY_STORE, self.play.purchase("pro:monthly")
        self.purchases.append(Purchase(store=store, key=key, user=None))

    def _person(self) -> None:
        """Somebody whose app posts one receipt or more, one after the other, as SDKs do."""
        self._people += 1
        user = f"person-{self._people}"
        bought = [self._buy_quietly(user) for _ in range(self.chance.randint(1, 3))]
        self.purchases += bought
        posts = [Posted(purchase=one) for one in bought]
        self.posted += posts
        for url in (self.hub_url, self.twin_url):
            task = asyncio.create_task(self._post_all(url, posts))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)

    def _buy_quietly(self, user: str) -> Purchase:
        """The store does not tell of the purchase itself: whose it is must not depend on who is faster."""
        if self.chance.random() < 0.5:
            product = self.chance.choice(("pro_monthly", "basic_monthly", "lifetime"))
            return Purchase(store=Store.APP_STORE, key=self.apple.purchase(product, notify=False), user=user)
        endpoint, self.play.notification_url = self.play.notification_url, ""
        try:
            key = self.play.purchase(self.chance.choice(("pro:monthly", "basic:monthly")))
        finally:
            self.play.notification_url = endpoint
        return Purchase(store=Store.PLAY_STORE, key=key, user=user)

    def _change(self, purchase: Purchase) -> None:
        """Cancel or refund."""
        if purchase.store is Store.APP_STORE:
            subscription = self.apple.subscriptions.get(purchase.key)
            if subscription is None or self.chance.random() < 0.3:
                self.apple.refund(purchase.key)
                purchase.over = True
            elif subscription.status == APPLE_ACTIVE and subscription.auto_renew:
                self.apple.cancel(purchase.key)
        else:
            bought = self.play.subscription(purchase.key)
            if bought.state == PLAY_ACTIVE and self.chance.random() < 0.5:
                self.play.cancel(purchase.key)
            elif bought.state == PLAY_ACTIVE:
                self.play.revoke(purchase.key)
                purchase.over = True

    # ---- receipts

    async def _post_all(self, url: str, posts: Sequence[Posted]) -> None:
        for posted in posts:
            while not await self._post(url, posted.purchase):
                posted.tries += 1
                await asyncio.sleep(0.1)
            if url == self.hub_url:
                posted.accepted = True
            else:
                posted.twin_accepted = True

    async def _post(self, url: str, purchase: Purchase) -> bool:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        if purchase.store is Store.APP_STORE:
            receipt: dict[str, object] = {"fetch_token": self.apple.signed_transaction(purchase.key)}
        else:
            receipt = dict(self.play.receipt(purchase.key))
        headers = {
            "Authorization": f"Bearer {self._keys[purchase.store]}",
            "X-Platform": "iOS" if purchase.store is Store.APP_STORE else "android",
        }
        try:
            async with self._session.post(
                f"{url}/v1/receipts", json={"app_user_id": purchase.user, **receipt}, headers=headers
            ) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        if 400 <= answer.status < 500 and answer.status != 429:
            raise AssertionError(f"a good receipt was refused: {answer.status} {text}")  # SDKs drop it then: it is lost
        return answer.status == 200

    @property
    def quiet(self) -> bool:
        """Everything was told, and was accepted by both. Raises what a shopper ran into."""
        for task in list(self._posting):
            if task.done():
                task.result()
        return self.notifier.quiet and not self._posting

    async def close(self) -> None:
        for task in list(self._posting):
            task.cancel()
        await asyncio.gather(*self._posting, return_exceptions=True)
        await self.kernel.close()
        if self._session is not None:
            await self._session.close()
