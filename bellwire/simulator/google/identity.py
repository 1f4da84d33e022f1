"""Google's side of trust: who may call the API, and who signs what is pushed. Real time throughout."""

import json
import secrets
import time
from collections.abc import Mapping
from functools import cached_property

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

SCOPE = "https://www.googleapis.com/auth/androidpublisher"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ACCOUNT_EMAIL = "hub@bellwire-demo.iam.gserviceaccount.com"
PUSH_EMAIL = "pusher@bellwire-demo.iam.gserviceaccount.com"
GOOGLE_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
"""Audience that Google's own libraries name whatever the token server's address is."""
ISSUER = "https://accounts.google.com"
TOKEN_LIFE_S = 3600
MAX_ASSERTION_LIFE_S = 3600
SKEW_S = 60


class GrantRefused(Exception):
    """The token server's answer to a grant it does not accept."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


def new_key() -> rsa.RSAPrivateKey:
    """A key as Google uses them."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Identity:
    """The service account's key, the push signer's keys, and the access tokens that are out.

    Keys take a while to make, so they are made when first needed, unless somebody brings them.
    """

    def __init__(
        self, *, account_key: rsa.RSAPrivateKey | None = None, push_key: rsa.RSAPrivateKey | None = None
    ) -> None:
        self._given_account_key = account_key
        self._account_key_id = secrets.token_hex(20)
        self._push_keys: dict[str, rsa.RSAPrivateKey] = {}
        self._signing_kid = ""
        self._access_tokens: dict[str, float] = {}
        if push_key is not None:
            self._sign_with(push_key)

    @cached_property
    def _account_key(self) -> rsa.RSAPrivateKey:
        return self._given_account_key or new_key()

    def service_account_json(self, token_uri: str) -> str:
        """The key file that an operator would download."""
        pem = self._account_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "bellwire-demo",
                "private_key_id": self._account_key_id,
                "private_key": pem,
                "client_email": ACCOUNT_EMAIL,
                "client_id": "100000000000000000001",
                "token_uri": token_uri,
            }
        )

    def grant(self, form: Mapping[str, str], token_uri: str) -> dict[str, object]:
        """An access token for a signed assertion. Raises GrantRefused."""
        if form.get("grant_type") != GRANT_TYPE:
            raise GrantRefused("unsupported_grant_type", "Invalid grant_type")
        try:
            header = jwt.get_unverified_header(form.get("assertion", ""))
            if header.get("kid") not in (None, self._account_key_id):
                raise GrantRefused("invalid_grant", "Invalid JWT: unknown key")
            claims = jwt.decode(
                form.get("assertion", ""),
                self._account_key.public_key(),
                algorithms=["RS256"],
                audience=[token_uri, GOOGLE_TOKEN_URI],
                issuer=ACCOUNT_EMAIL,
                leeway=SKEW_S,
                options={"require": ["iss", "aud", "iat", "exp", "scope"]},
            )
        except jwt.PyJWTError as error:
            raise GrantRefused("invalid_grant", f"Invalid JWT: {error}") from error
        if claims["exp"] - claims["iat"] > MAX_ASSERTION_LIFE_S:
            raise GrantRefused("invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes)")
        if SCOPE not in str(claims["scope"]).split():
            raise GrantRefused("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        token = f"ya29.{secrets.token_urlsafe(48)}"
        self._access_tokens[token] = time.time() + TOKEN_LIFE_S
        return {"access_token": token, "expires_in": TOKEN_LIFE_S - 1, "token_type": "Bearer"}

    def accepts(self, authorization: str) -> bool:
        """Whether an Authorization header carries a token that is out and still good."""
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and self._access_tokens.get(token, 0.0) > time.time()

    def withdraw_tokens(self) -> None:
        """Let every access token end now."""
        self._access_tokens.clear()

    def rotate_push_key(self) -> None:
        """Sign with a new key from now on; the old one stays published."""
        self._sign_with(new_key())

    def _sign_with(self, key: rsa.RSAPrivateKey) -> None:
        self._signing_kid = secrets.token_hex(20)
        self._push_keys[self._signing_kid] = key

    def jwks(self) -> dict[str, object]:
        """The published keys."""
        self._signing_key()
        keys: list[dict[str, object]] = []
        for kid, key in self._push_keys.items():
            numbers = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
            keys.append({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid, "n": numbers["n"], "e": numbers["e"]})
        return {"keys": keys}

    def push_token(self, audience: str, **changes: object) -> str:
        """The OIDC token of a push; `changes` replace claims, for forgeries."""
        now = int(time.time())
        claims: dict[str, object] = {
            "iss": ISSUER,
            "aud": audience,
            "azp": "100000000000000000002",
            "sub": "100000000000000000002",
            "email": PUSH_EMAIL,
            "email_verified": True,
            "iat": now,
            "exp": now + TOKEN_LIFE_S,
        }
        key = self._signing_key()
        return jwt.encode(claims | changes, key, algorithm="RS256", headers={"kid": self._signing_kid})

    def _signing_key(self) -> rsa.RSAPrivateKey:
        if not self._push_keys:
            self.rotate_push_key()
        return self._push_keys[self._signing_kid]
