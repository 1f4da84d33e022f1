"""The App Store as a `StoreAdapter`: signatures, decoding and Apple's API put together (spec: stores 2)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress

import msgspec

from bellwire.model.enums import CredentialStatus, Environment, ProductType, Store
from bellwire.model.facts import Snapshot
from bellwire.model.projects import DAY_MS, App
from bellwire.model.purchases import Chain
from bellwire.stores.apple.client import BASE_URLS, PRODUCTION, SANDBOX, AppleClient, Status, UnknownTransaction
from bellwire.stores.apple.decode import decode_notification
from bellwire.stores.apple.payloads import Envelope, RenewalInfo, Transaction, payload_bytes
from bellwire.stores.apple.receipts import Proof, prove
from bellwire.stores.apple.roots import receipt_roots, trusted_roots
from bellwire.stores.apple.settings import Config, Secrets
from bellwire.stores.apple.snapshots import Shown, snapshots_of
from bellwire.stores.apple.verify import Verifiers, verify_notification, verify_renewal_info, verify_transaction
from bellwire.stores.base import (
    CredentialError,
    HTTPCaller,
    Notification,
    PostedReceipt,
    PurchaseNotFound,
    RecoveredKey,
    RecoveredNotification,
    Rejected,
    StoreError,
    StoreUnavailable,
    require_readable,
)

HISTORY_DAYS = {PRODUCTION: 179, SANDBOX: 29}
"""How far back Apple remembers notifications, less a day of safety: 180 and 30."""

_NAMES = {Environment.PRODUCTION: PRODUCTION, Environment.SANDBOX: SANDBOX}
_REFUND_TYPES = ("REFUND", "REFUND_REVERSED", "REVOKE")
_DUMMY_TRANSACTION_ID = "1"


class _Connection(msgspec.Struct, frozen=True, kw_only=True):
    """One app as this adapter sees it."""

    app: App
    config: Config
    roots: tuple[bytes, ...]
    receipt_roots: tuple[bytes, ...]
    client: AppleClient


class AppleAdapter:
    """`StoreAdapter` for App Store and Mac App Store apps.

    `allow_test_roots` lets an app's own root certificates and API addresses count: for simulators only.
    """

    store = Store.APP_STORE

    def __init__(self, client: HTTPCaller, *, allow_test_roots: bool) -> None:
        self._caller = client
        self._allow_test_roots = allow_test_roots
        self._verifiers = Verifiers()
        self._connections: dict[str, _Connection] = {}

    async def verify(self, app: App, headers: Mapping[str, str], raw: bytes, *, now_ms: int) -> None:
        """See the port. Apple authenticates by the body alone; a late retry is as good as a first attempt."""
        try:
            connection = self._connect(app)
        except CredentialError as error:
            raise StoreUnavailable(str(error)) from error
        verify_notification(self._verifiers, connection.config, connection.roots, raw)

    def decode(self, app: App, raw: bytes) -> Notification:
        """See the port."""
        return decode_notification(app, self._connect(app).config, raw)

    async def pull(self, app: App, store_key: str, *, known: Chain | None, hints: Mapping[str, str]) -> list[Snapshot]:
        """See the port. `hints` as `decode` gives them; without any the environment and product type are found out."""
        connection = self._connect(app)
        if known is not None:
            environments = [_NAMES[known.environment]]
        elif "environment" in hints:
            environments = [_NAMES[Environment(hints["environment"])]]
        else:
            environments = [PRODUCTION, SANDBOX]
        for environment in environments[:-1]:
            try:
                return await self._pull_in(connection, environment, store_key, known, hints)
            except UnknownTransaction:
                continue
        return await self._pull_in(connection, environments[-1], store_key, known, hints)

    async def verify_receipt(self, app: App, posted: PostedReceipt) -> list[Snapshot]:
        """See the port. Returns everything the customer's account bought in this app, the posted purchase first."""
        connection = self._connect(app)
        proof = prove(
            posted,
            verify=lambda signed: verify_transaction(self._verifiers, connection.config, connection.roots, signed),
            bundle_id=connection.config.bundle_id,
            roots=connection.receipt_roots,
        )
        if proof.environment is not None:
            return await self._everything(connection, proof.environment, proof, posted)
        try:
            return await self._everything(connection, PRODUCTION, proof, posted)
        except UnknownTransaction:
            return await self._everything(connection, SANDBOX, proof, posted)

    async def finish(self, app: App, snapshot: Snapshot) -> None:
        """Nothing to do: on Apple's platforms the client finishes transactions."""

    async def recover(
        self, app: App, since_ms: int, until_ms: int
    ) -> AsyncIterator[RecoveredNotification | RecoveredKey]:
        """Notifications that Apple could not deliver, in both environments, in the bytes of the normal door."""
        connection = self._connect(app)
        for environment in (PRODUCTION, SANDBOX):
            start = max(since_ms, until_ms - HISTORY_DAYS[environment] * DAY_MS)
            if start >= until_ms or (environment == PRODUCTION and connection.config.app_apple_id is None):
                continue
            async for item in connection.client.notifications(environment, start, until_ms, only_failures=True):
                yield RecoveredNotification(raw=msgspec.json.encode(Envelope(signed_payload=item.signed_payload)))

    async def check_credentials(self, app: App) -> tuple[CredentialStatus, str]:
        """See the port. Asks for a transaction that cannot exist: 'not found' shows that the key is good."""
        connection = self._connect(app)
        config, secrets = connection.config, _secrets(app)
        if not (secrets.iap_key_p8 and config.iap_key_id and config.issuer_id):
            return CredentialStatus.MISSING, "Enter the In-App Purchase key, its key ID and the issuer ID."
        production = await _try(connection.client, PRODUCTION)
        if isinstance(production, CredentialError):
            sandbox = await _try(connection.client, SANDBOX)
            if sandbox is None:
                return (
                    CredentialStatus.OK,
                    "Works in the sandbox. Production refuses it, as Apple does until an app's first release.",
                )
            return CredentialStatus.INVALID, str(production)
        if production is not None:
            return CredentialStatus.UNKNOWN, f"Could not be checked: {production}"
        if config.app_apple_id is None:
            return CredentialStatus.OK, "Works. Enter the app's Apple ID too: production notifications need it."
        return CredentialStatus.OK, "Works."

    def _connect(self, app: App) -> _Connection:
        """The app's settings, decoded once for each version of them. Raises CredentialError for unusable ones."""
        held = self._connections.get(app.id)
        if held is not None and held.app.config == app.config and held.app.secrets == app.secrets:
            return held
        require_readable(app)
        try:
            config = msgspec.convert(app.config, Config)
        except msgspec.ValidationError as error:
            raise CredentialError(f"the app's settings are not usable: {error}") from error
        base_urls = dict(BASE_URLS)
        if self._allow_test_roots:
            base_urls[PRODUCTION] = config.api_base_url_production or base_urls[PRODUCTION]
            base_urls[SANDBOX] = config.api_base_url_sandbox or base_urls[SANDBOX]
        allowed = self._allow_test_roots
        connection = _Connection(
            app=app,
            config=config,
            roots=trusted_roots(config.root_certificates, allow_test_roots=allowed),
            receipt_roots=receipt_roots(config.root_certificates, allow_test_roots=allowed),
            client=AppleClient(self._caller, config, _secrets(app), base_urls),
        )
        self._connections[app.id] = connection
        return connection

    async def _pull_in(
        self, connection: _Connection, environment: str, store_key: str, known: Chain | None, hints: Mapping[str, str]
    ) -> list[Snapshot]:
        kind = known.product_type if known is not None else hints.get("product_type")
        if kind is None or kind != ProductType.SUBSCRIPTION:
            signed = await connection.client.transaction(environment, store_key)
            shown = self._shown(connection, environment, signed)
            found = snapshots_of([shown], [], store=connection.app.store)
            if found[0].product_type is not ProductType.SUBSCRIPTION:
                return found
            store_key = found[0].store_key
        statuses = await self._statuses(connection, environment, store_key)
        state = next((item for item in statuses if item.transaction.original_transaction_id == store_key), None)
        if state is None:
            raise PurchaseNotFound("the App Store lists no such subscription for this customer")
        history = await self._missing_history(connection, environment, store_key, state.transaction, known, hints)
        snapshots = snapshots_of(
            [item for item in history.transactions if item.transaction.original_transaction_id == store_key],
            [state],
            store=connection.app.store,
            complete_history=history.complete,
        )
        return [snapshot for snapshot in snapshots if snapshot.store_key == store_key]

    async def _missing_history(
        self,
        connection: _Connection,
        environment: str,
        store_key: str,
        latest: Transaction,
        known: Chain | None,
        hints: Mapping[str, str],
    ) -> "_History":
        """Transactions beside the latest that the hub may not know: all for a new chain or a refund, else the newer."""
        start: int | None = None
        if known is not None and known.latest is not None and hints.get("notification_type") not in _REFUND_TYPES:
            if known.latest.period_key == latest.transaction_id:
                return _History(transactions=(), complete=False)
            start = known.latest.purchased_at_ms
        signed = await connection.client.history(
            environment, store_key, start_ms=start, product_types=("AUTO_RENEWABLE",)
        )
        return _History(
            transactions=[self._shown(connection, environment, item) for item in signed], complete=start is None
        )

    async def _everything(
        self, connection: _Connection, environment: str, proof: Proof, posted: PostedReceipt
    ) -> list[Snapshot]:
        """Every purchase of the account that made the proven transaction."""
        signed = await connection.client.history(environment, proof.transaction_id)
        transactions = [self._shown(connection, environment, item) for item in signed]
        ids = {item.transaction.transaction_id for item in transactions}
        if proof.transaction is not None and proof.signed is not None and proof.transaction_id not in ids:
            # The device may know of a purchase before the history does.
            transactions.append(Shown(transaction=proof.transaction, transaction_json=payload_bytes(proof.signed)))
        statuses: list[Shown] = []
        with suppress(PurchaseNotFound):  # an account that never subscribed
            statuses = await self._statuses(connection, environment, proof.transaction_id)
        found = snapshots_of(transactions, statuses, store=connection.app.store, complete_history=True)
        ordered = sorted(found, key=lambda item: proof.transaction_id not in {p.period_key for p in item.periods})
        return [_with_posted_price(item, posted) for item in ordered]

    async def _statuses(self, connection: _Connection, environment: str, transaction_id: str) -> list[Shown]:
        return [
            self._shown_status(connection, environment, item)
            for item in await connection.client.statuses(environment, transaction_id)
        ]

    def _shown(self, connection: _Connection, environment: str, signed: str) -> Shown:
        """A signed transaction out of an answer of Apple's API, checked like any other."""
        try:
            transaction = verify_transaction(self._verifiers, connection.config, connection.roots, signed)
        except Rejected as error:
            raise StoreUnavailable(f"the App Store's answer cannot be trusted: {error.reason}") from error
        if transaction.environment != environment:
            raise StoreUnavailable("the App Store's answer is about another environment")
        return Shown(transaction=transaction, transaction_json=payload_bytes(signed))

    def _shown_status(self, connection: _Connection, environment: str, status: Status) -> Shown:
        if status.signed_transaction_info is None:
            raise StoreUnavailable("the App Store's answer names a subscription without a transaction")
        shown = self._shown(connection, environment, status.signed_transaction_info)
        if status.signed_renewal_info is None:
            return msgspec.structs.replace(shown, status=status.status)
        signed = status.signed_renewal_info
        try:
            verify_renewal_info(self._verifiers, connection.config, connection.roots, environment, signed)
        except Rejected as error:
            raise StoreUnavailable(f"the App Store's answer cannot be trusted: {error.reason}") from error
        renewal_json = payload_bytes(signed)
        return msgspec.structs.replace(
            shown,
            status=status.status,
            renewal=msgspec.json.decode(renewal_json, type=RenewalInfo),
            renewal_json=renewal_json,
        )


class _History(msgspec.Struct, frozen=True, kw_only=True):
    transactions: Sequence[Shown]
    complete: bool


def _secrets(app: App) -> Secrets:
    return msgspec.convert(app.secrets, Secrets)


async def _try(client: AppleClient, environment: str) -> StoreError | None:
    """None when the key was accepted."""
    try:
        await client.statuses(environment, _DUMMY_TRANSACTION_ID)
    except PurchaseNotFound:
        return None
    except StoreError as error:
        return error
    return None


def _with_posted_price(snapshot: Snapshot, posted: PostedReceipt) -> Snapshot:
    """Old transactions carry no price: then what the SDK saw on the device counts, for the posted product only."""
    if posted.price_micros is None or posted.currency is None or not snapshot.periods:
        return snapshot
    *earlier, latest = sorted(snapshot.periods, key=lambda period: period.purchased_at_ms)
    if latest.price_micros is not None or latest.product_id not in posted.product_ids:
        return snapshot
    priced = msgspec.structs.replace(latest, price_micros=posted.price_micros, currency=posted.currency)
    return msgspec.structs.replace(snapshot, periods=(*earlier, priced))
