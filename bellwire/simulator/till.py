"""The two fake stores seen from the shop floor: one way to buy, change one's mind, fail to pay and get money back."""

from enum import StrEnum
from typing import Protocol


class Plan(StrEnum):
    """What the shop sells as a subscription."""

    MONTHLY = "monthly"
    YEARLY = "yearly"
    BASIC = "basic"


class Item(StrEnum):
    """What it sells once."""

    COINS = "coins_100"
    LIFETIME = "lifetime"


class Standing(StrEnum):
    """How a subscription stands, as far as its owner's next idea depends on it."""

    RENEWING = "renewing"
    CANCELLED = "cancelled"
    """Paid, but not going to renew."""
    TROUBLED = "troubled"
    """A payment failed and the store goes on trying."""
    PAUSED = "paused"
    OVER = "over"


Receipt = dict[str, object]


class Till(Protocol):
    """One store. A key names a purchase; a change of plan may give a new one.

    `account` is the buyer's at the store, `country` ISO 3166-1 alpha-3.
    """

    def subscribe(self, plan: Plan, *, trial: bool, account: str, country: str) -> str:
        """Buy a subscription; the trial is left out where the plan has none."""
        ...

    def resubscribe(self, key: str, plan: Plan) -> str:
        """Buy again after the end of `key`."""
        ...

    def buy(self, item: Item, *, account: str, country: str) -> str: ...

    def receipt(self, key: str) -> Receipt:
        """The store's part of what an SDK posts."""
        ...

    def finish(self, key: str) -> None:
        """What an app that finishes purchases itself does afterwards (Google: acknowledge)."""
        ...

    def standing(self, key: str) -> Standing: ...

    def cancel(self, key: str) -> None: ...

    def reenable(self, key: str) -> None: ...

    def fail_next_payment(self, key: str, *, grace: bool) -> None: ...

    def recover(self, key: str) -> None: ...

    def refund(self, key: str) -> None: ...

    def change(self, key: str, plan: Plan) -> str | None:
        """Move to another plan: the key to report, or None where it happens later and there is nothing to report."""
        ...

    def pause(self, key: str) -> bool:
        """Pause after this period; False where the store knows no pauses."""
        ...
