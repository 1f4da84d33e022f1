"""Whether a signed payload is Apple's, and never for the environments that Apple's library does not check.

Apple's library skips the signature for the environments Xcode and LocalTesting; a verifier is therefore only ever
built for Production and Sandbox, whatever a payload says of itself (spec: stores 2.2).
"""

import functools

import msgspec
from appstoreserverlibrary.models.Environment import Environment as AppleEnvironment
from appstoreserverlibrary.signed_data_verifier import VerificationException, VerificationStatus

from bellwire.stores.apple.chains import Chains
from bellwire.stores.apple.jws import Verifier
from bellwire.stores.apple.payloads import Envelope, NotificationPayload, Transaction, payload_bytes
from bellwire.stores.apple.settings import Config
from bellwire.stores.base import Rejected, StoreUnavailable

_ENVIRONMENTS = {"Production": AppleEnvironment.PRODUCTION, "Sandbox": AppleEnvironment.SANDBOX}


class Verifiers:
    """One of Apple's verifiers for each app and environment, kept because building one parses certificates."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, int | None, AppleEnvironment, tuple[bytes, ...]], Verifier] = {}
        self._chains: dict[tuple[bytes, ...], Chains] = {}

    def of(self, config: Config, environment: str | None, roots: tuple[bytes, ...]) -> Verifier:
        """The verifier for `environment` ("Production" or "Sandbox"). Raises Rejected for any other."""
        known = _ENVIRONMENTS.get(environment or "")
        if known is None:
            raise Rejected(f"environment {environment!r} is never accepted from a payload")
        if known is AppleEnvironment.PRODUCTION and config.app_apple_id is None:
            raise StoreUnavailable("production payloads need the app's Apple ID: enter it in the app's settings")
        key = (config.bundle_id, config.app_apple_id, known, roots)
        verifier = self._made.get(key)
        if verifier is None:
            chains = self._chains.get(roots)
            if chains is None:
                chains = self._chains[roots] = Chains(roots)
            verifier = self._made[key] = Verifier(chains, known, config.bundle_id, config.app_apple_id)
        return verifier


@functools.lru_cache(maxsize=8)
def peek_notification(raw: bytes) -> tuple[str, NotificationPayload]:
    """The signed payload and what it says, unverified. Raises Rejected when it is not a V2 notification at all.

    Remembers the last few: what is verified is decoded next.
    """
    try:
        signed = msgspec.json.decode(raw, type=Envelope).signed_payload
        return signed, msgspec.json.decode(payload_bytes(signed), type=NotificationPayload)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Rejected(_not_a_notification(raw, error)) from error


def verify_notification(verifiers: Verifiers, config: Config, roots: tuple[bytes, ...], raw: bytes) -> None:
    """Check the notification and the two signed parts inside it.

    Another app's notification that is truly Apple's passes: it is answered 200 and ignored (spec: stores 1.3). Raises
    Rejected for anything that is not Apple's, StoreUnavailable when this could not be found out.
    """
    signed, payload = peek_notification(raw)
    verifier = verifiers.of(config, payload.environment, roots)
    try:
        verifier.check_notification(signed)
    except VerificationException as error:
        if error.status is VerificationStatus.INVALID_APP_IDENTIFIER:
            return  # raised only after the signature was found good
        raise refusal(error, "notification") from error
    if payload.data is None:
        return
    part = "transaction"
    try:
        if payload.data.signed_transaction_info is not None:
            verifier.check_transaction(payload.data.signed_transaction_info)
        part = "renewal info"
        if payload.data.signed_renewal_info is not None:
            verifier.check_renewal_info(payload.data.signed_renewal_info)
    except VerificationException as error:
        raise refusal(error, part) from error


def verify_transaction(verifiers: Verifiers, config: Config, roots: tuple[bytes, ...], signed: str) -> Transaction:
    """A signed transaction from a device or from Apple's API. Raises Rejected or StoreUnavailable."""
    try:
        claimed = msgspec.json.decode(payload_bytes(signed), type=Transaction)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Rejected(f"not a signed transaction: {error}") from error
    try:
        verifiers.of(config, claimed.environment, roots).check_transaction(signed)
    except VerificationException as error:
        raise refusal(error, "transaction") from error
    return claimed


def verify_renewal_info(
    verifiers: Verifiers, config: Config, roots: tuple[bytes, ...], environment: str, signed: str
) -> None:
    """A signed renewal info from Apple's API. Raises Rejected or StoreUnavailable."""
    try:
        verifiers.of(config, environment, roots).check_renewal_info(signed)
    except VerificationException as error:
        raise refusal(error, "renewal info") from error


def refusal(error: VerificationException, part: str) -> Rejected | StoreUnavailable:
    """What a failed verification means for whoever sent the payload."""
    if error.status is VerificationStatus.RETRYABLE_VERIFICATION_FAILURE:
        return StoreUnavailable(f"the signature of the {part} could not be checked: certificate status unknown")
    if error.status is VerificationStatus.INVALID_APP_IDENTIFIER:
        return Rejected(f"the {part} belongs to another app")
    if error.status is VerificationStatus.INVALID_ENVIRONMENT:
        return Rejected(f"the {part} is from another environment")
    return Rejected(f"the {part} is not signed by Apple ({error.status.name.lower()})")


def _not_a_notification(raw: bytes, error: Exception) -> str:
    if b'"notification_type"' in raw and b'"signedPayload"' not in raw:
        return "a version 1 notification, unsigned: choose Version 2 in App Store Connect > App Information"
    return f"not an App Store notification: {error}"
