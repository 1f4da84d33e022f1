"""What doors hand to ingest and what they get back. Values only: no wire formats, no database."""

from collections.abc import Mapping

import msgspec

from bellwire.engine.attributes import AttributeChange, AttributeError
from bellwire.model.customers import Customer
from bellwire.model.projects import Catalogue, ProjectSettings
from bellwire.model.purchases import Chain
from bellwire.stores.base import PostedReceipt


class IngestError(Exception):
    """A call that was refused or could not be done: `status`, `code` and `message` go to the wire as they are.

    A status of 500 and above says that nothing was decided and the caller shall come again (spec: api 0, rule 4).
    """

    def __init__(self, status: int, code: int, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


class NotificationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the store is told about its notification (spec: stores 1.3)."""

    status: int
    body: dict[str, object] = {}


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """An SDK request (`X-Platform` present) as evidence of where the customer is; None = not told."""

    country: str | None = None
    """ISO 3166-1 alpha-2."""
    platform: str | None = None
    app_version: str | None = None
    ip: str | None = None


class CustomerView(msgspec.Struct, frozen=True, kw_only=True):
    """All that a customer's answer is made of, read in one transaction."""

    customer: Customer
    chains: tuple[Chain, ...]
    catalogue: Catalogue
    settings: ProjectSettings
    now_ms: int
    created: bool = False
    """The app user id of the call was not known before it."""


class ReceiptCall(msgspec.Struct, frozen=True, kw_only=True):
    """One posted receipt. `raw_body` is the request as it came, for the inbox."""

    project_id: str
    app_id: str
    app_user_id: str
    posted: PostedReceipt
    is_restore: bool = False
    presented_offering_id: str | None = None
    presented_placement_id: str | None = None
    metadata: dict[str, str] | None = None
    attributes: Mapping[str, AttributeChange] = {}
    visit: Visit | None = None
    raw_body: bytes = b""


class ReceiptResult(msgspec.Struct, frozen=True, kw_only=True):
    """The customer after the receipt; `consumable_products` maps product ids to whether the SDK should consume."""

    view: CustomerView
    attribute_errors: list[AttributeError]
    consumable_products: dict[str, bool] = {}
