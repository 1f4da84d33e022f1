"""Authentication of Pub/Sub pushes: an OIDC token signed by Google in the Authorization header (spec: stores 3.2).

Times here are real: the token's life is measured by the wall clock, whatever clock the hub's domain runs on.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate

from bellwire.stores.base import HTTPCaller, Rejected, StoreUnavailable

ISSUERS = ("https://accounts.google.com", "accounts.google.com")
SKEW_S = 60
DEFAULT_MAX_AGE_S = 3600.0
REFETCH_FLOOR_S = 60.0
"""Strangers can name kids at will: an unknown one makes us ask Google at most this often."""

REMEMBERED_S = 300.0
"""So long a key that Google takes back goes on to count at most, for tokens that passed before."""
_REMEMBERED_TOKENS = 10_000

_MAX_AGE = re.compile(r"max-age=(\d+)")


@dataclass(frozen=True)
class _KeySet:
    keys: Mapping[str, RSAPublicKey]
    fetched_s: float
    max_age_s: float


class SigningKeys:
    """Google's public keys by kid, cached as long as Cache-Control allows."""

    def __init__(self, client: HTTPCaller, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._now_s = monotonic
        self._sets: dict[str, _KeySet] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, certs_url: str, kid: str) -> RSAPublicKey | None:
        """The key, or None when Google has none of that name. Raises StoreUnavailable when keys are not loadable."""
        async with self._locks.setdefault(certs_url, asyncio.Lock()):
            known = self._sets.get(certs_url)
            now = self._now_s()
            stale = known is None or now - known.fetched_s >= known.max_age_s
            if stale or (kid not in known.keys and now - known.fetched_s >= REFETCH_FLOOR_S):
                known = self._sets[certs_url] = await self._fetch(certs_url)
            return known.keys.get(kid)

    def good_for_s(self, certs_url: str) -> float:
        """How long the keys that are known may still be used without asking; 0 = not at all."""
        known = self._sets.get(certs_url)
        return 0.0 if known is None else max(0.0, known.fetched_s + known.max_age_s - self._now_s())

    async def _fetch(self, certs_url: str) -> _KeySet:
        answer = await self._client.request("GET", certs_url, timeout_s=10.0)
        if answer.status != 200 or answer.error is not None:
            raise StoreUnavailable(f"Google's public keys are not loadable: {answer.error or answer.status}")
        age = _MAX_AGE.search(answer.headers.get("cache-control", ""))
        try:
            keys = _decode_keys(answer.body)
        except (msgspec.DecodeError, jwt.PyJWTError, ValueError) as error:
            raise StoreUnavailable("Google's public keys cannot be read") from error
        if not keys:
            raise StoreUnavailable("Google's public keys are none")
        return _KeySet(keys, self._now_s(), float(age.group(1)) if age else DEFAULT_MAX_AGE_S)


def _decode_keys(body: bytes) -> dict[str, RSAPublicKey]:
    """Keys of a JWKS, or of the older map of kid to PEM certificate."""
    document = msgspec.json.decode(body, type=dict[str, object])
    if "keys" in document:
        entries = msgspec.convert(document["keys"], list[dict[str, object]])
        usable = [entry for entry in entries if entry.get("kty") == "RSA" and "kid" in entry]
        loaded = [(str(entry["kid"]), jwt.PyJWK(entry, algorithm="RS256").key) for entry in usable]
    else:
        loaded = [(kid, load_pem_x509_certificate(str(pem).encode()).public_key()) for kid, pem in document.items()]
    return {kid: key for kid, key in loaded if isinstance(key, RSAPublicKey)}


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    exp: int | float
    email: str = ""
    email_verified: bool = False


class PushTokens:
    """Checks push tokens; remembers those that passed, since Pub/Sub uses one for up to an hour.

    Only successes are remembered, each for the very key, audience and account it was checked against, until the token
    ends or Google's keys are due to be fetched again, and never longer than REMEMBERED_S.
    """

    def __init__(self, keys: SigningKeys, *, now_s: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._now_s = now_s
        self._passed: dict[tuple[str, str, str, str], float] = {}
        self.checks = 0
        """How often a signature was looked at."""

    async def check(self, certs_url: str, authorization: str | None, *, audience: str, email: str) -> None:
        """Accept the header of a push, or raise Rejected (401) or StoreUnavailable."""
        known = (certs_url, audience, email, authorization or "")
        until_s = self._passed.get(known)
        now_s = self._now_s()
        if until_s is not None and now_s < until_s:
            return
        self.checks += 1
        claims = await check_push_token(self._keys, certs_url, authorization, audience=audience, email=email)
        if len(self._passed) >= _REMEMBERED_TOKENS:
            self._passed.clear()
        self._passed[known] = min(claims.exp, now_s + min(REMEMBERED_S, self._keys.good_for_s(certs_url)))


async def check_push_token(
    keys: SigningKeys, certs_url: str, authorization: str | None, *, audience: str, email: str
) -> _Claims:
    """The claims of a push's header, whoever passes. Raises Rejected (401) or StoreUnavailable."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Rejected("the push carries no bearer token", status=401)
    if not audience or not email:
        raise Rejected("push audience and push service account of this app are not set", status=401)
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, RecursionError) as error:
        raise Rejected(f"the push token cannot be read: {error}", status=401) from error
    kid = header.get("kid")
    if header.get("alg") != "RS256" or not isinstance(kid, str):
        raise Rejected("the push token is not signed with RS256 and a named key", status=401)
    key = await keys.get(certs_url, kid)
    if key is None:
        raise Rejected("the push token is signed with a key that is not Google's", status=401)
    try:
        payload = jwt.decode(
            token,
            key,
            algorithms=["RS256"],
            audience=audience,
            leeway=SKEW_S,
            options={"require": ["iss", "aud", "exp", "iat"], "strict_aud": True},
        )
        claims = msgspec.convert(payload, _Claims)
    except (jwt.PyJWTError, msgspec.ValidationError) as error:
        raise Rejected(f"the push token is not valid: {error}", status=401) from error
    if claims.iss not in ISSUERS:
        raise Rejected("the push token's issuer is not Google", status=401)
    if claims.email != email or not claims.email_verified:
        raise Rejected("the push token belongs to another service account, or its e-mail is not verified", status=401)
    return claims
