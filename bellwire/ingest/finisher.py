"""Telling a store that a purchase has reached its buyer, where it wants to know (spec: stores 3.7)."""

from collections.abc import Mapping, Sequence

import structlog
from msgspec.structs import replace

from bellwire.db.config import ConfigCache
from bellwire.db.writer import Writer
from bellwire.ingest.finder import ChainFinder
from bellwire.ingest.lanes import Lanes
from bellwire.ingest.units import Acknowledged, UnitRunner
from bellwire.model.enums import ProductType, Store
from bellwire.model.facts import Snapshot
from bellwire.model.projects import App, Catalogue
from bellwire.stores.base import StoreAdapter, StoreError

log = structlog.get_logger()

AT_ONCE = 8
"""Calls for one app at a time."""

_Work = tuple[App, Snapshot]


def kind_of(snapshot: Snapshot, catalogue: Catalogue) -> ProductType:
    """What the operator says of a product of which the store only knows that it is bought once."""
    if snapshot.product_type is not ProductType.ONE_TIME or not snapshot.periods:
        return snapshot.product_type
    return catalogue.product_types.get(snapshot.periods[-1].product_id, ProductType.ONE_TIME)


class Finisher:
    """Works beside everything else; what fails is found again by the refresh timers."""

    def __init__(
        self,
        *,
        finder: ChainFinder,
        writer: Writer,
        config: ConfigCache,
        adapters: Mapping[Store, StoreAdapter],
        runner: UnitRunner,
    ) -> None:
        self._finder = finder
        self._writer = writer
        self._config = config
        self._adapters = adapters
        self._runner = runner
        self._lanes: Lanes[_Work] = Lanes(self._finish, at_once=AT_ONCE)

    @property
    def busy(self) -> bool:
        return self._lanes.busy

    def offer(self, app: App, snapshots: Sequence[Snapshot]) -> None:
        """Purchases that were just committed."""
        for snapshot in snapshots:
            if snapshot.acknowledged is False and not snapshot.pending:
                self._lanes.put(app.id, snapshot.store_key, (app, snapshot))

    async def idle(self) -> None:
        """Wait until nothing is left to tell."""
        await self._lanes.idle()

    async def close(self) -> None:
        """Leave the rest to the timers."""
        await self._lanes.close()

    async def _finish(self, work: _Work) -> None:
        app, snapshot = work
        chain = await self._finder.find(app.id, snapshot.store_key)
        if chain is None or chain.observer_mode or chain.acknowledged:
            return
        kind = kind_of(snapshot, self._config.current().catalogue(app.project_id))
        try:
            await self._adapters[app.store].finish(app, replace(snapshot, product_type=kind))
        except StoreError as error:
            log.warning("purchase.unacknowledged", app_id=app.id, store=app.store, reason=str(error))
            return
        key = (app.id, snapshot.environment.value, snapshot.store_key)
        await self._writer.write(self._runner.handle, Acknowledged(key=key))
