"""App receipts of StoreKit 1: a set of attributes in PKCS #7, as old clients post them."""

from base64 import b64encode
from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder

from bellwire.simulator.apple.certificates import Authority
from bellwire.simulator.apple.records import PRODUCTION, Account, Transaction

_INTEGER, _OCTETS, _UTF8, _IA5, _SEQUENCE, _SET = 0x02, 0x04, 0x0C, 0x16, 0x30, 0x31


def app_receipt(authority: Authority, account: Account, *, bundle_id: str, now_ms: int) -> str:
    """The receipt of an account, in base64."""
    kind = "Production" if account.environment == PRODUCTION else "ProductionSandbox"
    attributes = [
        _attribute(0, _element(_UTF8, kind.encode())),
        _attribute(2, _element(_UTF8, bundle_id.encode())),
        _attribute(3, _element(_UTF8, b"1")),
        _attribute(12, _element(_IA5, _date(now_ms))),
        *(_attribute(17, _purchase(item)) for item in account.transactions()),
    ]
    return sign_receipt(authority, _element(_SET, b"".join(attributes)))


def sign_receipt(authority: Authority, content: bytes) -> str:
    """Any content with the signature of `authority` around it."""
    builder = (
        PKCS7SignatureBuilder()
        .set_data(content)
        .add_signer(authority.leaf, authority.leaf_key, hashes.SHA256())
        .add_certificate(authority.intermediate)
    )
    return b64encode(builder.sign(Encoding.DER, [PKCS7Options.Binary, PKCS7Options.NoAttributes])).decode()


def _purchase(item: Transaction) -> bytes:
    attributes = [
        _attribute(1701, _integer(item.quantity)),
        _attribute(1702, _element(_UTF8, item.product.id.encode())),
        _attribute(1703, _element(_UTF8, item.id.encode())),
        _attribute(1705, _element(_UTF8, item.original_id.encode())),
        _attribute(1704, _element(_IA5, _date(item.purchased_ms))),
    ]
    return _element(_SET, b"".join(attributes))


def _attribute(kind: int, value: bytes) -> bytes:
    return _element(_SEQUENCE, _integer(kind) + _integer(1) + _element(_OCTETS, value))


def _integer(value: int) -> bytes:
    return _element(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _element(tag: int, body: bytes) -> bytes:
    length = len(body)
    if length < 0x80:
        return bytes([tag, length]) + body
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + body


def _date(at_ms: int) -> bytes:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
