"""Access tokens of service accounts: the JWT bearer grant, cached until shortly before expiry (spec: stores 3.3).

Times here are real: Google compares them with the wall clock, whatever clock the hub's domain runs on.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import jwt
import msgspec

from bellwire.stores.base import CredentialError, HTTPCaller, StoreUnavailable
from bellwire.stores.google.settings import Access

if TYPE_CHECKING:
    from bellwire.kit.http import Answer

SCOPE = "https://www.googleapis.com/auth/androidpublisher"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME_S = 3600
RENEW_BEFORE_S = 300
"""Renew so early that a token does not run out while requests that carry it are on the wire."""


class _Granted(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float = LIFETIME_S


class _Refused(msgspec.Struct, frozen=True):
    error: str = ""
    error_description: str = ""


class AccessTokens:
    """The bearer tokens of all apps; one grant at a time for each service account."""

    def __init__(self, client: HTTPCaller, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._now_s = wall_clock
        self._tokens: dict[Access, tuple[str, float]] = {}
        self._locks: dict[Access, asyncio.Lock] = {}

    async def get(self, access: Access) -> str:
        """A token that is good for some minutes. Raises CredentialError, StoreUnavailable."""
        async with self._locks.setdefault(access, asyncio.Lock()):
            token, expires_s = self._tokens.get(access, ("", 0.0))
            if expires_s - RENEW_BEFORE_S <= self._now_s():
                granted = await self._grant(access)
                token = granted.access_token
                self._tokens[access] = (token, self._now_s() + granted.expires_in)
            return token

    def forget(self, access: Access, token: str) -> None:
        """The API refused `token`: the next `get` asks for another, unless that has happened already."""
        if self._tokens.get(access, ("", 0.0))[0] == token:
            del self._tokens[access]

    async def _grant(self, access: Access) -> _Granted:
        body = urlencode({"grant_type": GRANT_TYPE, "assertion": self._assertion(access)}).encode()
        answer = await self._client.request(
            "POST",
            access.token_uri,
            headers={"content-type": "application/x-www-form-urlencoded"},
            body=body,
        )
        if answer.status != 200 or answer.error is not None:
            raise _refusal(answer)
        try:
            return msgspec.json.decode(answer.body, type=_Granted)
        except msgspec.DecodeError as error:
            raise StoreUnavailable("Google's token server gave an answer that cannot be read") from error

    def _assertion(self, access: Access) -> str:
        now = int(self._now_s())
        claims: dict[str, object] = {
            "iss": access.account.client_email,
            "scope": SCOPE,
            "aud": access.token_uri,
            "iat": now,
            "exp": now + LIFETIME_S,
        }
        headers = {"kid": access.account.private_key_id} if access.account.private_key_id else None
        try:
            return jwt.encode(claims, access.account.private_key, algorithm="RS256", headers=headers)
        except (ValueError, TypeError, jwt.PyJWTError):
            # The message could quote the key: it stays out.
            raise CredentialError("the private key in the service account key file cannot be used") from None


def _refusal(answer: "Answer") -> CredentialError | StoreUnavailable:
    if answer.status is None or answer.error is not None:
        return StoreUnavailable(f"Google's token server did not answer: {answer.error}: {answer.error_detail}")
    if answer.status not in (400, 401, 403):
        retry_after_ms = None if answer.retry_after_s is None else int(answer.retry_after_s * 1000)
        return StoreUnavailable(f"Google's token server answered {answer.status}", retry_after_ms=retry_after_ms)
    try:
        refused = msgspec.json.decode(answer.body, type=_Refused)
    except msgspec.DecodeError:
        refused = _Refused()
    reason = ": ".join(part for part in (refused.error, refused.error_description) if part) or str(answer.status)
    return CredentialError(f"Google refuses the service account ({reason}): upload a key file that is still valid")
