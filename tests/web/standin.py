"""Ingest in memory: the same calls and the same rules of identity and attributes, without a database or stores.

Doors are tested against it for what goes over the wire; what really happens to purchases is tested with the whole hub.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from bellwire.engine.attributes import AttributeChange, AttributeError, apply_changes
from bellwire.engine.identity import merge_customers, should_merge_on_identify
from bellwire.ingest.calls import CustomerView, IngestError, NotificationAnswer, ReceiptCall, ReceiptResult, Visit
from bellwire.model.customers import AppUserId, Customer
from bellwire.model.enums import Environment, PeriodType, ProductType, Store
from bellwire.model.projects import App, Catalogue, ProjectSettings
from bellwire.model.purchases import Chain, Period

NOW_MS = 1_767_225_600_123
DAY_MS = 86_400_000


class StandIn:
    """Fails with `failure` when set. Remembers what it was asked: `visits`, `receipts`, `notifications`."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.visits: list[Visit | None] = []
        self.receipts: list[ReceiptCall] = []
        self.notifications: list[tuple[str, dict[str, str], bytes]] = []
        self.consumable: dict[str, bool] = {}
        self.notification_answer = NotificationAnswer(status=200, body={"status": "ok"})
        self.catalogue = Catalogue(entitlements_by_product={"pro_monthly": ("pro",)})
        self._customers: dict[tuple[str, str], Customer] = {}
        self._chains: dict[int, tuple[Chain, ...]] = {}

    async def receive_notification(self, app: App, headers: Mapping[str, str], raw: bytes) -> NotificationAnswer:
        self._fail()
        self.notifications.append((app.id, dict(headers), raw))
        return self.notification_answer

    async def post_receipt(self, call: ReceiptCall) -> ReceiptResult:
        self._fail()
        self.receipts.append(call)
        self.visits.append(call.visit)
        customer, created = self._find(call.project_id, call.app_user_id)
        customer, errors = self._change(customer, call.attributes, call.visit, strict=not call.posted.public_key)
        self._chains[customer.id] = (_subscription(call, customer),)
        view = self._view(customer, created=created)
        return ReceiptResult(view=view, attribute_errors=errors, consumable_products=self.consumable)

    async def get_customer(self, project_id: str, app_user_id: str, visit: Visit | None) -> CustomerView:
        self._fail()
        self.visits.append(visit)
        customer, created = self._find(project_id, app_user_id)
        return self._view(customer, created=created)

    async def set_attributes(
        self,
        project_id: str,
        app_user_id: str,
        changes: Mapping[str, AttributeChange],
        visit: Visit | None,
        *,
        strict_reserved: bool = False,
    ) -> tuple[CustomerView, list[AttributeError]]:
        self._fail()
        self.visits.append(visit)
        customer, created = self._find(project_id, app_user_id)
        customer, errors = self._change(customer, changes, visit, strict=strict_reserved)
        return self._view(customer, created=created), errors

    async def identify(
        self, project_id: str, app_user_id: str, new_app_user_id: str, visit: Visit | None
    ) -> CustomerView:
        self._fail()
        self.visits.append(visit)
        provided = self._customers.get((project_id, new_app_user_id))
        current, _ = self._find(project_id, app_user_id)
        merges = should_merge_on_identify(current, provided, app_user_id)
        new, created = self._find(project_id, new_app_user_id)
        if merges:
            new = self._put(merge_customers(current, new))
        return self._view(new, created=created)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _find(self, project_id: str, app_user_id: str) -> tuple[Customer, bool]:
        known = self._customers.get((project_id, app_user_id))
        if known is not None:
            return known, False
        seen = AppUserId(app_user_id=app_user_id, first_seen_ms=NOW_MS, last_seen_ms=NOW_MS)
        customer = Customer(
            id=len(self._customers) + 1,
            project_id=project_id,
            original_app_user_id=app_user_id,
            ids=(seen,),
            first_seen_ms=NOW_MS,
            last_seen_ms=NOW_MS,
        )
        return self._put(customer), True

    def _put(self, customer: Customer) -> Customer:
        for one in customer.ids:
            self._customers[(customer.project_id, one.app_user_id)] = customer
        return customer

    def _change(
        self, customer: Customer, changes: Mapping[str, AttributeChange], visit: Visit | None, *, strict: bool
    ) -> tuple[Customer, list[AttributeError]]:
        attributes, errors = apply_changes(
            customer.attributes,
            changes,
            now_ms=NOW_MS,
            ip=None if visit is None else visit.ip,
            strict_reserved=strict,
        )
        return self._put(replace(customer, attributes=attributes)), errors

    def _view(self, customer: Customer, *, created: bool) -> CustomerView:
        return CustomerView(
            customer=customer,
            chains=self._chains.get(customer.id, ()),
            catalogue=self.catalogue,
            settings=ProjectSettings(),
            now_ms=NOW_MS,
            created=created,
        )


def store_outage() -> IngestError:
    """What ingest says while a store cannot be asked."""
    return IngestError(503, 7101, "The store cannot be asked right now; try again.", 30)


def _subscription(call: ReceiptCall, customer: Customer) -> Chain:
    period = Period(
        period_key="1000",
        ordinal=1,
        product_id="pro_monthly",
        plan_id=None,
        period_type=PeriodType.NORMAL,
        purchased_at_ms=NOW_MS,
        expires_at_ms=NOW_MS + 30 * DAY_MS,
        price_micros=9_990_000,
        currency="USD",
        price_usd_micros=9_990_000,
    )
    return Chain(
        id=1,
        project_id=call.project_id,
        app_id=call.app_id,
        store=Store.APP_STORE,
        environment=Environment.PRODUCTION,
        store_key="1000",
        first_store_key="1000",
        original_transaction_id="1000",
        customer_id=customer.id,
        product_type=ProductType.SUBSCRIPTION,
        periods=(period,),
    )
