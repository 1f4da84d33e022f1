"""Who has access until when: derived from a chain, never stored as a fact of its own (spec: stores 11.3, events 11)."""

from bellwire.model.customers import Customer
from bellwire.model.enums import ChainState, Environment, PeriodType
from bellwire.model.projects import Catalogue, ProjectSettings
from bellwire.model.purchases import Chain

NEVER_MS = -1
"""Access that never was: nothing is owned yet."""


def access_until_ms(chain: Chain) -> int | None:
    """The moment access ends or ended; None = never (lifetime), `NEVER_MS` = there was none."""
    latest = chain.latest
    if latest is None or chain.superseded:
        return NEVER_MS
    expires = latest.expires_at_ms
    if latest.refunded_at_ms is not None and latest.refund_revokes:
        return latest.refunded_at_ms if expires is None else min(expires, latest.refunded_at_ms)
    if chain.paused or chain.billing_retry or chain.ended:
        stopped = chain.as_of_ms if chain.ended_at_ms is None else chain.ended_at_ms
        return stopped if expires is None else min(expires, stopped)
    if expires is not None and chain.billing_issue_at_ms is not None and chain.grace_expires_at_ms is not None:
        return max(expires, chain.grace_expires_at_ms)
    return expires


def has_access(chain: Chain, now_ms: int) -> bool:
    """Whether the purchase grants anything at `now_ms`: active iff now < end."""
    until = access_until_ms(chain)
    return until is None or until > now_ms


def chain_state(chain: Chain, now_ms: int) -> ChainState:
    """State of the chain, first match of stores 11.3."""
    latest = chain.latest
    if chain.superseded:
        return ChainState.SUPERSEDED
    if latest is None:
        return ChainState.PENDING
    if latest.refunded_at_ms is not None and latest.refund_revokes:
        return ChainState.EXPIRED if latest.family_revoked else ChainState.REFUNDED
    if chain.paused:
        return ChainState.PAUSED
    access = has_access(chain, now_ms)
    if chain.billing_issue_at_ms is not None:
        if access:
            return ChainState.GRACE
        return ChainState.EXPIRED if chain.ended else ChainState.RETRY
    if not access:
        return ChainState.EXPIRED
    if chain.auto_renew is False:
        return ChainState.CANCELLED
    return ChainState.TRIAL if latest.period_type is PeriodType.TRIAL else ChainState.ACTIVE


def grants_entitlements(chain: Chain, settings: ProjectSettings) -> bool:
    """Whether purchases like this one may grant entitlements at all (spec: events 8.8)."""
    return chain.environment is Environment.PRODUCTION or settings.sandbox_grants_entitlements


def active_entitlements(
    chains: tuple[Chain, ...], catalogue: Catalogue, settings: ProjectSettings, now_ms: int
) -> frozenset[str]:
    """Entitlement identifiers that a customer with these purchases has at `now_ms` (spec: events 11)."""
    active: set[str] = set()
    for chain in chains:
        if chain.latest is not None and grants_entitlements(chain, settings) and has_access(chain, now_ms):
            for product_key in chain.latest.product_keys:
                active.update(catalogue.entitlements_of(product_key))
    return frozenset(active)


def owns_active_subscription(chains: tuple[Chain, ...], now_ms: int) -> bool:
    """Whether any of these is a subscription that runs: trials and cancelled-but-running count (spec: events 8.6)."""
    return any(chain.is_subscription and has_access(chain, now_ms) for chain in chains)


def oldest_purchase_ms(chains: tuple[Chain, ...], customer: Customer) -> int:
    """When the customer was first seen, moved back to the earliest purchase (spec: stores 11.7)."""
    moments = [period.purchased_at_ms for chain in chains for period in chain.periods]
    return min([customer.first_seen_ms, *moments])
