"""Chains and periods come back from the database as they were saved."""

import sqlalchemy as sa
from msgspec.structs import replace

from bellwire.db.purchases import load_chains_of, save_chains
from bellwire.db.tables import apps, customers, periods, projects
from bellwire.model.enums import Environment, ItemType, PeriodType, ProductType, Store
from bellwire.model.facts import BundleItem
from bellwire.model.purchases import Chain, Period

SINGLE = Period(
    period_key="GPA.1",
    ordinal=1,
    product_id="pro",
    plan_id="monthly",
    period_type=PeriodType.NORMAL,
    purchased_at_ms=1,
    expires_at_ms=2,
    price_micros=12_980_000,
    currency="USD",
    price_usd_micros=12_980_000,
)
BUNDLE = replace(
    SINGLE,
    period_key="GPA.1..0",
    ordinal=2,
    items=(
        BundleItem(
            type=ItemType.BASE, product_key="pro:monthly", price_micros=9_990_000, currency="USD", expires_at_ms=2
        ),
        BundleItem(type=ItemType.ADDON, product_key="extra:monthly"),
    ),
)
CHAIN = Chain(
    id=1,
    project_id="p",
    app_id="a",
    store=Store.PLAY_STORE,
    environment=Environment.PRODUCTION,
    store_key="token",
    first_store_key="token",
    original_transaction_id="GPA.1",
    customer_id=7,
    product_type=ProductType.SUBSCRIPTION,
    periods=(SINGLE, BUNDLE),
)


def test_the_items_of_a_bundle_come_back_and_a_single_product_stores_none(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        _owner(connection)
        save_chains(connection, [CHAIN], {}, now_ms=5)
        assert list(connection.scalars(sa.select(periods.c["items"].is_(None)).order_by(periods.c.ordinal))) == [
            True,
            False,
        ]
        assert load_chains_of(connection, [7]) == [CHAIN]
        alone = replace(CHAIN, periods=(SINGLE, replace(BUNDLE, items=())))
        save_chains(connection, [alone], {1: CHAIN}, now_ms=6)
        assert load_chains_of(connection, [7]) == [alone]


def _owner(connection: sa.Connection) -> None:
    """Rows that the chain's row refers to."""
    connection.execute(sa.insert(projects).values(id="p", name="P", settings="{}", created_at_ms=0))
    connection.execute(
        sa.insert(apps).values(
            id="a",
            project_id="p",
            store="PLAY_STORE",
            name="A",
            token="t" * 32,
            config="{}",
            sealed_secrets=b"",
            track_new_purchases=False,
            credential_status="unknown",
            created_at_ms=0,
        )
    )
    connection.execute(
        sa.insert(customers).values(
            id=7, project_id="p", original_app_user_id="u", first_seen_ms=0, last_seen_ms=0, next_sequence=1
        )
    )
