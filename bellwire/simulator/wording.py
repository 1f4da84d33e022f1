"""Events in the short form that scenarios are written in (see `scenario`)."""

from collections.abc import Mapping

PURCHASES = frozenset({"INITIAL_PURCHASE", "RENEWAL", "NON_RENEWING_PURCHASE"})


def short(event: Mapping[str, object]) -> str:
    """The shortest text that tells this event from others of its story."""
    kind = str(event["type"])
    price = event.get("price_in_purchased_currency")
    words = [kind]
    if kind in PURCHASES:
        words += [str(event["period_type"]), number(price)]
        words += ["CONVERSION"] if event.get("is_trial_conversion") else []
    elif kind == "CANCELLATION":
        words.append(str(event["cancel_reason"]))
        words += [] if price == 0 else [number(price)]
    elif kind == "EXPIRATION":
        words.append(str(event["expiration_reason"]))
    elif kind == "PRODUCT_CHANGE":
        words.append(str(event["product_id"]))
        words += [str(event["new_product_id"])] if event.get("new_product_id") is not None else []
    elif kind == "REFUND_REVERSED":
        words.append(number(price))
    elif kind == "BILLING_ISSUE":
        words += ["GRACE"] if event.get("grace_period_expiration_at_ms") is not None else []
    return " ".join([*words, *_add_ons(event)])


def _add_ons(event: Mapping[str, object]) -> list[str]:
    items = event.get("items")
    return [f"+ {item['product_id']}" for item in items if item["type"] == "addon"] if isinstance(items, list) else []


def number(value: object) -> str:
    """An amount as people write it."""
    return f"{value:g}" if isinstance(value, int | float) else "null"
