"""Whether a file is a service account's key at all, told before Google is asked (spec: stores 3.1)."""

from collections.abc import Mapping

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bellwire.stores.base import CredentialError
from bellwire.stores.google.settings import ServiceAccount


def check_secrets(secrets: Mapping[str, str]) -> None:
    """Raises CredentialError when the file that was entered cannot sign; its message never quotes the file."""
    text = secrets.get("service_account_json", "")
    if not text:
        return
    try:
        account = msgspec.json.decode(text, type=ServiceAccount)
    except msgspec.DecodeError:
        raise CredentialError("the service account key is not the JSON key file of a service account") from None
    try:
        key = load_pem_private_key(account.private_key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CredentialError("the `private_key` in the service account's file is not an RSA private key")
