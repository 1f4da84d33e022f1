"""Apple's payloads as Apple writes them (spec: stores 2.2, 2.3). Everything optional: Apple adds and leaves out.

Dates are integer milliseconds, prices integer thousandths of the currency's unit. Values of closed lists stay plain
strings and numbers, so that one that Apple added yesterday is kept.
"""

import binascii
from base64 import urlsafe_b64decode

import msgspec


class Transaction(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """JWSTransactionDecodedPayload."""

    original_transaction_id: str | None = None
    transaction_id: str | None = None
    bundle_id: str | None = None
    product_id: str | None = None
    purchase_date: int | None = None
    original_purchase_date: int | None = None
    expires_date: int | None = None
    quantity: int | None = None
    type: str | None = None
    app_account_token: str | None = None
    in_app_ownership_type: str | None = None
    signed_date: int | None = None
    revocation_date: int | None = None
    revocation_type: str | None = None
    revocation_percentage: int | None = None
    """Thousandths of a percent: 100000 is everything."""
    is_upgraded: bool | None = None
    offer_type: int | None = None
    offer_identifier: str | None = None
    offer_discount_type: str | None = None
    environment: str | None = None
    storefront: str | None = None
    currency: str | None = None
    price: int | None = None
    billing_plan_type: str | None = None


class Commitment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`commitmentInfo` of the renewal info: twelve months paid monthly."""

    commitment_auto_renew_status: int | None = None


class RenewalInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """JWSRenewalInfoDecodedPayload."""

    original_transaction_id: str | None = None
    product_id: str | None = None
    auto_renew_product_id: str | None = None
    auto_renew_status: int | None = None
    is_in_billing_retry_period: bool | None = None
    expiration_intent: int | None = None
    price_increase_status: int | None = None
    grace_period_expires_date: int | None = None
    signed_date: int | None = None
    environment: str | None = None
    renewal_date: int | None = None
    renewal_price: int | None = None
    currency: str | None = None
    renewal_billing_plan_type: str | None = None
    commitment_info: Commitment | None = None


class Data(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`data`, `summary`, `externalPurchaseToken` and `appData` of a notification, as far as they share fields."""

    environment: str | None = None
    app_apple_id: int | None = None
    bundle_id: str | None = None
    signed_transaction_info: str | None = None
    signed_renewal_info: str | None = None
    status: int | None = None
    external_purchase_id: str | None = None
    succeeded_count: int | None = None
    failed_count: int | None = None


class NotificationPayload(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """ResponseBodyV2DecodedPayload; exactly one of the four parts is there."""

    notification_type: str | None = None
    subtype: str | None = None
    notification_uuid: str | None = msgspec.field(default=None, name="notificationUUID")
    signed_date: int | None = None
    data: Data | None = None
    summary: Data | None = None
    external_purchase_token: Data | None = None
    app_data: Data | None = None

    @property
    def part(self) -> Data | None:
        return self.data or self.summary or self.external_purchase_token or self.app_data

    @property
    def environment(self) -> str | None:
        """Which of Apple's environments this speaks for; external purchase tokens show it in their id."""
        token = self.external_purchase_token
        if self.data is None and self.summary is None and token is not None:
            return "Sandbox" if (token.external_purchase_id or "").startswith("SANDBOX") else "Production"
        return None if self.part is None else self.part.environment


class Envelope(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The body that Apple posts."""

    signed_payload: str


def payload_bytes(jws: str) -> bytes:
    """JSON inside a compact JWS. Proves nothing: for payloads verified before, and to choose a verifier.

    Raises ValueError when `jws` is not three base64url parts.
    """
    parts = jws.split(".")
    if len(parts) != 3:
        raise ValueError("not a compact JWS of three parts")
    try:
        return urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
    except binascii.Error as error:
        raise ValueError("the payload is not base64url") from error
