"""A story of one customer that a fake store plays, and the events it must lead to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Fake = TypeVar("Fake")


@dataclass(frozen=True)
class Post:
    """Returned by a step: the customer's SDK now posts the purchase with this store key as a receipt."""

    store_key: str


Step = tuple[int, Callable[[], Post | None]]
"""Move the virtual clock by so many milliseconds, then do this; 0 = at once."""


@dataclass(frozen=True, kw_only=True)
class Scenario(Generic[Fake]):
    """`steps` is called once with the fake and returns the steps, which may share what they learn (ids).

    `expected` lists the events that a webhook without a type filter receives, in order (those that must be asked for
    by name are left out), each in the shortest form that tells it from others:

    - `INITIAL_PURCHASE <period_type> <price>`, also RENEWAL and NON_RENEWING_PURCHASE; ` CONVERSION` is added to a
      renewal with `is_trial_conversion`; the price is that in the purchased currency
    - `CANCELLATION <cancel_reason>`, with the negative price behind it when it is a refund
    - `EXPIRATION <expiration_reason>`
    - `PRODUCT_CHANGE <product_id> <new_product_id>` (the latter left out where the event has none)
    - `REFUND_REVERSED <price>`
    - the type alone for the others; BILLING_ISSUE says ` GRACE` when it has a grace period

    Behind each stand the add-ons of a bundle: ` + <product_id>`.

    `tracked`: the chain is known only through notifications, so the app must track new purchases.
    """

    name: str
    description: str
    steps: Callable[[Fake], Sequence[Step]]
    expected: tuple[str, ...]
    tracked: bool = True
