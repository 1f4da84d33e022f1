"""Google's money, exactly: units and nanos to micros, and the shares of an order (spec: stores 3.6)."""

from bellwire.stores.google.wire import Money, Order, OrderLineItem

NANOS_PER_MICRO = 1_000
MICROS = 1_000_000
PPM = 1_000_000
REFUND_STATES = frozenset({"PENDING_REFUND", "PARTIALLY_REFUNDED", "REFUNDED", "CANCELED"})


def round_half_even(numerator: int, denominator: int) -> int:
    """`numerator / denominator` to the nearest integer, ties to even; `denominator` is positive."""
    quotient, remainder = divmod(numerator, denominator)
    if remainder * 2 > denominator or (remainder * 2 == denominator and quotient % 2):
        return quotient + 1
    return quotient


def to_micros(money: Money) -> int:
    """Exact for every amount of whole micros; a finer one (no currency has it) is rounded half to even."""
    return int(money.units) * MICROS + round_half_even(money.nanos, NANOS_PER_MICRO)


def gross_micros(order: Order) -> int | None:
    """What the price tag said: the total, without the tax where tax came on top of it."""
    if order.total is None:
        return None
    total = to_micros(order.total)
    return total if _tax_inclusive(order) else total - _tax_micros(order)


def line_micros(line: OrderLineItem, order: Order) -> int | None:
    """One item's share of the order's gross."""
    if line.total is None:
        return None
    tax = 0 if line.tax is None or _tax_inclusive(order) else to_micros(line.tax)
    return to_micros(line.total) - tax


def tax_ppm(order: Order) -> int | None:
    """Share of the gross that is tax: 0 where the gross is without tax, None where there is no gross."""
    gross = gross_micros(order)
    if not gross:
        return None
    return round_half_even(_tax_micros(order) * PPM, gross) if _tax_inclusive(order) else 0


def commission_ppm(order: Order) -> int | None:
    """Share of the gross that Google kept; None once money went back, since revenue then says nothing about it."""
    gross, tax = gross_micros(order), tax_ppm(order)
    revenue = order.developer_revenue_in_buyer_currency
    if not gross or tax is None or revenue is None or order.state in REFUND_STATES:
        return None
    share = PPM - round_half_even(to_micros(revenue) * PPM, gross) - tax
    return min(max(share, 0), PPM)


def _tax_micros(order: Order) -> int:
    return 0 if order.tax is None else to_micros(order.tax)


def _tax_inclusive(order: Order) -> bool:
    """Whether the price holds the tax. Without `orderDetails` the total is all there is to go by."""
    return order.order_details is None or order.order_details.tax_inclusive
