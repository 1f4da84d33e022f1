"""Whether a file is an In-App Purchase key at all, told before Apple is asked (spec: stores 2.1)."""

from collections.abc import Mapping

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bellwire.stores.base import CredentialError


def check_secrets(secrets: Mapping[str, str]) -> None:
    """Raises CredentialError when the key that was entered cannot sign for Apple; its message never quotes the key."""
    text = secrets.get("iap_key_p8", "")
    if not text:
        return
    try:
        key = load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CredentialError(
            "the In-App Purchase key is not the content of a .p8 file from App Store Connect"
        ) from None
    if not (isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)):
        raise CredentialError("the In-App Purchase key is of another kind: Apple's .p8 files hold a P-256 key")
