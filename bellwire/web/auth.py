"""Who calls the v1 wire: API keys (spec: api 0.1)."""

from dataclasses import dataclass

from bellwire.db.config import Config
from bellwire.db.keys import KeyKind, hash_key
from bellwire.model.projects import App, Project
from bellwire.web.errors import Code, WireError


@dataclass(frozen=True)
class Caller:
    """What a key opens: a secret one its whole project, a public one its app.

    A public key without an app is a legacy one: `X-Platform` chooses the app.
    """

    project: Project
    app: App | None
    is_secret: bool
    key_id: str


def authenticate(config: Config, authorization: str | None) -> Caller:
    """Find the caller by `Authorization: Bearer KEY`, or the bare key. Raises WireError 401.

    Keys are looked up by their hash. A table is no constant-time compare, and need not be: what it compares are hashes
    of which nobody can choose more than the guess, and how far two of them agree tells nothing about the key.
    """
    key = _key_of(authorization)
    if not key:
        raise WireError(401, Code.MISSING_KEY, "The Authorization header is missing; send 'Bearer' and an API key.")
    known = config.key(hash_key(key))
    project = None if known is None else config.projects.get(known.project_id)
    if known is None or project is None:
        raise WireError(401, Code.INVALID_KEY, "The API key is not valid, or was revoked.")
    app = None if known.app_id is None else config.apps.get(known.app_id)
    return Caller(project=project, app=app, is_secret=known.kind is KeyKind.SECRET, key_id=known.id)


def require_public(caller: Caller) -> None:
    """Raise WireError 403 for a secret key: what is for SDKs alone must not be reachable with one in an app."""
    if caller.is_secret:
        raise WireError(
            403, Code.SECRET_KEY_IN_APP, "Secret API keys do not belong into apps; use the app's public API key."
        )


def _key_of(authorization: str | None) -> str:
    text = (authorization or "").strip()
    scheme, _, rest = text.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else text
