"""What the dashboard needs of the rest of the hub; the web's services fit this."""

import asyncio
from typing import Protocol

import sqlalchemy as sa

from bellwire.db.config import ConfigCache
from bellwire.db.writer import Writer
from bellwire.kit.clock import Clock
from bellwire.settings import Settings


class FeedDelivery(Protocol):
    """The part of delivery that pages talk to."""

    def subscribe(self) -> asyncio.Queue[int]:
        """A queue that gets the id of each new attempt of this process: a wake-up, the table has the data.

        A negative number says that the hub is stopping, so that open streams end and do not hold it up.
        """
        ...

    def unsubscribe(self, queue: asyncio.Queue[int]) -> None: ...

    async def retry(self, project_id: str, integration_id: str, event_seq: int) -> object:
        """Try a delivery again at once, whatever became of it. Raises DeliveryRefused."""
        ...

    async def send_test(self, project_id: str, integration_id: str) -> object:
        """Send a TEST event to one integration. Raises DeliveryRefused."""
        ...


class DashboardServices(Protocol):
    """One process's parts; `engine` may write, pages only read from it."""

    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def config(self) -> ConfigCache: ...
    @property
    def writer(self) -> Writer: ...
    @property
    def engine(self) -> sa.Engine: ...
    @property
    def delivery(self) -> FeedDelivery: ...
