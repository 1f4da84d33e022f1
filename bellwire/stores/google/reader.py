"""Reading one purchase with as few calls as tell everything, and what to do where a call is refused."""

from collections.abc import Mapping

from msgspec.structs import replace

from bellwire.model.facts import Snapshot
from bellwire.model.purchases import Chain
from bellwire.stores.base import CredentialError, PostedReceipt, PurchaseGone, PurchaseNotFound, StoreError
from bellwire.stores.google.client import PlayClient
from bellwire.stores.google.items import plan_of
from bellwire.stores.google.products import ProductReading, order_wanted, product_snapshot
from bellwire.stores.google.reading import Reading, orders_wanted, wants_linked, wants_plan_duration
from bellwire.stores.google.settings import Access
from bellwire.stores.google.subscriptions import subscription_snapshot
from bellwire.stores.google.wire import LineItem, Order, SubscriptionPurchase

UNREADABLE = (PurchaseNotFound, PurchaseGone, CredentialError)
"""What makes an order or a linked purchase unreadable for good: too old, or no permission to view financial data.

Trouble that time may mend is not among them: then the whole reading is tried again later, prices included.
"""


class Reader:
    """Turns purchase tokens into snapshots for one app at a time."""

    def __init__(self, client: PlayClient) -> None:
        self._client = client
        self._durations: dict[tuple[str, str], dict[str, str]] = {}

    async def subscription(
        self,
        access: Access,
        token: str,
        *,
        known: Chain | None,
        hints: Mapping[str, str],
        posted: PostedReceipt | None = None,
        report_refunds_without_revoke: bool = False,
    ) -> Snapshot:
        """The subscription purchase `token`. Raises StoreError."""
        told = await self._client.subscription(access, token)
        reading = Reading(
            token=token,
            purchase=told.value,
            as_of_ms=told.as_of_ms,
            known=known,
            hints=hints,
            posted=posted,
            report_refunds_without_revoke=report_refunds_without_revoke,
            raw=told.raw,
        )
        reading = replace(reading, orders=await self._orders(access, orders_wanted(reading)))
        linked_token = told.value.linked_purchase_token
        if linked_token is not None and wants_linked(reading):
            reading = replace(reading, linked=await self._linked(access, linked_token))
        if wants_plan_duration(reading) and reading.item is not None:
            reading = replace(reading, plan_duration=await self._plan_duration(access, reading.item))
        return subscription_snapshot(reading)

    async def product(
        self,
        access: Access,
        token: str,
        *,
        known: Chain | None,
        hints: Mapping[str, str],
        posted: PostedReceipt | None = None,
    ) -> Snapshot:
        """The one-time purchase `token`. Raises StoreError."""
        told = await self._client.product(access, token)
        reading = ProductReading(
            token=token,
            purchase=told.value,
            as_of_ms=told.as_of_ms,
            known=known,
            hints=hints,
            posted=posted,
            raw=told.raw,
        )
        order_id = order_wanted(reading)
        if order_id is not None:
            orders = await self._orders(access, (order_id,))
            reading = replace(reading, order=orders.get(order_id))
        return product_snapshot(reading)

    async def _orders(self, access: Access, order_ids: tuple[str, ...]) -> dict[str, Order]:
        """Those of the orders that can be read. A batch is all or nothing: if it fails, only the first is asked for."""
        try:
            if len(order_ids) > 1:
                return {order.order_id: order for order in await self._client.orders(access, order_ids)}
        except UNREADABLE:
            order_ids = order_ids[:1]
        found: dict[str, Order] = {}
        for order_id in order_ids:
            try:
                found[order_id] = await self._client.order(access, order_id)
            except UNREADABLE:
                continue
        return found

    async def _linked(self, access: Access, token: str) -> SubscriptionPurchase | None:
        try:
            return (await self._client.subscription(access, token)).value
        except UNREADABLE:
            return None

    async def _plan_duration(self, access: Access, item: LineItem) -> str | None:
        """ISO 8601 billing period of the item's base plan: it cannot change once the plan exists, so it is kept."""
        key = (access.package_name, item.product_id)
        plan_id = plan_of(item) or ""
        if plan_id not in self._durations.get(key, {}):
            try:
                catalogue = await self._client.catalogue_subscription(access, item.product_id)
            except StoreError:
                return None
            self._durations[key] = {
                plan.base_plan_id: plan.auto_renewing_base_plan_type.billing_period_duration
                for plan in catalogue.base_plans
                if plan.auto_renewing_base_plan_type is not None
            }
        return self._durations[key].get(plan_id)
