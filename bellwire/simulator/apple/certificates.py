"""A certificate authority that looks like Apple's: root, intermediate and leaf with the marker extensions, P-256.

Keys are drawn from a seed, so that a restarted simulator is still trusted by a hub that kept its root. For tests and
demos only: anybody who knows the seed can sign.
"""

import random
from base64 import b64encode
from datetime import UTC, datetime
from enum import Enum

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_INTERMEDIATE_MARK = x509.ObjectIdentifier("1.2.840.113635.100.6.2.1")
_LEAF_MARK = x509.ObjectIdentifier("1.2.840.113635.100.6.11.1")
_DER_NULL = b"\x05\x00"
_VALID_FROM = datetime(2015, 1, 1, tzinfo=UTC)
_VALID_UNTIL = datetime(2049, 1, 1, tzinfo=UTC)
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Marks(Enum):
    """Which marker extensions a chain carries; anything but BOTH is a forgery for tests."""

    BOTH = "both"
    NO_LEAF = "no leaf mark"
    NO_INTERMEDIATE = "no intermediate mark"


class Authority:
    """One chain and its signing key. `sign` gives what Apple calls a JWS."""

    def __init__(self, *, seed: int = 1, marks: Marks = Marks.BOTH) -> None:
        rng = random.Random(f"apple authority {seed}")
        root_key, intermediate_key, self.leaf_key = (_key(rng) for _ in range(3))
        root_name, intermediate_name = _name("Test Root CA"), _name("Test Worldwide Developer Relations CA")
        self.root = _certificate(rng, root_name, root_key, root_name, root_key, path_length=1)
        self.intermediate = _certificate(
            rng,
            intermediate_name,
            intermediate_key,
            root_name,
            root_key,
            path_length=0,
            mark=None if marks is Marks.NO_INTERMEDIATE else _INTERMEDIATE_MARK,
        )
        self.leaf = _certificate(
            rng,
            _name("Test Receipt Signing"),
            self.leaf_key,
            intermediate_name,
            intermediate_key,
            path_length=None,
            mark=None if marks is Marks.NO_LEAF else _LEAF_MARK,
        )
        self.x5c = [_base64(certificate) for certificate in (self.leaf, self.intermediate, self.root)]

    @property
    def root_base64(self) -> str:
        """DER of the root in base64, as an app's setting takes it."""
        return _base64(self.root)

    def sign(self, payload: dict[str, object]) -> str:
        """`payload` as a compact JWS with ES256 and the chain in its header."""
        return jwt.encode(payload, self.leaf_key, "ES256", headers={"x5c": self.x5c, "typ": None})


def make_api_key(seed: int) -> ec.EllipticCurvePrivateKey:
    """An In-App Purchase key."""
    return _key(random.Random(f"apple api key {seed}"))


def p8(key: ec.EllipticCurvePrivateKey) -> str:
    """The key as App Store Connect hands it out: PKCS #8, PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _key(rng: random.Random) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(rng.randrange(1, _P256_ORDER), ec.SECP256R1())


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Simulated App Store"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        ]
    )


def _certificate(
    rng: random.Random,
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    path_length: int | None,
    mark: x509.ObjectIdentifier | None = None,
) -> x509.Certificate:
    """A certificate that passes OpenSSL's strict mode. `path_length` None = an end-entity certificate."""
    authority = path_length is not None
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(rng.getrandbits(64) | 1)
        .not_valid_before(_VALID_FROM)
        .not_valid_after(_VALID_UNTIL)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=path_length), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not authority,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=authority,
                crl_sign=authority,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if mark is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(mark, _DER_NULL), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _base64(certificate: x509.Certificate) -> str:
    return b64encode(certificate.public_bytes(Encoding.DER)).decode()
