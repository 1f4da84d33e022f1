"""The committer's handler on a database of its own, called with batches of units that a test puts together."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from bellwire.db.apps import create_app
from bellwire.db.config import ConfigCache
from bellwire.db.integrations import create_integration
from bellwire.db.projects import create_project
from bellwire.db.secrets import Sealer
from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from bellwire.engine.attributes import AttributeChange
from bellwire.ingest.calls import ReceiptCall, Visit
from bellwire.ingest.units import ApplyFacts, ApplyReceipt, Result, Unit, UnitRunner
from bellwire.kit.clock import ManualClock
from bellwire.model.enums import Environment, ProductType, Store
from bellwire.model.facts import PeriodFact, Snapshot
from bellwire.stores.base import PostedReceipt

NOW_MS = 1_767_225_600_000
DAY_MS = 86_400_000
VISIT = Visit(platform="ios")


class Bench:
    """`do` is one commit."""

    def __init__(self, engine: sa.Engine, folder: Path) -> None:
        self.engine = engine
        sealer = Sealer.open_or_create(folder, "")
        self.config = ConfigCache(self.engine, sealer)
        self.clock = ManualClock(NOW_MS)
        self.runner = UnitRunner(self.config, self.clock, self.clock)
        with self.engine.begin() as connection:
            self.project_id = create_project(connection, name="Test", now_ms=NOW_MS).id
            self.app = create_app(
                connection,
                sealer,
                project_id=self.project_id,
                store=Store.APP_STORE,
                name="App",
                config={},
                secrets={},
                now_ms=NOW_MS,
            )
            create_integration(
                connection,
                sealer,
                project_id=self.project_id,
                destination="webhook",
                name="hook",
                settings=WebhookSettings(url="https://example.com/hook"),
                now_ms=NOW_MS,
            )

    def do(self, *units: Unit) -> Sequence[Result | Exception]:
        with self.engine.begin() as connection:
            return self.runner.handle(connection, units)

    def rows(self, table: sa.Table) -> list[sa.RowMapping]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(table)).mappings())

    # ---- what is told

    def snapshot(self, store_key: str, *, started_ms: int = NOW_MS, periods: int = 1) -> Snapshot:
        """A monthly subscription that runs."""
        month = 30 * DAY_MS
        return Snapshot(
            store=Store.APP_STORE,
            environment=Environment.PRODUCTION,
            store_key=store_key,
            original_transaction_id=store_key,
            product_type=ProductType.SUBSCRIPTION,
            as_of_ms=self.clock.now_ms(),
            auto_renew=True,
            periods=tuple(
                PeriodFact(
                    period_key=f"{store_key}.{number}",
                    product_id="monthly",
                    purchased_at_ms=started_ms + number * month,
                    expires_at_ms=started_ms + (number + 1) * month,
                    price_micros=9_990_000,
                    currency="USD",
                )
                for number in range(periods)
            ),
        )

    def notified(self, *snapshots: Snapshot) -> ApplyFacts:
        now = self.clock.now_ms()
        return ApplyFacts(app=self.app, snapshots=snapshots, create=True, received_ms=now, received_wall_ms=now)

    def posted(
        self, app_user_id: str, *snapshots: Snapshot, attributes: dict[str, AttributeChange] | None = None
    ) -> ApplyReceipt:
        now = self.clock.now_ms()
        call = ReceiptCall(
            project_id=self.project_id,
            app_id=self.app.id,
            app_user_id=app_user_id,
            posted=PostedReceipt(fetch_token="token"),
            attributes=attributes or {},
            visit=VISIT,
        )
        return ApplyReceipt(app=self.app, call=call, snapshots=snapshots, received_ms=now, received_wall_ms=now)
