"""What an SDK or server posts as proof of a purchase (spec: stores 2.8): told apart, and proven as far as it goes.

The proof only leads to a transaction id; what is believed about the purchase comes from Apple's API afterwards.
"""

import json
from base64 import b64decode
from collections.abc import Callable

import msgspec

from bellwire.stores.apple.app_receipt import BadReceipt, proven_transaction_id
from bellwire.stores.apple.payloads import Transaction, payload_bytes
from bellwire.stores.base import PostedReceipt, PurchaseNotFound, Rejected

_XCODE = (
    "this receipt was made by Xcode's StoreKit testing, which nobody can check: test with a sandbox account, or with a "
    "test store key"
)


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction of the customer. `environment` None = not known, `transaction` None = not signed by itself."""

    transaction_id: str
    environment: str | None = None
    transaction: Transaction | None = None
    signed: str | None = None


def prove(
    posted: PostedReceipt, *, verify: Callable[[str], Transaction], bundle_id: str, roots: tuple[bytes, ...]
) -> Proof:
    """The purchase that a token proves. Raises PurchaseNotFound with a message for the developer, or StoreUnavailable.

    `verify` checks a signed transaction; `roots` are those of app receipts.
    """
    token = posted.fetch_token.strip()
    if token.count(".") == 2:
        return _signed_transaction(token, verify)
    if token.isdecimal():
        if posted.public_key:
            raise PurchaseNotFound("a bare transaction id proves nothing: post the signed transaction (JWS)")
        return Proof(transaction_id=token)
    if _is_json(token):
        raise PurchaseNotFound(_XCODE)
    try:
        return Proof(transaction_id=proven_transaction_id("".join(token.split()), bundle_id=bundle_id, roots=roots))
    except BadReceipt as error:
        raise PurchaseNotFound(str(error)) from error


def _signed_transaction(token: str, verify: Callable[[str], Transaction]) -> Proof:
    if _claimed_environment(token) in ("Xcode", "LocalTesting"):
        raise PurchaseNotFound(_XCODE)
    try:
        transaction = verify(token)
    except Rejected as error:
        raise PurchaseNotFound(error.reason) from error
    if transaction.transaction_id is None:
        raise PurchaseNotFound("a signed transaction without transactionId")
    return Proof(
        transaction_id=transaction.transaction_id,
        environment=transaction.environment,
        transaction=transaction,
        signed=token,
    )


def _claimed_environment(token: str) -> str | None:
    try:
        return msgspec.json.decode(payload_bytes(token), type=Transaction).environment
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _is_json(token: str) -> bool:
    """Whether a base64 token is JSON inside, as Xcode's local receipts are."""
    try:
        return isinstance(json.loads(b64decode(token, validate=True)), dict)
    except (ValueError, RecursionError):
        return False
