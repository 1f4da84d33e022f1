"""Google Play behind the port of a store (spec: stores 3)."""

from collections.abc import AsyncIterator, Mapping

from msgspec.structs import replace

from bellwire.model.enums import CredentialStatus, ProductType, Store
from bellwire.model.facts import Snapshot
from bellwire.model.projects import DAY_MS, App
from bellwire.model.purchases import Chain
from bellwire.stores.base import (
    CredentialError,
    HTTPCaller,
    Notification,
    PaymentPending,
    PostedReceipt,
    PurchaseGone,
    PurchaseNotFound,
    RecoveredKey,
    RecoveredNotification,
    StoreUnavailable,
)
from bellwire.stores.google.client import PlayClient
from bellwire.stores.google.decode import ONE_TIME, SUBSCRIPTION, decode_push
from bellwire.stores.google.oidc import PushTokens, SigningKeys
from bellwire.stores.google.reader import Reader
from bellwire.stores.google.refunds import PARTIAL_QUANTITY
from bellwire.stores.google.settings import Access, Config, certs_url, read_access, read_config
from bellwire.stores.google.wire import VoidedPurchase

VOIDED_WINDOW_MS = 30 * DAY_MS
WINDOW_MARGIN_MS = 60_000
"""The list refuses times before its window: keep clear of its start, as clocks differ."""


class GoogleAdapter:
    """One for all Google Play apps of the hub. `allow_test_roots`: honour the apps' own addresses and keys."""

    store = Store.PLAY_STORE

    def __init__(self, client: HTTPCaller, *, allow_test_roots: bool) -> None:
        self._allow_test_roots = allow_test_roots
        self._client = PlayClient(client)
        self._push_tokens = PushTokens(SigningKeys(client))
        self._reader = Reader(self._client)
        self._configs: dict[str, tuple[App, Config]] = {}
        self._decoded: tuple[bytes, str, Notification] | None = None
        """The push that was decoded last: what is verified is decoded next, and is the same bytes."""

    async def verify(self, app: App, headers: Mapping[str, str], raw: bytes, *, now_ms: int) -> None:
        """Check the push's OIDC token (401) and that the body is a push at all (400). `now_ms` does not matter here."""
        config = self._config(app)
        authorization = headers.get("authorization")
        if not (config.allow_unauthenticated_push and authorization is None):
            await self._push_tokens.check(
                certs_url(config, allow_test_roots=self._allow_test_roots),
                authorization,
                audience=config.push_audience,
                email=config.push_service_account_email,
            )
        self.decode(app, raw)

    def decode(self, app: App, raw: bytes) -> Notification:
        package_name = self._config(app).package_name
        known = self._decoded
        if known is not None and known[0] is raw and known[1] == package_name:
            return known[2]
        notification = decode_push(raw, package_name=package_name)
        self._decoded = (raw, package_name, notification)
        return notification

    def _config(self, app: App) -> Config:
        """The app's settings, read once for each change of them."""
        known = self._configs.get(app.id)
        if known is None or known[0] is not app:
            known = self._configs[app.id] = (app, read_config(app))
        return known[1]

    async def pull(self, app: App, store_key: str, *, known: Chain | None, hints: Mapping[str, str]) -> list[Snapshot]:
        """One snapshot. A chain that went on under a new token is read under that one (deferred replacement)."""
        token = store_key if known is None else known.store_key
        kind = hints.get("kind")
        if known is not None:
            kind = SUBSCRIPTION if known.is_subscription else ONE_TIME
        return [await self._read(app, token, kind=kind, known=known, hints=hints)]

    async def verify_receipt(self, app: App, posted: PostedReceipt) -> list[Snapshot]:
        """The posted token's purchase. Raises PaymentPending for one that waits for its payment."""
        planned = any(":" in product_id for product_id in posted.product_ids)
        kind = SUBSCRIPTION if planned else None
        snapshot = await self._read(app, posted.fetch_token, kind=kind, known=None, hints={}, posted=posted)
        if snapshot.pending:
            if snapshot.ended is True:
                raise PurchaseNotFound("the payment of this purchase was given up")
            raise PaymentPending("the payment of this purchase is not complete")
        return [snapshot]

    async def finish(self, app: App, snapshot: Snapshot) -> None:
        """Acknowledge a purchase, or consume one that the caller knows to be CONSUMABLE, where the app wants it.

        Whether the app completes its own purchases (observer mode) is the caller's question. Does nothing for what is
        finished, not paid, refunded or over.
        """
        config = read_config(app)
        if not config.acknowledge_purchases or snapshot.acknowledged is not False or not _standing(snapshot):
            return
        access = self._access(app)
        product_id = snapshot.periods[-1].product_id
        if snapshot.product_type is ProductType.SUBSCRIPTION:
            await self._client.acknowledge_subscription(access, product_id, snapshot.store_key)
        elif snapshot.product_type is ProductType.CONSUMABLE and config.consume_consumables:
            await self._client.consume_product(access, product_id, snapshot.store_key)
        else:
            await self._client.acknowledge_product(access, product_id, snapshot.store_key)

    async def recover(
        self, app: App, since_ms: int, until_ms: int
    ) -> AsyncIterator[RecoveredNotification | RecoveredKey]:
        """Voided purchases: all else is found by reading the known tokens again (spec: stores 3.2, Recovery).

        No end is asked for: Google refuses one that its clock has not reached, and what is newer does no harm.
        """
        access = self._access(app)
        start_ms = max(since_ms, until_ms - VOIDED_WINDOW_MS + WINDOW_MARGIN_MS)
        page_token: str | None = None
        while True:
            page = await self._client.voided_page(access, start_ms=start_ms, page_token=page_token)
            for row in page.voided_purchases:
                yield RecoveredKey(store_key=row.purchase_token, hints=_voided_hints(row))
            page_token = None if page.token_pagination is None else page.token_pagination.next_page_token
            if not page_token:
                return

    async def check_credentials(self, app: App) -> tuple[CredentialStatus, str]:
        """Ask for a purchase that cannot be: refused credentials answer otherwise than an unknown token."""
        if not app.secrets.get("service_account_json"):
            return CredentialStatus.MISSING, "no service account key is set"
        try:
            await self._client.subscription(self._access(app), "x")
        except CredentialError as error:
            return CredentialStatus.INVALID, str(error)
        except StoreUnavailable as error:
            return CredentialStatus.UNKNOWN, str(error)
        except (PurchaseNotFound, PurchaseGone):
            pass
        return CredentialStatus.OK, "Google Play accepts the service account"

    async def _read(
        self,
        app: App,
        token: str,
        *,
        kind: str | None,
        known: Chain | None,
        hints: Mapping[str, str],
        posted: PostedReceipt | None = None,
    ) -> Snapshot:
        """As `kind` says, else first as a subscription, then as a one-time purchase (spec: stores 3.6)."""
        access, config = self._access(app), read_config(app)
        snapshot: Snapshot | None = None
        if kind != ONE_TIME:
            report = config.report_refunds_without_revoke
            try:
                snapshot = await self._reader.subscription(
                    access, token, known=known, hints=hints, posted=posted, report_refunds_without_revoke=report
                )
            except PurchaseNotFound:
                if kind == SUBSCRIPTION:
                    raise
        if snapshot is None:
            snapshot = await self._reader.product(access, token, known=known, hints=hints, posted=posted)
        # SDKs put a hash there: it names a customer only where the operator says so.
        named = config.app_user_id_source == "obfuscated_external_account_id"
        return snapshot if named else replace(snapshot, account_hint=None)

    def _access(self, app: App) -> Access:
        return read_access(app, allow_test_roots=self._allow_test_roots)


def _standing(snapshot: Snapshot) -> bool:
    """Whether something is owned that could still be acknowledged."""
    if snapshot.pending or snapshot.ended is True or not snapshot.periods:
        return False
    return not isinstance(snapshot.periods[-1].refunded_at_ms, int)


def _voided_hints(row: VoidedPurchase) -> dict[str, str]:
    partial = {"refundType": PARTIAL_QUANTITY} if row.voided_quantity is not None else {}
    return {
        "voided": "true",
        "orderId": row.order_id,
        "eventTimeMillis": row.voided_time_millis,
        "voidedReason": str(row.voided_reason),
    } | partial
