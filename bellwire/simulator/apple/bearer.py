"""Whether a caller of the fake API shows a token that Apple would accept. Real time, as Apple's own clock."""

from typing import TYPE_CHECKING

import jwt

if TYPE_CHECKING:
    from bellwire.simulator.apple.store import FakeAppStore

MAX_LIFE_S = 3600
_REQUIRED = ["iss", "exp", "aud", "bid"]


def refused(store: "FakeAppStore", authorization: str | None) -> str | None:
    """Why the token is no good, for the log; None when it is."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme != "Bearer" or not token:
        return "no bearer token"
    try:
        header = jwt.get_unverified_header(token)
        if header.get("kid") != store.key_id or header.get("typ") != "JWT":
            return "kid or typ"
        claims = jwt.decode(
            token,
            store.api_key.public_key(),
            algorithms=["ES256"],
            audience="appstoreconnect-v1",
            issuer=store.issuer_id,
            options={"require": _REQUIRED},
        )
    except jwt.PyJWTError as error:
        return type(error).__name__
    if claims["bid"] != store.bundle_id:
        return "bid"
    issued = claims.get("iat")
    if issued is not None and claims["exp"] - issued > MAX_LIFE_S:
        return "lives longer than 60 minutes"
    return None
