"""Whose purchase it is when somebody else posts it (spec: events 8.5, api 3.3)."""

from collections.abc import Sequence
from enum import StrEnum

from bellwire.engine.access import owns_active_subscription
from bellwire.model.customers import Customer, is_anonymous
from bellwire.model.enums import RestoreBehavior
from bellwire.model.purchases import Chain


class Ownership(StrEnum):
    """What to do with purchases that are posted by a customer who does not own them."""

    KEEP = "keep"
    """Nothing: the poster owns them already."""
    MERGE = "merge"
    """Owner and poster become one customer; no event."""
    TRANSFER = "transfer"
    """The purchases move; TRANSFER."""
    REFUSE = "refuse"
    """Receipt already in use (code 7102)."""


def decide(
    owner: Customer,
    poster: Customer,
    chains: Sequence[Chain],
    *,
    behavior: RestoreBehavior,
    is_restore: bool,
    now_ms: int,
) -> Ownership:
    """`chains` are the owner's purchases in the posted receipt."""
    if owner.id == poster.id:
        return Ownership.KEEP
    if all(is_anonymous(known.app_user_id) for known in owner.ids):
        return Ownership.MERGE
    match behavior:
        case RestoreBehavior.TRANSFER:
            return Ownership.TRANSFER
        case RestoreBehavior.TRANSFER_IF_NO_ACTIVE:
            return Ownership.REFUSE if owns_active_subscription(tuple(chains), now_ms) else Ownership.TRANSFER
        case RestoreBehavior.KEEP:
            return Ownership.REFUSE
        case RestoreBehavior.SHARE:
            return Ownership.MERGE if is_restore else Ownership.REFUSE
