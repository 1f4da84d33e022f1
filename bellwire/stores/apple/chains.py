"""Certificate chains that were found good, remembered for a while: every notification carries the same one."""

import time
from base64 import b64decode

from appstoreserverlibrary.signed_data_verifier import _ChainVerifier
from cryptography import x509

KEEP_S = 3600.0
MAX_CHAINS = 32


class CachingChainVerifier(_ChainVerifier):
    """Apple's chain check, remembering successes for an hour.

    A remembered chain is used only for signing dates at which all its certificates are valid: the check is made for
    the payload's own date, so a chain good today proves nothing about another day.
    """

    def __init__(self, roots: list[bytes]) -> None:
        super().__init__(roots)
        self._roots_valid = _common_validity([x509.load_der_x509_certificate(root) for root in roots])
        self._good: dict[tuple[str, ...], tuple[str, float, int, int]] = {}

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    def _verify_chain_without_caching(
        self, certificates: list[str], perform_online_checks: bool, effective_date: int
    ) -> str:
        key = tuple(certificates)
        known = self._good.get(key)
        if known is not None:
            public_key, checked_at, valid_from, valid_until = known
            if time.monotonic() - checked_at < KEEP_S and valid_from <= effective_date <= valid_until:
                return public_key
        public_key = super()._verify_chain_without_caching(certificates, perform_online_checks, effective_date)
        valid_from, valid_until = self._validity(certificates)
        if len(self._good) >= MAX_CHAINS:
            self._good.clear()
        self._good[key] = (public_key, time.monotonic(), valid_from, valid_until)
        return public_key

    def _validity(self, certificates: list[str]) -> tuple[int, int]:
        """Seconds between which leaf, intermediate and our roots are valid; the root in the token is not used."""
        pair = [x509.load_der_x509_certificate(b64decode(text, validate=True)) for text in certificates[:2]]
        starts, ends = _common_validity(pair)
        return max(starts, self._roots_valid[0]), min(ends, self._roots_valid[1])


def _common_validity(certificates: list[x509.Certificate]) -> tuple[int, int]:
    starts = max(int(certificate.not_valid_before_utc.timestamp()) for certificate in certificates)
    ends = min(int(certificate.not_valid_after_utc.timestamp()) for certificate in certificates)
    return starts, ends
