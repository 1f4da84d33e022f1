"""Why renewal is off, and why access ended (spec: events 4.3, stores 11.6)."""

from bellwire.model.enums import CancelReason, ExpirationReason, PriceConsent
from bellwire.model.facts import Snapshot
from bellwire.model.purchases import Chain, Period


def cancel_reason(chain: Chain, snapshot: Snapshot) -> CancelReason:
    """Why renewal was switched off: what the store says, else a pending price increase, else the customer."""
    if isinstance(snapshot.cancel_reason, CancelReason):
        return snapshot.cancel_reason
    if chain.price_consent is PriceConsent.PENDING:
        return CancelReason.PRICE_INCREASE
    return CancelReason.UNSUBSCRIBE


def expiration_reason(chain: Chain, period: Period) -> ExpirationReason:
    """First match of the list below stores 11.6."""
    if chain.paused:
        return ExpirationReason.SUBSCRIPTION_PAUSED
    if period.refunded_at_ms is not None and period.refund_revokes:
        return ExpirationReason.UNKNOWN if period.family_revoked else ExpirationReason.CUSTOMER_SUPPORT
    if chain.billing_issue_at_ms is not None:
        reason = chain.cancel_reason is CancelReason.PRICE_INCREASE
        return ExpirationReason.PRICE_INCREASE if reason else ExpirationReason.BILLING_ERROR
    if chain.cancel_reason is not None:
        return ExpirationReason(chain.cancel_reason)
    if chain.expiration_hint is not None:
        return chain.expiration_hint
    return ExpirationReason.UNSUBSCRIBE
