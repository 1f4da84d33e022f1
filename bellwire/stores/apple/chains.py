"""Certificate chains that were found good, remembered for a while: every notification carries the same one."""

import time
from base64 import b64decode
from typing import NamedTuple

from appstoreserverlibrary.signed_data_verifier import VerificationException, VerificationStatus, _ChainVerifier
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

KEEP_S = 3600.0
MAX_CHAINS = 32


class _Good(NamedTuple):
    key: EllipticCurvePublicKey
    checked_at: float
    valid_from_s: int
    valid_until_s: int


class Chains:
    """Apple's chain check (strict X.509, marker extensions), remembering successes for an hour.

    A remembered chain is used only for dates at which all its certificates are valid: the check is made for the
    payload's own date, so a chain good today proves nothing about another day.
    """

    def __init__(self, roots: tuple[bytes, ...]) -> None:
        self.roots = roots
        self._apple = _ChainVerifier(list(roots))
        self._roots_valid = _common_validity([x509.load_der_x509_certificate(root) for root in roots])
        self._good: dict[tuple[str, ...], _Good] = {}

    def public_key(self, certificates: list[str], effective_s: int | None) -> EllipticCurvePublicKey:
        """Key of the leaf of `certificates` (base64 DER: leaf, intermediate, root). Raises VerificationException."""
        date = int(time.time()) if effective_s is None else effective_s
        chain = tuple(certificates)
        known = self._good.get(chain)
        if known is not None and time.monotonic() - known.checked_at < KEEP_S:
            if known.valid_from_s <= date <= known.valid_until_s:
                return known.key
        try:
            key = load_pem_public_key(self._apple.verify_chain(certificates, False, date).encode())
        except (ValueError, OverflowError, OSError) as error:  # a date that is none
            raise VerificationException(VerificationStatus.VERIFICATION_FAILURE) from error
        if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
            raise VerificationException(VerificationStatus.VERIFICATION_FAILURE)
        if len(self._good) >= MAX_CHAINS:
            self._good.clear()
        self._good[chain] = _Good(key, time.monotonic(), *self._validity(certificates))
        return key

    def _validity(self, certificates: list[str]) -> tuple[int, int]:
        """Seconds between which leaf, intermediate and our roots are valid; the root in the token is not used."""
        pair = [x509.load_der_x509_certificate(b64decode(text, validate=True)) for text in certificates[:2]]
        starts, ends = _common_validity(pair)
        return max(starts, self._roots_valid[0]), min(ends, self._roots_valid[1])


def _common_validity(certificates: list[x509.Certificate]) -> tuple[int, int]:
    starts = max(int(certificate.not_valid_before_utc.timestamp()) for certificate in certificates)
    ends = min(int(certificate.not_valid_after_utc.timestamp()) for certificate in certificates)
    return starts, ends
