"""Chains and their periods: loaded and saved many at a time."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec.structs import asdict, replace

from bellwire.db.bulk import Bulk, SQLType
from bellwire.db.tables import chain_keys, chains, periods
from bellwire.db.upsert import Row, upsert
from bellwire.engine.access import NEVER_MS, access_until_ms, chain_state
from bellwire.engine.checks import next_check_ms
from bellwire.model.enums import Environment, PeriodType
from bellwire.model.facts import BundleItem
from bellwire.model.purchases import Chain, Period

ChainKey = tuple[str, str, str]
"""(app_id, environment, store_key)."""
AppKey = tuple[str, str]
"""(app_id, store_key): the environment is not known."""

_decode_chain = msgspec.json.Decoder(Chain).decode
_encode = msgspec.json.Encoder().encode
_decode_items = msgspec.json.Decoder(tuple[BundleItem, ...]).decode
_PERIOD_FIELDS = Period.__struct_fields__
_PERIOD_TYPES = {kind.value: kind for kind in PeriodType}
_ChainRow = tuple[Any, ...]
_NONE: Mapping[ChainKey, int] = {}
_CHAIN_COLUMNS = (chains.c.id, chains.c.customer_id, chains.c.store_key, chains.c.flags)
_KEY_TYPES = (sa.Text(), sa.Text(), sa.Text())
_ID_TYPES = (sa.BigInteger(),)

# Joins, not `IN`: over a list of several columns SQLite walks the whole table.
_BY_KEY = Bulk(
    "SELECT c.id, c.customer_id, c.store_key, c.flags FROM {rows} JOIN chains c "
    "ON c.app_id = column1 AND c.environment = column2 AND c.store_key = column3",
    _KEY_TYPES,
)
"""Chains by the key they have."""
_BY_OLDER_KEY = Bulk(
    "SELECT c.id, c.customer_id, c.store_key, c.flags FROM {rows} JOIN chain_keys k "
    "ON k.app_id = column1 AND k.environment = column2 AND k.store_key = column3 JOIN chains c ON c.id = k.chain_id",
    _KEY_TYPES,
)
"""Chains by a key they had."""
_OWNERS = Bulk(
    "WITH wanted AS (SELECT column1, column2, column3 FROM {rows}) SELECT c.customer_id FROM wanted JOIN chains c "
    "ON c.app_id = column1 AND c.environment = column2 AND c.store_key = column3 "
    "UNION SELECT c.customer_id FROM wanted JOIN chain_keys k "
    "ON k.app_id = column1 AND k.environment = column2 AND k.store_key = column3 JOIN chains c ON c.id = k.chain_id",
    _KEY_TYPES,
)
"""Customers who have chains under these keys, present or older."""
_OLDER_KEYS = Bulk(
    "SELECT k.app_id, k.environment, k.store_key, k.chain_id FROM {rows} JOIN chain_keys k ON k.chain_id = column1",
    _ID_TYPES,
)
_OF_CUSTOMERS = Bulk(
    "SELECT c.id, c.customer_id, c.store_key, c.flags FROM {rows} JOIN chains c ON c.customer_id = column1",
    _ID_TYPES,
)
_PERIODS = Bulk(
    f"SELECT p.chain_id, {', '.join(f'p.{name}' for name in _PERIOD_FIELDS)} "  # noqa: S608 - names from the model
    "FROM {rows} JOIN periods p ON p.chain_id = column1 ORDER BY p.chain_id, p.ordinal",
    _ID_TYPES,
)


_CHANGING = (
    "id",
    "original_transaction_id",
    "product_type",
    "product_key",
    "state",
    "expires_at_ms",
    "access_until_ms",
    "flags",
    "as_of_ms",
    "last_pull_at_ms",
    "next_check_at_ms",
    "updated_at_ms",
)
_UPDATE = Bulk(
    f"UPDATE chains SET {', '.join(f'{name} = column{number}' for number, name in enumerate(_CHANGING[1:], 2))} "  # noqa: S608 - names from the schema
    "FROM {rows} WHERE id = column1",
    [kind for name in _CHANGING if isinstance(kind := chains.c[name].type, SQLType)],
)
"""A chain that keeps its key and its customer, which nearly all do: their indexes are left alone."""


def load_chains_by_key(connection: sa.Connection, keys: Collection[ChainKey]) -> list[Chain]:
    """Chains that are or were known under these store keys."""
    wanted = list(keys)
    rows: list[_ChainRow] = [*_BY_KEY.tuples(connection, wanted), *_BY_OLDER_KEY.tuples(connection, wanted)]
    return _with_periods(connection, rows)


def find_owners(connection: sa.Connection, keys: Collection[ChainKey]) -> set[int]:
    """Row ids of the customers who own the chains that are or were known under these store keys."""
    return {row[0] for row in _OWNERS.tuples(connection, list(keys))}


def load_older_keys(connection: sa.Connection, chain_ids: Collection[int]) -> dict[ChainKey, int]:
    """Store keys under which these chains were known before."""
    rows: list[_ChainRow] = list(_OLDER_KEYS.tuples(connection, [(chain_id,) for chain_id in chain_ids]))
    return {(app_id, environment, store_key): chain_id for app_id, environment, store_key, chain_id in rows}


def load_chains_of(connection: sa.Connection, customer_ids: Collection[int]) -> list[Chain]:
    """Every chain of these customers."""
    return _with_periods(connection, _OF_CUSTOMERS.tuples(connection, [(customer_id,) for customer_id in customer_ids]))


def find_chains(connection: sa.Connection, keys: Collection[AppKey]) -> dict[AppKey, Chain]:
    """Chains of apps under these store keys, in whichever environment; a key that a chain has now comes before one that
    another had."""
    wanted = [(app_id, environment.value, store_key) for app_id, store_key in keys for environment in Environment]
    chains_found = {chain.id: chain for chain in load_chains_by_key(connection, wanted)}
    older = load_older_keys(connection, chains_found)
    found = {(app_id, store_key): chains_found[chain_id] for (app_id, _, store_key), chain_id in older.items()}
    return found | {(chain.app_id or "", chain.store_key): chain for chain in chains_found.values()}


def load_due_chains(
    connection: sa.Connection, now_ms: int, limit: int, *, left_to_others: Collection[str] = ()
) -> list[Chain]:
    """Chains whose refresh timer has run out, the most overdue first; without those of some apps."""
    statement = sa.select(*_CHAIN_COLUMNS).where(chains.c.next_check_at_ms <= now_ms)
    if left_to_others:
        statement = statement.where(sa.or_(chains.c.app_id.is_(None), chains.c.app_id.not_in(left_to_others)))
    statement = statement.order_by(chains.c.next_check_at_ms).limit(limit)
    return _with_periods(connection, list(connection.execute(statement)))


def save_chains(
    connection: sa.Connection,
    changed: Sequence[Chain],
    loaded: Mapping[int, Chain],
    *,
    now_ms: int,
    quiet_apps: Collection[str] = (),
    older_keys: Mapping[ChainKey, int] = _NONE,
) -> None:
    """Write chains, those of their periods that differ from what was `loaded`, and `older_keys` that lead to chains now.

    The stores of `quiet_apps` have never notified us: their chains are looked at more often.
    """
    new: list[Row] = []
    moved: list[Row] = []
    stayed: list[tuple[object, ...]] = []
    period_rows: list[Row] = []
    for chain in changed:
        before = loaded.get(chain.id)
        row = _chain_row(chain, now_ms, quiet=chain.app_id in quiet_apps)
        if before is None:
            new.append(row)
        elif (before.store_key, before.customer_id) == (chain.store_key, chain.customer_id):
            stayed.append(tuple([row[name] for name in _CHANGING]))
        else:
            moved.append(row)
        known: dict[str, Period] = {} if before is None else {period.period_key: period for period in before.periods}
        period_rows += [
            asdict(period) | {"chain_id": chain.id, "items": _items_text(period)}
            for period in chain.periods
            if known.get(period.period_key) != period
        ]
    _UPDATE.run(connection, stayed)
    upsert(connection, chains, new + moved)
    upsert(connection, periods, period_rows)
    upsert(
        connection,
        chain_keys,
        [
            {"app_id": app_id, "environment": environment, "store_key": store_key, "chain_id": chain_id}
            for (app_id, environment, store_key), chain_id in older_keys.items()
        ],
    )


def schedule_checks(connection: sa.Connection, app_id: str, at_ms: int) -> int:
    """Make every chain of an app that may still change due by `at_ms`; returns how many were moved forward."""
    statement = (
        sa.update(chains)
        .where(chains.c.app_id == app_id, chains.c.next_check_at_ms > at_ms)
        .values(next_check_at_ms=at_ms)
    )
    return connection.execute(statement).rowcount


def postpone_checks(connection: sa.Connection, at_ms_by_chain: Mapping[int, int]) -> None:
    """Move the refresh timers of chains, whose purchases stay as they are."""
    if at_ms_by_chain:
        connection.execute(
            sa.update(chains)
            .where(chains.c.id == sa.bindparam("chain_id"))
            .values(next_check_at_ms=sa.bindparam("at_ms")),
            [{"chain_id": chain_id, "at_ms": at_ms} for chain_id, at_ms in at_ms_by_chain.items()],
        )


def _with_periods(connection: sa.Connection, rows: Sequence[_ChainRow]) -> list[Chain]:
    by_chain: defaultdict[int, list[Period]] = defaultdict(list)
    for row in _PERIODS.tuples(connection, [(chain_id,) for chain_id in {row[0] for row in rows}]):
        by_chain[row[0]].append(_period(row[1:]))
    return [
        replace(_decode_chain(flags), customer_id=customer_id, store_key=key, periods=tuple(by_chain[chain_id]))
        for chain_id, customer_id, key, flags in {row[0]: row for row in rows}.values()
    ]


def _period(row: tuple[Any, ...]) -> Period:
    """As the database gives it: SQLite knows no booleans, and an enum's member is text to both."""
    fields = dict(zip(_PERIOD_FIELDS, row, strict=True))
    for name in ("price_assumed", "is_trial_conversion", "refund_revokes", "family_revoked", "historical"):
        fields[name] = fields[name] == 1
    fields["period_type"] = _PERIOD_TYPES[fields["period_type"]]
    items = fields["items"]
    fields["items"] = () if items is None else _decode_items(items)
    return Period(**fields)


def _items_text(period: Period) -> str | None:
    """NULL for a single product, which nearly all are."""
    return msgspec.json.encode(period.items).decode() if period.items else None


def _chain_row(chain: Chain, now_ms: int, *, quiet: bool) -> dict[str, object]:
    latest = chain.latest
    until = access_until_ms(chain)
    return {
        "id": chain.id,
        "project_id": chain.project_id,
        "app_id": chain.app_id,
        "store": chain.store,
        "environment": chain.environment,
        "store_key": chain.store_key,
        "original_transaction_id": chain.original_transaction_id,
        "customer_id": chain.customer_id,
        "product_type": chain.product_type,
        "product_key": None if latest is None else latest.product_key,
        "state": chain_state(chain, now_ms),
        "expires_at_ms": None if latest is None else latest.expires_at_ms,
        "access_until_ms": None if until == NEVER_MS else until,
        "flags": _encode(replace(chain, periods=())).decode(),
        "as_of_ms": chain.as_of_ms,
        "last_pull_at_ms": chain.last_pull_at_ms,
        "next_check_at_ms": next_check_ms(chain, now_ms, quiet=quiet),
        "updated_at_ms": now_ms,
    }
