"""Events in the short form that scenarios are written in (see `simulator.scenario`)."""

from typing import Any


def short(event: dict[str, Any]) -> str:
    """The shortest text that tells this event from others of its story."""
    kind = event["type"]
    match kind:
        case "INITIAL_PURCHASE" | "RENEWAL" | "NON_RENEWING_PURCHASE":
            text = f"{kind} {event['period_type']} {number(event['price_in_purchased_currency'])}"
            return f"{text} CONVERSION" if event.get("is_trial_conversion") else text
        case "CANCELLATION":
            price = event["price_in_purchased_currency"]
            text = f"{kind} {event['cancel_reason']}"
            return text if price == 0 else f"{text} {number(price)}"
        case "EXPIRATION":
            return f"{kind} {event['expiration_reason']}"
        case "PRODUCT_CHANGE":
            target = event.get("new_product_id")
            return f"{kind} {event['product_id']}" + ("" if target is None else f" {target}")
        case "REFUND_REVERSED":
            return f"{kind} {number(event['price_in_purchased_currency'])}"
        case "BILLING_ISSUE":
            return kind if event["grace_period_expiration_at_ms"] is None else f"{kind} GRACE"
        case _:
            return str(kind)


def number(value: float | None) -> str:
    """An amount as people write it."""
    return "null" if value is None else f"{value:g}"
