"""The mapping of spec stores 2.6 as a table: a notification's content, and what must be decoded from it.

A case gives only what differs from a running subscription in its second month (`TRANSACTION`, `RENEWAL`); null leaves
a field out. "@30" is day 30 in milliseconds. `expect` names what must hold: `snapshot` and `period` field by field,
`unset` the fields that must not be stated, `snapshots` their number, `ignored` words of the reason.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from bellwire.model.enums import Store
from bellwire.model.projects import App
from bellwire.stores.apple.decode import decode_notification
from bellwire.stores.apple.settings import Config

DAY_MS = 86_400_000
START_MS = 1_767_225_600_000
GOLDEN = Path(__file__).parents[2] / "golden" / "apple"
APP = App(id="app1", project_id="proj1", store=Store.APP_STORE, name="App", token="t")
CONFIG = Config(bundle_id="com.example.app", app_apple_id=1234567890)

TRANSACTION: dict[str, object] = {
    "transactionId": "2000",
    "originalTransactionId": "1000",
    "bundleId": "com.example.app",
    "productId": "pro_monthly",
    "subscriptionGroupIdentifier": "20900001",
    "purchaseDate": "@30",
    "originalPurchaseDate": "@0",
    "expiresDate": "@60",
    "quantity": 1,
    "type": "Auto-Renewable Subscription",
    "inAppOwnershipType": "PURCHASED",
    "signedDate": "@31",
    "environment": "Production",
    "storefront": "USA",
    "price": 9990,
    "currency": "USD",
}
RENEWAL: dict[str, object] = {
    "originalTransactionId": "1000",
    "productId": "pro_monthly",
    "autoRenewProductId": "pro_monthly",
    "autoRenewStatus": 1,
    "isInBillingRetryPeriod": False,
    "signedDate": "@31",
    "environment": "Production",
    "renewalDate": "@60",
    "renewalPrice": 9990,
    "currency": "USD",
}

ENVIRONMENT = {"environment": "Production"}


def cases() -> Iterator[Any]:
    for path in sorted(GOLDEN.glob("*.json")):
        for case in json.loads(path.read_text()):
            yield pytest.param(case, id=f"{path.stem}: {case['name']}")


@pytest.mark.parametrize("case", list(cases()))
def test_notification_means_what_the_table_says(case: dict[str, Any]) -> None:
    found = decode_notification(APP, CONFIG, body_of(case))
    expected = timed(case["expect"])

    assert (found.type, found.subtype) == (case["type"], case.get("subtype"))
    assert found.dedup_key == "002e14d5-51f5-4503-b5a8-c3a1af68eb20"
    assert found.occurred_at_ms == START_MS + 31 * DAY_MS
    assert found.is_test is expected.get("is_test", False)
    if "ignored" in expected:
        assert expected["ignored"] in (found.ignored or "")
    else:
        assert found.ignored is None
    for name in ("store_keys", "environment"):
        if name in expected:
            value = getattr(found, name)
            assert (list(value) if name == "store_keys" else value) == expected[name]
    assert len(found.snapshots) == expected.get("snapshots", len(found.snapshots))
    if not {"snapshot", "period", "unset", "raw_holds"} & expected.keys():
        return
    (snapshot,) = found.snapshots
    shown = msgspec.to_builtins(snapshot)
    assert {name: shown.get(name) for name in expected.get("snapshot", {})} == expected.get("snapshot", {})
    for name in expected.get("unset", ()):
        assert getattr(snapshot, name) is UNSET, name
    (period,) = shown["periods"]
    assert {name: period.get(name) for name in expected.get("period", {})} == expected.get("period", {})
    assert expected.get("raw_holds", "") in snapshot.raw


def test_every_type_and_subtype_of_the_library_has_a_case() -> None:
    from appstoreserverlibrary.models.NotificationTypeV2 import NotificationTypeV2
    from appstoreserverlibrary.models.Subtype import Subtype

    table = [case.values[0] for case in cases()]
    types = {case["type"] for case in table}
    subtypes = {case.get("subtype") for case in table}
    assert {item.value for item in NotificationTypeV2} <= types
    assert {item.value for item in Subtype} - subtypes == set()


def body_of(case: dict[str, Any]) -> bytes:
    """The posted body; nobody verifies a signature here."""
    payload: dict[str, Any] = {
        "notificationType": case["type"],
        "subtype": case.get("subtype"),
        "notificationUUID": "002e14d5-51f5-4503-b5a8-c3a1af68eb20",
        "version": "2.0",
        "signedDate": "@31",
    }
    identity = {"bundleId": "com.example.app", "appAppleId": 1234567890}
    if "part" in case:
        ((name, part),) = case["part"].items()
        payload[name] = {**identity, **({} if name == "externalPurchaseToken" else ENVIRONMENT), **part}
    else:
        transaction = {**TRANSACTION, **case.get("transaction", {})}
        data = {**identity, "environment": transaction["environment"], "status": case["status"]}
        data["signedTransactionInfo"] = jws(transaction)
        if case.get("renewal", {}) is not None:
            signed = transaction["signedDate"]
            data["signedRenewalInfo"] = jws({**RENEWAL, "signedDate": signed, **case.get("renewal", {})})
        payload["data"] = data
    return json.dumps({"signedPayload": jws(payload)}).encode()


def jws(payload: dict[str, Any]) -> str:
    body = json.dumps(present(timed(payload)), separators=(",", ":")).encode()
    return f"e30.{base64.urlsafe_b64encode(body).decode().rstrip('=')}.c2ln"


def present(value: Any) -> Any:
    """Without the fields that are null: Apple leaves them out."""
    if isinstance(value, dict):
        return {name: present(item) for name, item in value.items() if item is not None}
    return value


def timed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: timed(item) for name, item in value.items()}
    if isinstance(value, str) and value.startswith("@"):
        return START_MS + int(value[1:]) * DAY_MS
    return value
