"""POST /v1/receipts: a purchase that an SDK or a server tells about (spec: api 1.8, 3.2)."""

from decimal import Decimal

import msgspec
from msgspec import UNSET, UnsetType

from bellwire.engine.identity import check_app_user_id
from bellwire.ingest.calls import ReceiptCall, ReceiptResult
from bellwire.kit.countries import alpha_2
from bellwire.kit.endpoints import Reply
from bellwire.model.customer_info import CustomerInfo
from bellwire.model.enums import Store
from bellwire.model.projects import App
from bellwire.stores.base import PostedReceipt
from bellwire.stores.registry import DECLARATIONS
from bellwire.web.errors import Code, ErrorBody, WireError
from bellwire.web.sdk.attributes import decode_changes, errors_inside
from bellwire.web.sdk.door import Visitor
from bellwire.web.sdk.platforms import app_of
from bellwire.web.sdk.prices import to_currency, to_micros


class _PlatformProduct(msgspec.Struct, frozen=True):
    product_id: str


class _ReceiptBody(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that the hub reads, of all that SDKs send; the whole body is kept beside."""

    app_user_id: str
    fetch_token: str | None = None
    app_transaction: str | None = None
    product_id: str | None = None
    product_ids: list[str] | None = None
    platform_product_ids: list[_PlatformProduct] | None = None
    price: Decimal | None = None
    currency: str | None = None
    store_country: str | None = None
    transaction_id: str | None = None
    is_restore: bool | None = None
    initiation_source: str | None = None
    observer_mode: bool | None = None
    purchase_completed_by: str | None = None
    presented_offering_identifier: str | None = None
    presented_placement_identifier: str | None = None
    metadata: dict[str, str] | None = None
    attributes: dict[str, msgspec.Raw] | None = None


class _ShouldConsume(msgspec.Struct, frozen=True):
    should_consume: bool


class ReceiptAnswer(CustomerInfo, frozen=True, kw_only=True):
    """The customer after the receipt."""

    purchased_products: dict[str, _ShouldConsume] | UnsetType = UNSET
    """Whether Android consumes a one-time product or acknowledges it."""
    attributes_error_response: ErrorBody | UnsetType = UNSET


async def post_receipt(visitor: Visitor) -> Reply:
    """Prove the receipt and answer with the customer. A store that cannot be asked is a 5xx: on 4xx SDKs drop it."""
    body = await visitor.call.json(_ReceiptBody)
    check_app_user_id(body.app_user_id)
    config = visitor.services.config.current()
    app = app_of(visitor.caller, config, visitor.platform, visitor.call.header("x-client-bundle-id"))
    if not body.fetch_token and body.app_transaction:
        return await _without_purchase(visitor, body)
    call = ReceiptCall(
        project_id=visitor.project_id,
        app_id=app.id,
        app_user_id=body.app_user_id,
        posted=_posted(visitor, body, app),
        is_restore=bool(body.is_restore) or body.initiation_source == "restore",
        presented_offering_id=body.presented_offering_identifier or None,
        presented_placement_id=body.presented_placement_identifier or None,
        metadata=body.metadata,
        attributes=decode_changes(visitor, body.attributes or {}),
        visit=visitor.visit(),
        raw_body=await visitor.call.body(),
    )
    return Reply(200, _answer(visitor, await visitor.services.ingest.post_receipt(call)))


async def _without_purchase(visitor: Visitor, body: _ReceiptBody) -> Reply:
    """Only an AppTransaction: it proves the installation of the app, not a purchase. Nothing to process."""
    changes = decode_changes(visitor, body.attributes or {})
    view, errors = await visitor.services.ingest.set_attributes(
        visitor.project_id,
        body.app_user_id,
        changes,
        visitor.visit(),
        strict_reserved=visitor.caller.is_secret,
    )
    return Reply(200, _answer(visitor, ReceiptResult(view=view, attribute_errors=errors)))


def _posted(visitor: Visitor, body: _ReceiptBody, app: App) -> PostedReceipt:
    if app.store not in DECLARATIONS:
        raise WireError(500, Code.INTERNAL, f"This hub cannot verify purchases of {app.store} yet.")
    if not body.fetch_token:
        raise WireError(400, Code.INVALID_RECEIPT, "fetch_token: is missing or empty.")
    product_ids = _product_ids(body)
    if app.store is Store.PLAY_STORE and not product_ids:
        raise WireError(400, Code.PRODUCT_ID_MISSING, "product_id: is missing; Google purchases need it.")
    price_micros = to_micros(body.price, field="price")
    currency = to_currency(body.currency, field="currency")
    return PostedReceipt(
        fetch_token=body.fetch_token,
        product_ids=product_ids,
        price_micros=price_micros,
        currency="USD" if currency is None and price_micros is not None else currency,
        store_country=alpha_2(body.store_country),
        transaction_id=body.transaction_id or None,
        observer_mode=_observes(visitor, body),
        public_key=not visitor.caller.is_secret,
    )


def _product_ids(body: _ReceiptBody) -> tuple[str, ...]:
    """The base product first."""
    named = [*(body.product_ids or [])]
    if not named:
        named = [one.product_id for one in body.platform_product_ids or []]
    if body.product_id is not None:
        named.append(body.product_id)
    return tuple(dict.fromkeys(name for name in named if name))


def _observes(visitor: Visitor, body: _ReceiptBody) -> bool:
    """Whether the app finishes its purchases itself; the newest way of saying so wins."""
    if body.purchase_completed_by is not None:
        return body.purchase_completed_by == "my_app"
    if body.observer_mode is not None:
        return body.observer_mode
    return (visitor.call.header("x-observer-mode-enabled") or "").lower() == "true"


def _answer(visitor: Visitor, result: ReceiptResult) -> ReceiptAnswer:
    info = visitor.info(result.view)
    products = {key: _ShouldConsume(consume) for key, consume in result.consumable_products.items()}
    return ReceiptAnswer(
        request_date=info.request_date,
        request_date_ms=info.request_date_ms,
        subscriber=info.subscriber,
        purchased_products=products or UNSET,
        attributes_error_response=errors_inside(result.attribute_errors) if result.attribute_errors else UNSET,
    )
