"""The app receipt of StoreKit 1: PKCS #7 around a set of attributes, signed by Apple (spec: stores 2.8).

Apple's library only fishes a transaction id out of one and says itself that it validates nothing. Transaction ids can
be guessed, so a receipt that was not proven would be no better than a bare id: here its signature, its chain and its
bundle are checked first.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from appstoreserverlibrary.receipt_utility import ReceiptUtility
from appstoreserverlibrary.signed_data_verifier import VerificationException, _ChainVerifier
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

_SEQUENCE, _SET, _INTEGER, _OCTETS, _OID, _CONTEXT_0 = 0x30, 0x31, 0x02, 0x04, 0x06, 0xA0
_OID_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_HASHES: dict[bytes, hashes.HashAlgorithm] = {
    bytes.fromhex("608648016503040201"): hashes.SHA256(),
    bytes.fromhex("2b0e03021a"): hashes.SHA1(),  # noqa: S303 receipts signed before 2023
}
_BUNDLE_ID, _CREATED = 2, 12


class BadReceipt(ValueError):
    """Not a receipt that Apple signed for this app; the message says what is wrong with it."""


def proven_transaction_id(receipt: str, *, bundle_id: str, roots: tuple[bytes, ...]) -> str:
    """A transaction id of a base64 app receipt, after its signature and bundle were checked. Raises BadReceipt."""
    try:
        signed = _parse(b64decode(receipt, validate=True))
        attributes = dict(_attributes(signed.content))
        _check_signature(signed, roots, _created_s(attributes))
    except (ValueError, IndexError, KeyError) as error:
        raise BadReceipt(f"not an app receipt signed by Apple: {error}") from error
    except (InvalidSignature, VerificationException) as error:
        raise BadReceipt("the app receipt is not signed by Apple") from error
    found = _text(attributes.get(_BUNDLE_ID, b"\0\0"))
    if found != bundle_id:
        raise BadReceipt(f"the app receipt is for another app: bundle {found}")
    transaction_id = ReceiptUtility().extract_transaction_id_from_app_receipt(receipt)
    if not transaction_id:
        raise BadReceipt("the app receipt holds no purchase")
    return str(transaction_id)


class _Signed(NamedTuple):
    content: bytes
    certificates: list[bytes]
    serial: int
    digest_oid: bytes
    signature: bytes


def _parse(der: bytes) -> _Signed:
    """ContentInfo > SignedData > (content, certificates, the one signer)."""
    _, outer, _ = _element(der, 0)
    oid, wrapped = _children(outer)
    if oid[1] != _OID_SIGNED_DATA:
        raise BadReceipt("not PKCS #7 signed data")
    signed_data = _children(_children(wrapped[1])[0][1])
    _, _, encapsulated = signed_data[:3]
    content = _children(_children(encapsulated[1])[1][1])[0][1]
    certificates = [item[2] for item in _children(next(body for tag, body, _ in signed_data[3:] if tag == _CONTEXT_0))]
    signer = _children(_children(signed_data[-1][1])[0][1])
    if signer[3][0] == _CONTEXT_0:
        raise BadReceipt("a signer with attributes, which Apple's receipts do not have")
    serial = int.from_bytes(_children(signer[1][1])[1][1], "big")
    return _Signed(content, certificates, serial, _children(signer[2][1])[0][1], signer[4][1])


def _attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, DER value) of each attribute; of repeated types the caller keeps the last."""
    tag, body, _ = _element(content, 0)
    if tag != _SET:
        raise BadReceipt("its content is not a set of attributes")
    for _, attribute, _ in _children(body):
        kind, _, value = _children(attribute)
        yield int.from_bytes(kind[1], "big"), value[1]


def _check_signature(signed: _Signed, roots: tuple[bytes, ...], created_s: int) -> None:
    by_serial = {x509.load_der_x509_certificate(der).serial_number: der for der in signed.certificates}
    leaf_der = by_serial[signed.serial]
    leaf = x509.load_der_x509_certificate(leaf_der)
    issuer_der = next(der for der in signed.certificates if x509.load_der_x509_certificate(der).subject == leaf.issuer)
    # The third place is only counted by Apple's check; trust comes from `roots`.
    chain = [b64encode(der).decode() for der in (leaf_der, issuer_der, roots[0])]
    _ChainVerifier(list(roots)).verify_chain(chain, False, created_s)
    digest = _HASHES[signed.digest_oid]
    key = leaf.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signed.signature, signed.content, padding.PKCS1v15(), digest)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signed.signature, signed.content, ec.ECDSA(digest))
    else:
        raise BadReceipt("signed with an unknown kind of key")


def _created_s(attributes: dict[int, bytes]) -> int:
    """Unix seconds at which the receipt was made: the date for which its chain must be valid."""
    return int(datetime.fromisoformat(_text(attributes[_CREATED]).replace("Z", "+00:00")).timestamp())


def _text(der: bytes) -> str:
    return _element(der, 0)[1].decode()


def _children(body: bytes) -> list[tuple[int, bytes, bytes]]:
    found: list[tuple[int, bytes, bytes]] = []
    offset = 0
    while offset < len(body):
        tag, inner, whole = _element(body, offset)
        found.append((tag, inner, whole))
        offset += len(whole)
    return found


def _element(data: bytes, offset: int) -> tuple[int, bytes, bytes]:
    """(tag, content, whole element) of the DER element at `offset`; definite lengths only."""
    tag, first = data[offset], data[offset + 1]
    start = offset + 2
    length = first
    if first & 0x80:
        count = first & 0x7F
        if not 1 <= count <= 4:
            raise BadReceipt("a length that DER does not have")
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    end = start + length
    if end > len(data):
        raise BadReceipt("cut short")
    return tag, data[start:end], data[offset:end]
