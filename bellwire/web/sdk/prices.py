"""Prices as clients post them, exactly: numbers or decimal text to micros."""

from decimal import Decimal

from bellwire.kit.bodies import BadBody

_MAX_MICROS = 10**18


def to_micros(price: Decimal | None, *, field: str) -> int | None:
    """Micros of the price, half to even below that. Raises BadBody for what is no price."""
    if price is None:
        return None
    if not price.is_finite() or price < 0:
        raise BadBody(field, "a price is a number that is not negative")
    if price.adjusted() > 12:
        raise BadBody(field, "the price is out of range")
    micros = int((price * 1_000_000).to_integral_value())
    if micros > _MAX_MICROS:
        raise BadBody(field, "the price is out of range")
    return micros


def to_currency(code: str | None, *, field: str) -> str | None:
    """An ISO 4217 code in capitals; None for none. Raises BadBody."""
    if not code:
        return None
    if len(code) != 3 or not code.isascii() or not code.isalpha():
        raise BadBody(field, "a currency is three letters, such as USD")
    return code.upper()
