"""The roots that are shipped are Apple's: their fingerprints are published (spec: stores 2.2)."""

import hashlib

from cryptography import x509

from bellwire.stores.apple.roots import APPLE_ROOT_CA, APPLE_ROOT_CA_G3, receipt_roots, trusted_roots
from tests.stores.apple.connected import make_store

EXTRA = (make_store().authority.root_base64,)


def test_root_g3_is_apples() -> None:
    assert len(APPLE_ROOT_CA_G3) == 583
    digest = hashlib.sha256(APPLE_ROOT_CA_G3).hexdigest()
    assert digest == "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179"
    root = x509.load_der_x509_certificate(APPLE_ROOT_CA_G3)
    assert root.subject.rfc4514_string() == "C=US,O=Apple Inc.,OU=Apple Certification Authority,CN=Apple Root CA - G3"
    assert root.not_valid_after_utc.date().isoformat() == "2039-04-30"
    root.verify_directly_issued_by(root)


def test_older_root_of_app_receipts_is_apples() -> None:
    digest = hashlib.sha256(APPLE_ROOT_CA).hexdigest()
    assert digest == "b0b1730ecbc7ff4505142c49f1295e6eda6bcaed7e2c68c5be91b5a11001f024"
    root = x509.load_der_x509_certificate(APPLE_ROOT_CA)
    assert root.not_valid_after_utc.date().isoformat() == "2035-02-09"


def test_extra_roots_count_only_where_allowed() -> None:
    assert trusted_roots(EXTRA, allow_test_roots=False) == (APPLE_ROOT_CA_G3,)
    assert receipt_roots(EXTRA, allow_test_roots=False) == (APPLE_ROOT_CA,)
    assert len(trusted_roots(EXTRA, allow_test_roots=True)) == 2
    assert len(receipt_roots(EXTRA, allow_test_roots=True)) == 2
