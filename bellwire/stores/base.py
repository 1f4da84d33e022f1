"""The port of a store: what one folder under `stores/` must offer (spec: stores 1.8).

An adapter verifies, decodes and calls the store's API. It never emits events, never touches the database, and keeps
the store's own words inside its folder. All its network calls go through the guarded client it is given.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

import msgspec

from bellwire.kit.http import Answer
from bellwire.model.enums import CredentialStatus, Environment, Store
from bellwire.model.facts import Snapshot
from bellwire.model.projects import App
from bellwire.model.purchases import Chain


class Rejected(Exception):
    """The message cannot be from the store, or is not for this app; nothing may change because of it.

    `status` is the HTTP answer of spec stores 1.3, `reason` one line for the operator. `ignore` True means genuine but
    not ours (another bundle, correctly signed): answered 200, kept as ignored.
    """

    def __init__(self, reason: str, *, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class StoreError(Exception):
    """A call to a store's API did not give a snapshot; subclasses say what to do."""


class StoreUnavailable(StoreError):
    """Time may mend it: timeout, 429, 5xx. `retry_after_ms` is the store's wish, if it told one."""

    def __init__(self, message: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class PurchaseNotFound(StoreError):
    """The store has never known this purchase: the receipt is invalid."""


class PurchaseGone(StoreError):
    """The store no longer tells about it (Google 410): stop polling, keep what is stored."""


class CredentialError(StoreError):
    """The store refuses our credentials: a person must act. The message is safe to show."""


def require_readable(app: App) -> None:
    """Raises CredentialError for an app whose secrets cannot be opened: no call is made without them."""
    if app.unreadable:
        raise CredentialError(f"the app's secrets cannot be opened: {app.unreadable}")


class PaymentPending(StoreError):
    """Known, but not paid yet (code 7651): nothing is owned."""


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """A verified store message, decoded.

    `snapshots` are statements embedded in the message itself (Apple); `store_keys` are chains to pull afterwards,
    empty when the embedded snapshot says everything. Both empty = nothing to do (a test, a summary).
    """

    dedup_key: str
    type: str
    subtype: str | None = None
    environment: Environment | None = None
    occurred_at_ms: int | None = None
    store_keys: tuple[str, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    is_test: bool = False
    ignored: str | None = None
    """Why this genuine message changes nothing (unknown type, other bundle), in words."""
    hints: dict[str, str] = {}
    """Passed to `pull`: the store's notification type and ids that make the pull exact."""


class PostedReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What an SDK or server posted beside the token (spec: api 1.8)."""

    fetch_token: str
    product_ids: tuple[str, ...] = ()
    price_micros: int | None = None
    currency: str | None = None
    store_country: str | None = None
    transaction_id: str | None = None
    observer_mode: bool = False
    public_key: bool = True
    """True when it came with a key that ships inside apps: then a bare, guessable id proves nothing."""


class RecoveredNotification(msgspec.Struct, frozen=True, kw_only=True):
    """A missed message in the store's own bytes, to be fed through the normal door."""

    raw: bytes


class RecoveredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A chain that the store says to look at again; `hints` as in `Notification`."""

    store_key: str
    hints: dict[str, str] = {}


class HTTPCaller(Protocol):
    """The guarded way out, as far as an adapter needs it. Never raises for transport trouble: `Answer.error` says so."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = ...,
        body: bytes = b"",
        timeout_s: float = 60.0,
        max_response_bytes: int | None = None,
    ) -> Answer: ...


class StoreAdapter(Protocol):
    """One instance per store kind, stateless but for caches; every call names the app."""

    store: Store

    async def verify(self, app: App, headers: Mapping[str, str], raw: bytes, *, now_ms: int) -> None:
        """Authenticate a notification. `headers` keys are lower case.

        Raises Rejected (answer `status`) or StoreUnavailable (keys not loadable: answer 503).
        """
        ...

    def decode(self, app: App, raw: bytes) -> Notification:
        """Decode bytes that were verified before; also used on the inbox after a restart. Raises Rejected."""
        ...

    async def pull(self, app: App, store_key: str, *, known: Chain | None, hints: Mapping[str, str]) -> list[Snapshot]:
        """Ask the store for the current state; first the chain itself, then others it names. Raises StoreError."""
        ...

    async def verify_receipt(self, app: App, posted: PostedReceipt) -> list[Snapshot]:
        """Prove a posted receipt and return every purchase it shows. Raises StoreError."""
        ...

    async def finish(self, app: App, snapshot: Snapshot) -> None:
        """Acknowledge or consume where the store wants it; does nothing elsewhere. Raises StoreError."""
        ...

    def recover(self, app: App, since_ms: int, until_ms: int) -> AsyncIterator[RecoveredNotification | RecoveredKey]:
        """What may have been missed in [since, until). Raises StoreError."""
        ...

    async def check_credentials(self, app: App) -> tuple[CredentialStatus, str]:
        """Try the credentials; the message says in words what to do, never a secret."""
        ...
