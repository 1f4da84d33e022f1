"""The mapping table of Google Play (spec: stores 3.5): what the store says -> what the snapshot says.

A case in `tests/golden/google/` holds Google's own JSON, the notification's hints, and what the hub knew before. Of
the snapshot it names the fields that matter; `"unset"` = the store did not say. Times are RFC 3339, also in fields
that end in `_ms`. `known` is short: the running period flat, other fields of the chain below `chain`.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bellwire.model.enums import Environment, PeriodType, ProductType, Store
from bellwire.model.facts import Snapshot
from bellwire.model.purchases import Chain, Period
from bellwire.stores.base import PostedReceipt
from bellwire.stores.google.products import ProductReading, product_snapshot
from bellwire.stores.google.reading import Reading, orders_wanted, wants_linked
from bellwire.stores.google.subscriptions import subscription_snapshot
from bellwire.stores.google.wire import Order, ProductPurchase, SubscriptionPurchase
from tests.support.discovery import check

GOLDEN = Path(__file__).parents[2] / "golden" / "google"
FILES = [(path.stem, json.loads(path.read_text())) for path in sorted(GOLDEN.glob("*.json"))]
CASES = [pytest.param(case, id=f"{stem}-{case['name']}") for stem, file in FILES for case in file["cases"]]


@pytest.mark.parametrize("case", CASES)
def test_row(case: dict[str, Any]) -> None:
    snapshot = _one_time(case) if "product" in case else _subscription(case)
    told = json.loads(msgspec.json.encode(snapshot))
    assert _pick(told, case["expect"]) == _times(case["expect"])
    if "periods" in case:
        assert len(told["periods"]) == len(case["periods"])
        for period, expected in zip(told["periods"], case["periods"], strict=True):
            assert _pick(period, expected) == _times(expected)


@pytest.mark.parametrize("case", CASES)
def test_the_store_could_say_this(case: dict[str, Any]) -> None:
    if "product" in case:
        check("ProductPurchaseV2", case["product"])
    else:
        check("SubscriptionPurchaseV2", case["purchase"])
    for order in case.get("orders", []):
        check("Order", order)


def _subscription(case: dict[str, Any]) -> Snapshot:
    orders = [msgspec.convert(order, Order) for order in case.get("orders", [])]
    reading = Reading(
        token=case.get("token", "token-a"),
        purchase=msgspec.convert(case["purchase"], SubscriptionPurchase),
        as_of_ms=_ms(case["as_of"]),
        orders={order.order_id: order for order in orders},
        linked=msgspec.convert(case["linked"], SubscriptionPurchase) if "linked" in case else None,
        plan_duration=case.get("plan_duration"),
        known=_known(case.get("known"), ProductType.SUBSCRIPTION),
        hints=_hints(case),
        posted=_posted(case),
        report_refunds_without_revoke=case.get("report_refunds_without_revoke", False),
    )
    if "asks_for" in case:
        assert list(orders_wanted(reading)) == case["asks_for"]
    assert wants_linked(reading) is case.get("asks_for_linked", False)
    return subscription_snapshot(reading)


def _one_time(case: dict[str, Any]) -> Snapshot:
    orders = [msgspec.convert(order, Order) for order in case.get("orders", [])]
    return product_snapshot(
        ProductReading(
            token=case.get("token", "token-a"),
            purchase=msgspec.convert(case["product"], ProductPurchase),
            as_of_ms=_ms(case["as_of"]),
            order=orders[0] if orders else None,
            known=_known(case.get("known"), ProductType.ONE_TIME),
            hints=_hints(case),
            posted=_posted(case),
        )
    )


def _hints(case: dict[str, Any]) -> dict[str, str]:
    hints = dict(case.get("hints", {}))
    if "event_time" in hints:
        hints["eventTimeMillis"] = str(_ms(hints.pop("event_time")))
    return hints


def _posted(case: dict[str, Any]) -> PostedReceipt | None:
    return PostedReceipt(fetch_token="token-a", **case["posted"]) if "posted" in case else None


def _known(short: dict[str, Any] | None, product_type: ProductType) -> Chain | None:
    if short is None:
        return None
    product_id, _, plan_id = short["product"].partition(":")
    period = Period(
        period_key=short["order_id"],
        ordinal=1,
        product_id=product_id,
        plan_id=plan_id or None,
        period_type=PeriodType(short.get("period_type", "NORMAL")),
        purchased_at_ms=_ms(short["purchased"]),
        expires_at_ms=_ms(short["expires"]) if "expires" in short else None,
        price_micros=short.get("price_micros", 9_990_000),
        currency="USD",
        price_usd_micros=None,
        refunded_at_ms=_ms(short["refunded"]) if "refunded" in short else None,
    )
    chain = {
        "id": 1,
        "project_id": "proj1",
        "app_id": "app1",
        "store": Store.PLAY_STORE,
        "environment": Environment.PRODUCTION,
        "store_key": "token-a",
        "first_store_key": "token-a",
        "original_transaction_id": short["order_id"].split("..")[0],
        "customer_id": 1,
        "product_type": product_type,
    }
    return msgspec.structs.replace(msgspec.convert(chain | _times(short.get("chain", {})), Chain), periods=(period,))


def _pick(told: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    return {key: told.get(key, "unset") for key in expected}


def _times(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: _time(key, value) for key, value in fields.items()}


def _time(key: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_times(entry) for entry in value]
    return _ms(value) if key.endswith("_ms") and isinstance(value, str) and value != "unset" else value


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)
