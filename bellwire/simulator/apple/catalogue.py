"""What the simulated app sells."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """`type` of a transaction, as Apple spells it."""

    SUBSCRIPTION = "Auto-Renewable Subscription"
    NON_CONSUMABLE = "Non-Consumable"
    CONSUMABLE = "Consumable"
    NON_RENEWING = "Non-Renewing Subscription"


class Discount(StrEnum):
    """`offerDiscountType`."""

    FREE_TRIAL = "FREE_TRIAL"
    PAY_AS_YOU_GO = "PAY_AS_YOU_GO"
    PAY_UP_FRONT = "PAY_UP_FRONT"


INTRODUCTORY, PROMOTIONAL, OFFER_CODE, WIN_BACK = 1, 2, 3, 4
"""`offerType`."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Another price for the first `periods` periods. `identifier` is empty for introductory offers."""

    type: int
    discount: Discount
    period: str
    price_micros: int = 0
    periods: int = 1
    identifier: str | None = None


@dataclass(frozen=True, kw_only=True)
class Product:
    """One product of the app. `period` (ISO 8601), `group` and `level` (1 = highest) only for subscriptions."""

    id: str
    kind: Kind
    price_micros: int
    currency: str = "USD"
    period: str = ""
    group: str = ""
    level: int = 0
    trial: Offer | None = None
    intro: Offer | None = None


def free_trial(period: str) -> Offer:
    return Offer(type=INTRODUCTORY, discount=Discount.FREE_TRIAL, period=period)


DEFAULT_PRODUCTS: dict[str, Product] = {
    product.id: product
    for product in (
        Product(
            id="pro_monthly",
            kind=Kind.SUBSCRIPTION,
            price_micros=9_990_000,
            period="P1M",
            group="20900001",
            level=2,
            trial=free_trial("P1W"),
            intro=Offer(
                type=INTRODUCTORY, discount=Discount.PAY_AS_YOU_GO, period="P1M", price_micros=1_990_000, periods=2
            ),
        ),
        Product(
            id="pro_yearly", kind=Kind.SUBSCRIPTION, price_micros=59_990_000, period="P1Y", group="20900001", level=1
        ),
        Product(
            id="basic_monthly", kind=Kind.SUBSCRIPTION, price_micros=4_990_000, period="P1M", group="20900001", level=3
        ),
        Product(id="coins_100", kind=Kind.CONSUMABLE, price_micros=1_990_000),
        Product(id="lifetime", kind=Kind.NON_CONSUMABLE, price_micros=99_990_000),
        Product(id="season_pass", kind=Kind.NON_RENEWING, price_micros=19_990_000),
    )
}
