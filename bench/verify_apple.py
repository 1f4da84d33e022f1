"""Apple's own verifier alone: how many App Store notifications one core can check, in a bare loop.

`SignedDataVerifier` of app-store-server-library as it is shipped, online checks off, on the same notifications as the
door gets, with the same three signatures each: the notification, the transaction and the renewal inside it.
"""

import base64
import json
import time

from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier

from bench.installation import Stores, stores


def measure(of: Stores, seconds: float) -> float:
    """Notifications a second."""
    app = json.loads((of.folder / "credentials.json").read_text())["apple"]["config"]
    roots = [base64.b64decode(root) for root in app["root_certificates"]]
    verifier = SignedDataVerifier(roots, False, Environment.PRODUCTION, app["bundle_id"], app["app_apple_id"])
    signed = [json.loads(body)["signedPayload"] for body in of.bodies("apple_purchases")]
    started = time.perf_counter()
    verified = 0
    while time.perf_counter() - started < seconds:
        _verify(verifier, signed[verified % len(signed)])
        verified += 1
    return verified / (time.perf_counter() - started)


def _verify(verifier: SignedDataVerifier, signed: str) -> None:
    data = verifier.verify_and_decode_notification(signed).data
    if data is None or data.signedTransactionInfo is None or data.signedRenewalInfo is None:
        raise RuntimeError("a notification without its signed parts")
    verifier.verify_and_decode_signed_transaction(data.signedTransactionInfo)
    verifier.verify_and_decode_renewal_info(data.signedRenewalInfo)


if __name__ == "__main__":
    with stores(300) as of:
        print(f"verify_apple {measure(of, 3):.0f} notifications/s")
