"""A verified notification as facts (spec: stores 2.2, 2.6). Pure.

Apple's payload is itself a snapshot: the transaction and the renewal info as they were when it was signed. Nearly
every type is therefore decoded alike, and what it means is found by comparing with what is known. The few that say
something of their own are named below.
"""

import msgspec

from bellwire.model.enums import Environment, ProductType
from bellwire.model.facts import Snapshot
from bellwire.model.projects import App
from bellwire.stores.apple.payloads import Data, NotificationPayload, RenewalInfo, Transaction, payload_bytes
from bellwire.stores.apple.settings import Config
from bellwire.stores.apple.snapshots import Shown
from bellwire.stores.apple.transactions import (
    REVOKED,
    Incomplete,
    environment_of,
    one_time_snapshot,
    product_type_of,
    store_key_of,
    subscription_snapshot,
)
from bellwire.stores.apple.verify import peek_notification
from bellwire.stores.base import Notification, Rejected

_SILENT = {
    "CONSUMPTION_REQUEST": "Apple asks about a refund; the hub takes no part in refund decisions",
    "REFUND_DECLINED": "Apple declined a refund: nothing changed",
    "EXTERNAL_PURCHASE_TOKEN": "a token of purchases outside the App Store",
    "RESCIND_CONSENT": "a parent withdrew consent to the app: look at this customer",
}
"""Genuine types that change no purchase."""

_REFRESH = frozenset({"MIGRATION", "MIGRATE", "METADATA_UPDATE", "PRICE_CHANGE"})
"""Types whose content is not a statement about the purchase: the store is asked instead."""

_STATEMENTS = frozenset(
    {
        "SUBSCRIBED",
        "DID_RENEW",
        "DID_FAIL_TO_RENEW",
        "GRACE_PERIOD_EXPIRED",
        "DID_CHANGE_RENEWAL_STATUS",
        "DID_CHANGE_RENEWAL_PREF",
        "OFFER_REDEEMED",
        "EXPIRED",
        "PRICE_INCREASE",
        "REFUND",
        "REFUND_REVERSED",
        "REVOKE",
        "RENEWAL_EXTENDED",
        "RENEWAL_EXTENSION",
        "ONE_TIME_CHARGE",
    }
)
"""Types whose embedded transaction and renewal info are applied as they are."""

_ABOUT_ANY_PERIOD = frozenset({"REFUND", "REFUND_REVERSED", "REVOKE"})
"""Types whose transaction may be an older one than the running period."""


def decode_notification(app: App, config: Config, raw: bytes) -> Notification:
    """Decode bytes that were verified. Raises Rejected when they are no notification at all."""
    _, payload = peek_notification(raw)
    if not payload.notification_uuid or not payload.notification_type:
        raise Rejected("a notification without notificationUUID or notificationType")
    notification = Notification(
        dedup_key=payload.notification_uuid,
        type=payload.notification_type,
        subtype=payload.subtype,
        environment=environment_of(payload.environment),
        occurred_at_ms=payload.signed_date,
    )
    foreign = _foreign(payload.part, config, notification.environment)
    if foreign is not None:
        return msgspec.structs.replace(notification, ignored=foreign)
    if payload.notification_type == "TEST":
        return msgspec.structs.replace(notification, is_test=True)
    try:
        return _with_content(notification, app, payload)
    except (msgspec.DecodeError, Incomplete, ValueError) as error:
        return msgspec.structs.replace(notification, ignored=f"not understood: {error}")


def _foreign(part: Data | None, config: Config, environment: Environment | None) -> str | None:
    """Why this is another app's notification; Apple's ids are compared as its own verifier does."""
    if part is None:
        return None
    if part.bundle_id != config.bundle_id:
        return f"for another app: bundle {part.bundle_id}"
    if environment is Environment.PRODUCTION and part.app_apple_id != config.app_apple_id:
        return f"for another app: Apple ID {part.app_apple_id}"
    return None


def _with_content(notification: Notification, app: App, payload: NotificationPayload) -> Notification:
    if payload.summary is not None:
        counts = f"{payload.summary.succeeded_count or 0} extended, {payload.summary.failed_count or 0} failed"
        return msgspec.structs.replace(notification, ignored=f"summary of a renewal extension: {counts}")
    silent = _SILENT.get(notification.type)
    if silent is not None:
        return msgspec.structs.replace(notification, ignored=silent)
    data = payload.data
    if data is None or data.signed_transaction_info is None:
        return msgspec.structs.replace(notification, ignored="no purchase in it")
    transaction_json = payload_bytes(data.signed_transaction_info)
    transaction = msgspec.json.decode(transaction_json, type=Transaction)
    hints = {
        "environment": notification.environment or Environment.SANDBOX,
        "product_type": product_type_of(transaction),
        "notification_type": notification.type,
        "subtype": notification.subtype or "",
        "transaction_id": transaction.transaction_id or "",
    }
    notification = msgspec.structs.replace(notification, hints={k: str(v) for k, v in hints.items() if v})
    snapshot, complete = None, False
    if _is_statement(notification):
        snapshot, complete = _embedded(app, notification, data, transaction, transaction_json)
    return msgspec.structs.replace(
        notification,
        snapshots=() if snapshot is None else (snapshot,),
        store_keys=() if complete else (store_key_of(transaction),),
    )


def _is_statement(notification: Notification) -> bool:
    if notification.type == "RENEWAL_EXTENSION" and notification.subtype is not None:
        return False  # FAILURE: what did not happen
    return notification.type in _STATEMENTS


def _embedded(
    app: App, notification: Notification, data: Data, transaction: Transaction, transaction_json: bytes
) -> tuple[Snapshot | None, bool]:
    """The snapshot inside the notification, and whether it says enough to leave the store alone."""
    if product_type_of(transaction) is not ProductType.SUBSCRIPTION:
        shown = Shown(transaction=transaction, transaction_json=transaction_json, status=data.status)
        return one_time_snapshot(transaction, store=app.store, raw=shown.raw), True
    if transaction.is_upgraded is True or _of_older_period(data, transaction):
        # Taken for the running period, an older one that was refunded would look like the end of the subscription.
        return None, False
    renewal_json = None if data.signed_renewal_info is None else payload_bytes(data.signed_renewal_info)
    renewal = None if renewal_json is None else msgspec.json.decode(renewal_json, type=RenewalInfo)
    shown = Shown(
        transaction=transaction,
        transaction_json=transaction_json,
        renewal=renewal,
        renewal_json=renewal_json,
        status=data.status,
    )
    snapshot = subscription_snapshot(
        transaction,
        renewal,
        data.status,
        store=app.store,
        complete_history=notification.type not in _ABOUT_ANY_PERIOD
        and transaction.transaction_id == transaction.original_transaction_id,
        raw=shown.raw,
    )
    return snapshot, renewal is not None


def _of_older_period(data: Data, transaction: Transaction) -> bool:
    """Whether a revoked transaction is not the running one: the subscription as a whole then does not count as revoked."""
    return transaction.revocation_date is not None and data.status != REVOKED
