"""Subscriptions with add-ons: one purchase, one charge, several products (spec: stores 3.4 'Multi-item').

An add-on is sold to a running subscription under a new purchase token that is linked to the old one, which is a
replacement like any other. It leaves at the end of the period; until then Google lists it with `deferredItemRemoval`
and it is owned, so that nothing has changed yet. Where stores 3.5 wants a PRODUCT_CHANGE for that, events 6.6 does not:
the next RENEWAL comes without the item.
"""

from msgspec.structs import replace

from bellwire.model.enums import ItemType, PeriodType
from bellwire.model.facts import BundleItem, PeriodFact, product_key
from bellwire.model.purchases import Period
from bellwire.stores.google.items import item_period_type, key_of, list_price, owned_items
from bellwire.stores.google.money import line_micros
from bellwire.stores.google.wire import LineItem, Order, OrderLineItem, SubscriptionPurchase

KEPT = "KEEP_EXISTING"


def with_items(
    fact: PeriodFact, items: list[LineItem], base: LineItem, order: Order | None, stored: Period | None
) -> PeriodFact:
    """`fact` with all of `items`, the base product first; as it is where there is only one.

    Without an order the prices are those known before, else the list prices, if these make up what the period cost.
    """
    if len(items) < 2:
        return fact
    ordered = [base, *(item for item in items if item is not base)]
    keys = [key_of(item) for item in ordered]
    if order is not None and order.total is not None:
        return replace(fact, items=_bundle(fact, keys, _charged(order)))
    known: dict[str, int | None] = (
        {} if stored is None else {item.product_key: item.price_micros for item in stored.items}
    )
    prices = known or {key: _listed(item) for key, item in zip(keys, ordered, strict=True)}
    told = sum(prices.get(key) or 0 for key in keys) == fact.price_micros
    return replace(fact, items=_bundle(fact, keys, prices if told else dict.fromkeys(keys)))


def with_ordered_items(fact: PeriodFact, order: Order) -> PeriodFact:
    """`fact` with the items that a past order charged for; the one it names itself is the base product."""
    prices = _charged(order)
    base = product_key(fact.product_id, fact.plan_id)
    keys = [base, *(key for key in prices if key != base)]
    return replace(fact, items=_bundle(fact, keys, prices)) if len(keys) > 1 else fact


def first_charge(items: list[LineItem]) -> tuple[int, str | None]:
    """What a bundle costs at list price while its base product is tried: what is not tried is paid for."""
    paid = [item for item in items if item_period_type(item) is not PeriodType.TRIAL]
    listed = list_price(paid) if paid else None
    shown = list_price(items)
    return (0 if listed is None else listed[0]), (None if shown is None else shown[1])


def only_leaves_out(purchase: SubscriptionPurchase) -> bool:
    """Whether this purchase took over from another one just to have fewer items later: nothing is new, nothing charged."""
    owned = owned_items(purchase)
    leaving = [item for item in owned if item.deferred_item_removal is not None]
    staying = [item for item in owned if item.deferred_item_removal is None]
    kept = all(i.item_replacement is not None and i.item_replacement.replacement_mode == KEPT for i in staying)
    return bool(leaving) and kept


def _bundle(fact: PeriodFact, keys: list[str], prices: dict[str, int | None]) -> tuple[BundleItem, ...]:
    """The first of `keys` is the base product. An item that is not in `prices` cost nothing this time."""
    return tuple(
        BundleItem(
            type=ItemType.ADDON if index else ItemType.BASE,
            product_key=key,
            price_micros=prices.get(key, 0),
            currency=fact.currency,
            expires_at_ms=fact.expires_at_ms,
        )
        for index, key in enumerate(keys)
    )


def _charged(order: Order) -> dict[str, int | None]:
    return {
        _key_of(line): line_micros(line, order) for line in order.line_items if line.subscription_details is not None
    }


def _key_of(line: OrderLineItem) -> str:
    details = line.subscription_details
    return product_key(line.product_id, None if details is None else details.base_plan_id)


def _listed(item: LineItem) -> int | None:
    if item_period_type(item) is PeriodType.TRIAL:
        return 0
    listed = list_price([item])
    return None if listed is None else listed[0]
