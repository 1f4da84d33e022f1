"""Apple's verifier with its slow middle replaced: the signature of a JWS is checked in one pass.

Apple's library lets PyJWT take each token apart three times, character by character in Python; a notification carries
three tokens of several kilobytes, so that this is three quarters of the work. Certificate chains and what a payload
must say of bundle, app and environment stay Apple's own code. Measured on one core: 120 notifications a second with the
library alone, 1,200 with this and with chains remembered.
"""

import binascii
from typing import Any, NamedTuple

import msgspec
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier, VerificationException, VerificationStatus
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from bellwire.stores.apple.chains import Chains

_ES256 = ECDSA(SHA256())
_SIGNATURE_BYTES = 64
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


class _Header(msgspec.Struct, frozen=True):
    """Header of a JWS. `crit` and `b64` change how a token is to be read: Apple uses neither, so neither passes."""

    alg: str
    x5c: list[str]
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    b64: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Dates(msgspec.Struct, frozen=True, rename="camel"):
    signed_date: int | None = None
    receipt_creation_date: int | None = None


class _Parts(NamedTuple):
    signed: bytes
    header: bytes
    payload: bytes
    signature: bytes


class Verifier(SignedDataVerifier):
    """Apple's verifier for one app in one environment; only ever Production or Sandbox."""

    def __init__(self, chains: Chains, environment: Environment, bundle_id: str, app_apple_id: int | None) -> None:
        if environment not in (Environment.PRODUCTION, Environment.SANDBOX):
            raise ValueError("nobody signs for this environment")
        super().__init__(list(chains.roots), False, environment, bundle_id, app_apple_id)
        self._chains = chains

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    def _decode_signed_object(self, signed_obj: str) -> dict[str, Any]:
        """The payload of a JWS that Apple signed. Raises VerificationException."""
        try:
            parts = _split(signed_obj)
            header = msgspec.json.decode(parts.header, type=_Header)
            dates = msgspec.json.decode(parts.payload, type=_Dates)
            payload = msgspec.json.decode(parts.payload, type=dict[str, Any])
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise VerificationException(VerificationStatus.VERIFICATION_FAILURE) from error
        plain = header.crit is msgspec.UNSET and header.b64 is msgspec.UNSET
        if header.alg != "ES256" or not plain or len(parts.signature) != _SIGNATURE_BYTES:
            raise VerificationException(VerificationStatus.VERIFICATION_FAILURE)
        key = self._chains.public_key(header.x5c, _effective_s(dates))
        half = _SIGNATURE_BYTES // 2
        r, s = (int.from_bytes(part, "big") for part in (parts.signature[:half], parts.signature[half:]))
        try:
            key.verify(encode_dss_signature(r, s), parts.signed, _ES256)
        except InvalidSignature as error:
            raise VerificationException(VerificationStatus.VERIFICATION_FAILURE) from error
        return payload


def _effective_s(dates: _Dates) -> int | None:
    """Unix seconds for which the chain must be valid: those of the payload; None = now."""
    date = dates.signed_date if dates.signed_date is not None else dates.receipt_creation_date
    return None if date is None else date // 1000


def _split(token: str) -> _Parts:
    signed, _, signature = token.encode("ascii").rpartition(b".")
    header, dot, payload = signed.partition(b".")
    if not dot or b"." in payload:
        raise ValueError("not three parts")
    return _Parts(signed, _strict(header), _strict(payload), _strict(signature))


def _strict(part: bytes) -> bytes:
    """Base64url without padding, and only the one spelling that it has."""
    if b"+" in part or b"/" in part or b"=" in part:
        raise ValueError("not base64url")
    padded = part.translate(_TO_STANDARD) + b"=" * (-len(part) % 4)
    decoded = binascii.a2b_base64(padded, strict_mode=True)
    if binascii.b2a_base64(decoded, newline=False) != padded:
        raise ValueError("more than one spelling")
    return decoded
