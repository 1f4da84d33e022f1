"""Dated exchange rates, as operators imported them; a missing rate gives null prices, never a guess (D8).

Whoever changes them calls `version.bump`: they are part of the configuration that processes keep in memory.
"""

from collections import defaultdict
from datetime import UTC, datetime

import sqlalchemy as sa

from bellwire.db.tables import exchange_rates
from bellwire.engine.money import Rates


def load_rates(connection: sa.Connection) -> Rates:
    """All rates, ascending by day."""
    by_currency: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for row in connection.execute(sa.select(exchange_rates).order_by(exchange_rates.c.date)):
        day = datetime.fromisoformat(row.date).replace(tzinfo=UTC)
        by_currency[row.currency].append((int(day.timestamp()) * 1000, row.usd_micros))
    return Rates(by_currency)
