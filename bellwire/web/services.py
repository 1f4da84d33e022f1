"""The parts of one process that doors and pages work with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa

from bellwire.db.config import ConfigCache
from bellwire.db.secrets import Sealer
from bellwire.db.writer import Writer
from bellwire.engine.attributes import AttributeChange, AttributeError
from bellwire.ingest.calls import CustomerView, NotificationAnswer, ReceiptCall, ReceiptResult, Visit
from bellwire.kit.clock import Clock
from bellwire.model.projects import App
from bellwire.settings import Settings
from bellwire.web.dashboard.ports import FeedDelivery
from bellwire.web.health import Health


class IngestCalls(Protocol):
    """What doors ask of ingest. Each call raises IngestError, which goes to the wire as it is."""

    async def receive_notification(self, app: App, headers: Mapping[str, str], raw: bytes) -> NotificationAnswer:
        """Verify and keep a store's message; returns once that is durable. `headers` keys are lower case."""
        ...

    async def post_receipt(self, call: ReceiptCall) -> ReceiptResult:
        """Prove a receipt with its store and apply it."""
        ...

    async def get_customer(self, project_id: str, app_user_id: str, visit: Visit | None) -> CustomerView:
        """Get or create a customer; without a visit it is a server that reads."""
        ...

    async def set_attributes(
        self,
        project_id: str,
        app_user_id: str,
        changes: Mapping[str, AttributeChange],
        visit: Visit | None,
        *,
        strict_reserved: bool = False,
    ) -> tuple[CustomerView, list[AttributeError]]:
        """Save the good keys, list the bad ones."""
        ...

    async def identify(
        self, project_id: str, app_user_id: str, new_app_user_id: str, visit: Visit | None
    ) -> CustomerView:
        """Log in from one id to another; the view is that of the new one."""
        ...


@dataclass(frozen=True)
class Services:
    """`engine` may write, doors and pages only read from it: what changes goes through `ingest` or `writer`."""

    settings: Settings
    clock: Clock
    config: ConfigCache
    writer: Writer
    engine: sa.Engine
    ingest: IngestCalls
    delivery: FeedDelivery
    sealer: Sealer
    health: Health
