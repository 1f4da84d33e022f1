"""Play purchases that are more than one product at one moment: add-ons, and payments that come later."""

from pathlib import Path

import pytest

from bellwire.db.tables import notices
from tests.support.world import DAY_MS, World, live

pytestmark = pytest.mark.usefixtures("database")


def test_a_pending_purchase_that_completes_is_named_after_its_order(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        token = it.google.purchase("pro:monthly", pending=True)
        await it.settle()
        assert it.received == []
        await it.advance(2 * DAY_MS)
        it.google.complete_pending(token)
        await it.settle()
        order_id = it.google.subscription(token).orders[0]
        (event,) = it.received
        assert event["transaction_id"] == event["original_transaction_id"] == order_id
        assert [row["original_transaction_id"] for row in it.chains()] == [order_id]
        await it.advance(32 * DAY_MS)
        assert [event["original_transaction_id"] for event in it.received] == [order_id, order_id]

    live(tmp_path, scene)


def test_an_add_on_is_told_sold_and_listed_until_the_renewal_without_it(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        token = it.google.purchase("pro:monthly", add_ons=("extra:monthly",))
        await it.post(it.google, token)
        await it.settle()
        (event,) = it.received
        assert event["product_id"] == "pro:monthly"
        assert event["price"] == 12.98
        assert [(item["type"], item["product_id"], item["price"]) for item in event["items"]] == [
            ("base", "pro:monthly", 9.99),
            ("addon", "extra:monthly", 2.99),
        ]
        subscriptions = (await it.subscriber())["subscriptions"]
        assert set(subscriptions) == {"pro", "extra"}
        assert subscriptions["extra"]["price"] == {"amount": 2.99, "currency": "USD"}
        unknown = [row["subject"] for row in it.rows(notices, notices.c.subject) if row["kind"] == "unknown_product"]
        assert "extra:monthly" in unknown
        await it.advance(5 * DAY_MS)
        it.google.remove_add_on(token, "extra:monthly")
        await it.advance(27 * DAY_MS)
        assert it.told() == ["INITIAL_PURCHASE NORMAL 12.98 + extra:monthly", "RENEWAL NORMAL 9.99"]
        assert "items" not in it.received[1]
        subscriptions = (await it.subscriber())["subscriptions"]
        assert subscriptions["extra"]["expires_date"] == subscriptions["pro"]["purchase_date"]

    live(tmp_path, scene)
