"""Projects, apps, the catalogue and integrations: what operators configure."""

import msgspec

from bellwire.model.enums import CredentialStatus, Environment, EventType, ProductType, RestoreBehavior, Store

DAY_MS = 86_400_000


class ProjectSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Rules of a project; the defaults are those of the specification's README."""

    restore_behavior: RestoreBehavior = RestoreBehavior.TRANSFER
    live_window_ms: int = DAY_MS
    """A first-seen purchase younger than this is live, an older one historical (spec: stores 11.7)."""
    backfill_window_ms: int = 7 * DAY_MS
    """Missed renewals older than this are stored but not dispatched, the newest excepted (spec: stores 11.6 R4)."""
    sandbox_grants_entitlements: bool = True


class Project(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    settings: ProjectSettings = ProjectSettings()
    created_at_ms: int = 0


class App(msgspec.Struct, frozen=True, kw_only=True):
    """One store configuration of a project. `config` and `secrets` are the store's own declared structs, as JSON.

    `secrets` holds opened (decrypted) values: never log an App; `repr` leaves them out.
    """

    id: str
    project_id: str
    store: Store
    name: str
    token: str
    """Unguessable path segment of the notification URL; routing, not authentication."""
    config: dict[str, object] = {}
    secrets: dict[str, str] = {}
    track_new_purchases: bool = False
    small_business_from_ms: int | None = None
    small_business_until_ms: int | None = None
    credential_status: CredentialStatus = CredentialStatus.UNKNOWN
    last_notification_at_ms: int | None = None
    recovered_until_ms: int | None = None
    """Notifications up to this store time are known to be complete."""
    created_at_ms: int = 0
    unreadable: str = ""
    """Why `secrets` could not be opened, in words; empty = they could."""

    def __repr__(self) -> str:
        return f"App(id={self.id!r}, store={self.store!r}, name={self.name!r})"


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """Products of a project and the entitlements they grant; keys are `product_id` as events spell it."""

    entitlements_by_product: dict[str, tuple[str, ...]] = {}
    product_types: dict[str, ProductType] = {}
    display_names: dict[str, str] = {}

    def entitlements_of(self, product_key: str) -> tuple[str, ...]:
        """Entitlement identifiers of a product; a plan falls back to its subscription (`pro` for `pro:monthly`)."""
        exact = self.entitlements_by_product.get(product_key)
        if exact is not None:
            return exact
        return self.entitlements_by_product.get(product_key.split(":", 1)[0], ())

    def knows(self, product_key: str) -> bool:
        """Whether an operator has entered this product (or its subscription)."""
        known = self.product_types
        return product_key in known or product_key.split(":", 1)[0] in known


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """At most `burst` events at once and `events_per_s` in the long run."""

    events_per_s: float
    burst: int


class Integration(msgspec.Struct, frozen=True, kw_only=True):
    """One configured connection of a project to a destination, with its filters (spec: events 10.1).

    `settings` is the destination's declared struct as JSON, secrets opened: never log an Integration.
    """

    id: str
    project_id: str
    destination: str
    name: str
    settings: dict[str, object] = {}
    enabled: bool = True
    environment: Environment | None = None
    """None = both."""
    app_id: str | None = None
    """None = all apps; events without an app match only None."""
    event_types: tuple[EventType, ...] | None = None
    """None = all types, future ones included, opt-in ones excluded."""
    order_wait_ms: int | None = 60_000
    """How long a later event of a customer waits for an earlier one; 0 = never, None = strict (architecture D4)."""
    concurrency: int = 16
    rate_limit: RateLimit | None = None
    """None = only what the destination itself declares."""
    created_at_ms: int = 0
    unreadable: str = ""
    """Why the secrets among `settings` could not be opened, in words; empty = they could."""

    def __repr__(self) -> str:
        return f"Integration(id={self.id!r}, destination={self.destination!r}, name={self.name!r})"
