"""The stores there are, one line each: what forms, the command line and the wiring need to know of them."""

from collections.abc import Callable, Mapping

import msgspec

from bellwire.model.enums import Store
from bellwire.stores.apple import key_file as apple_key
from bellwire.stores.apple import settings as apple
from bellwire.stores.google import key_file as google_key
from bellwire.stores.google import settings as google


class StoreDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of app an operator can connect."""

    store: Store
    slug: str
    """Path segment of the notification URL, also the adapter's name; two stores may share one (Apple's)."""
    title: str
    config: type[msgspec.Struct]
    secrets: type[msgspec.Struct]
    check_secrets: Callable[[Mapping[str, str]], None]
    """Raises CredentialError for secrets that cannot be right; asks nobody."""
    platforms: tuple[str, ...]
    """`X-Platform` values (lower case) of SDKs whose purchases belong to this store."""


DECLARATIONS: dict[Store, StoreDeclaration] = {
    declaration.store: declaration
    for declaration in (
        StoreDeclaration(
            store=Store.APP_STORE,
            slug="apple",
            title="App Store",
            config=apple.Config,
            secrets=apple.Secrets,
            check_secrets=apple_key.check_secrets,
            platforms=("ios", "tvos", "watchos", "visionos", "uikitformac"),
        ),
        StoreDeclaration(
            store=Store.MAC_APP_STORE,
            slug="apple",
            title="Mac App Store",
            config=apple.Config,
            secrets=apple.Secrets,
            check_secrets=apple_key.check_secrets,
            platforms=("macos",),
        ),
        StoreDeclaration(
            store=Store.PLAY_STORE,
            slug="google",
            title="Google Play",
            config=google.Config,
            secrets=google.Secrets,
            check_secrets=google_key.check_secrets,
            platforms=("android",),
        ),
    )
}
