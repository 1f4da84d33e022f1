"""From `X-Platform` to stores and apps (spec: api 1.2, 2.2)."""

from bellwire.db.config import Config
from bellwire.model.enums import Store
from bellwire.model.projects import App
from bellwire.stores.registry import DECLARATIONS
from bellwire.web.auth import Caller
from bellwire.web.errors import Code, WireError

MANAGEMENT_URLS = {
    Store.APP_STORE: "https://apps.apple.com/account/subscriptions",
    Store.MAC_APP_STORE: "https://apps.apple.com/account/subscriptions",
    Store.PLAY_STORE: "https://play.google.com/store/account/subscriptions",
}
"""Where people manage what they bought in a store."""


def store_of_platform(platform: str | None) -> Store | None:
    """The store that serves a platform (lower case); None for one that no connected kind of store serves."""
    for declaration in DECLARATIONS.values():
        if platform in declaration.platforms:
            return declaration.store
    return None


def app_of(caller: Caller, config: Config, platform: str | None, bundle_id: str | None) -> App:
    """The app that a purchase is for: the key's own, else the project's app of the platform's store.

    Of several apps of one store, the one with the SDK's bundle or package id, else the oldest. A Mac without a Mac App
    Store app buys from the App Store. Raises WireError 400 code 7000.
    """
    if caller.app is not None:
        return caller.app
    store = store_of_platform(platform)
    if store is None:
        known = sorted(name for one in DECLARATIONS.values() for name in one.platforms)
        given = "is missing" if platform is None else f"'{platform}' is not known"
        raise WireError(
            400, Code.INVALID_PLATFORM, f"X-Platform {given}; with this key it must be one of: {', '.join(known)}."
        )
    slug = DECLARATIONS[store].slug
    apps = config.apps_of(caller.project.id)
    candidates = [app for app in apps if app.store is store] or [
        app for app in apps if app.store in DECLARATIONS and DECLARATIONS[app.store].slug == slug
    ]
    if not candidates:
        raise WireError(400, Code.INVALID_PLATFORM, f"The project has no app for X-Platform '{platform}'.")
    named = [app for app in candidates if bundle_id is not None and bundle_id in app.config.values()]
    return (named or candidates)[0]
