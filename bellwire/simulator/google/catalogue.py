"""What the fake store sells."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Intro:
    """A paid introductory offer: `count` periods at `price_micros`."""

    price_micros: int
    period: str
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A base plan of a subscription, with at most one trial and one introductory offer. Durations are ISO 8601."""

    product_id: str
    plan_id: str
    price_micros: int
    currency: str = "USD"
    period: str = "P1M"
    trial: str | None = None
    intro: Intro | None = None
    grace_days: int = 7
    hold_days: int = 30
    prepaid: bool = False
    installments: int = 0
    """Payments the customer commits to; 0 = none."""

    @property
    def key(self) -> str:
        return f"{self.product_id}:{self.plan_id}"


@dataclass(frozen=True, kw_only=True)
class OneTimeProduct:
    """A product that is bought, not subscribed to."""

    product_id: str
    price_micros: int
    currency: str = "USD"
    consumable: bool = False

    @property
    def key(self) -> str:
        return self.product_id


Product = Plan | OneTimeProduct

DEFAULT_CATALOGUE: dict[str, Product] = {
    product.key: product
    for product in (
        Plan(
            product_id="pro",
            plan_id="monthly",
            price_micros=9_990_000,
            trial="P7D",
            intro=Intro(price_micros=1_990_000, period="P1M", count=2),
        ),
        Plan(product_id="pro", plan_id="yearly", price_micros=59_990_000, period="P1Y", trial="P7D", grace_days=14),
        Plan(product_id="pro", plan_id="installments", price_micros=7_990_000, installments=12),
        Plan(product_id="basic", plan_id="monthly", price_micros=4_990_000),
        Plan(product_id="extra", plan_id="monthly", price_micros=2_990_000, grace_days=3, hold_days=45),
        Plan(product_id="prepaid", plan_id="month", price_micros=9_990_000, prepaid=True),
        OneTimeProduct(product_id="coins_100", price_micros=1_990_000, consumable=True),
        OneTimeProduct(product_id="lifetime", price_micros=99_990_000),
    )
}
