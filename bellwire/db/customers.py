"""Customers with their ids and attributes: loaded and saved many at a time."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from bellwire.db.bulk import Bulk
from bellwire.db.tables import app_user_ids, attributes, chains, customers, events, integrations, outbox
from bellwire.db.upsert import Row, insert_new, upsert
from bellwire.model.customers import AppUserId, Attribute, Customer

IdKey = tuple[str, str]
"""(project_id, app_user_id)."""

_LOCK = (
    sa.select(customers.c.id)
    .where(customers.c.id == sa.func.any(sa.bindparam("ids", type_=ARRAY(sa.BigInteger))))
    .order_by(customers.c.id)
    .with_for_update()
)
_INTEGRATIONS_OF = (
    sa.select(integrations.c.id)
    .join(customers, customers.c.project_id == integrations.c.project_id)
    .where(customers.c.id == sa.bindparam("survivor"))
)
_HAND_OVER = [
    sa.update(table).where(table.c.customer_id == sa.bindparam("absorbed")).values(customer_id=sa.bindparam("survivor"))
    for table in (chains, events, app_user_ids)
]
# Queues have no index by customer alone: they are looked through lane by lane.
_HAND_OVER.append(
    sa.update(outbox)
    .where(outbox.c.integration_id.in_(_INTEGRATIONS_OF), outbox.c.customer_id == sa.bindparam("absorbed"))
    .values(customer_id=sa.bindparam("survivor"))
)
_FORGET = [
    sa.delete(attributes).where(attributes.c.customer_id == sa.bindparam("absorbed")),
    sa.delete(customers).where(customers.c.id == sa.bindparam("absorbed")),
]


# Joins, not `IN`: over a list of several columns SQLite walks the whole table.
_BY_ID_KEY = Bulk(
    "SELECT i.project_id, i.app_user_id, i.customer_id FROM {rows} JOIN app_user_ids i "
    "ON i.project_id = column1 AND i.app_user_id = column2",
    (sa.Text(), sa.Text()),
)
_CUSTOMERS = Bulk("SELECT c.* FROM {rows} JOIN customers c ON c.id = column1", (sa.BigInteger(),))
_IDS_OF = Bulk(
    "SELECT i.customer_id, i.app_user_id, i.first_seen_ms, i.last_seen_ms FROM {rows} JOIN app_user_ids i ON i.customer_id = column1",
    (sa.BigInteger(),),
)
_ATTRIBUTES_OF = Bulk(
    "SELECT a.customer_id, a.name, a.value, a.updated_at_ms FROM {rows} JOIN attributes a ON a.customer_id = column1",
    (sa.BigInteger(),),
)


def find_customer_ids(connection: sa.Connection, keys: Collection[IdKey]) -> dict[IdKey, int]:
    """Row ids of the customers known by these app user ids."""
    found = _BY_ID_KEY.tuples(connection, list(keys))
    return {(project_id, app_user_id): customer_id for project_id, app_user_id, customer_id in found}


def lock_customers(connection: sa.Connection, customer_ids: Collection[int]) -> None:
    """Keep every other process from these customers until the transaction ends; waits for those that have them.

    All lock in the order of the ids, so that two never wait for each other. Whoever changes a customer, one of its
    purchases or one of its app user ids holds this lock. SQLite has one writer, which holds them all.
    """
    if connection.dialect.name == "sqlite" or not customer_ids:
        return
    connection.execute(_LOCK, {"ids": sorted(customer_ids)}).all()


def load_customers(connection: sa.Connection, customer_ids: Collection[int]) -> list[Customer]:
    """Customers with all ids and attributes, tombstones included."""
    wanted = [(customer_id,) for customer_id in customer_ids]
    ids: defaultdict[int, list[AppUserId]] = defaultdict(list)
    for customer_id, app_user_id, first_seen_ms, last_seen_ms in _IDS_OF.tuples(connection, wanted):
        ids[customer_id].append(
            AppUserId(app_user_id=app_user_id, first_seen_ms=first_seen_ms, last_seen_ms=last_seen_ms)
        )
    named: defaultdict[int, dict[str, Attribute]] = defaultdict(dict)
    for customer_id, name, value, updated_at_ms in _ATTRIBUTES_OF.tuples(connection, wanted):
        named[customer_id][name] = Attribute(value=value, updated_at_ms=updated_at_ms)
    return [
        Customer(
            id=row.id,
            project_id=row.project_id,
            original_app_user_id=row.original_app_user_id,
            ids=_sorted(ids[row.id]),
            first_seen_ms=row.first_seen_ms,
            last_seen_ms=row.last_seen_ms,
            attributes=named[row.id],
            country=row.country,
            platform=row.platform,
            app_version=row.app_version,
            next_sequence=row.next_sequence,
        )
        for row in _CUSTOMERS.fetch(connection, wanted)
    ]


def _sorted(ids: list[AppUserId]) -> tuple[AppUserId, ...]:
    """Oldest first."""
    return tuple(ids) if len(ids) < 2 else tuple(sorted(ids, key=lambda one: (one.first_seen_ms, one.app_user_id)))


def save_customers(connection: sa.Connection, changed: Sequence[Customer], loaded: Mapping[int, Customer]) -> None:
    """Write customers, and those of their ids and attributes that differ from what was `loaded`.

    An app user id that none of the loaded customers has is new. It is inserted, never overwritten: should another
    process have given it to somebody at the same moment, the database refuses, and the units are done again.
    """
    rows: list[Row] = []
    id_rows: list[Row] = []
    new_id_rows: list[Row] = []
    taken = {(customer.project_id, one.app_user_id) for customer in loaded.values() for one in customer.ids}
    attribute_rows: list[Row] = []
    for customer in changed:
        before = loaded.get(customer.id)
        rows.append(
            {
                "id": customer.id,
                "project_id": customer.project_id,
                "original_app_user_id": customer.original_app_user_id,
                "first_seen_ms": customer.first_seen_ms,
                "last_seen_ms": customer.last_seen_ms,
                "country": customer.country,
                "platform": customer.platform,
                "app_version": customer.app_version,
                "next_sequence": customer.next_sequence,
            }
        )
        known_ids: set[AppUserId] = set() if before is None else set(before.ids)
        for one in customer.ids:
            if one in known_ids:
                continue
            is_taken = (customer.project_id, one.app_user_id) in taken
            (id_rows if is_taken else new_id_rows).append(
                {
                    "project_id": customer.project_id,
                    "app_user_id": one.app_user_id,
                    "customer_id": customer.id,
                    "first_seen_ms": one.first_seen_ms,
                    "last_seen_ms": one.last_seen_ms,
                }
            )
        known: dict[str, Attribute] = {} if before is None else before.attributes
        attribute_rows += [
            {
                "customer_id": customer.id,
                "name": name,
                "value": attribute.value,
                "updated_at_ms": attribute.updated_at_ms,
            }
            for name, attribute in customer.attributes.items()
            if known.get(name) != attribute
        ]
    upsert(connection, customers, rows)
    upsert(connection, app_user_ids, id_rows)
    insert_new(connection, app_user_ids, new_id_rows)
    upsert(connection, attributes, attribute_rows)


def absorb_customers(connection: sa.Connection, survivor_by_absorbed: Mapping[int, int]) -> None:
    """After a merge: what still names the absorbed customers names the survivor, and their rows go.

    Ids and chains of the survivor are written by `save_customers` and `save_chains` before this.
    """
    if not survivor_by_absorbed:
        return
    pairs = [{"absorbed": absorbed, "survivor": survivor} for absorbed, survivor in survivor_by_absorbed.items()]
    for statement in _HAND_OVER:
        connection.execute(statement, pairs)
    for statement in _FORGET:
        connection.execute(statement, [{"absorbed": absorbed} for absorbed in survivor_by_absorbed])
