"""Lists of transactions and subscription states, as Apple's API gives them, sorted into chains. Pure."""

from collections.abc import Sequence

import msgspec

from bellwire.model.enums import ProductType, Store
from bellwire.model.facts import Snapshot
from bellwire.stores.apple.payloads import RenewalInfo, Transaction
from bellwire.stores.apple.transactions import one_time_snapshot, product_type_of, store_key_of, subscription_snapshot


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One verified transaction, with the state of its subscription where that was told too."""

    transaction: Transaction
    transaction_json: bytes
    renewal: RenewalInfo | None = None
    renewal_json: bytes | None = None
    status: int | None = None

    @property
    def raw(self) -> str:
        """Everything Apple said, unknown fields too, as one JSON object for people to read."""
        parts: dict[str, object] = {"transaction": msgspec.Raw(self.transaction_json)}
        if self.renewal_json is not None:
            parts["renewalInfo"] = msgspec.Raw(self.renewal_json)
        if self.status is not None:
            parts["status"] = self.status
        return msgspec.json.encode(parts).decode()


def snapshots_of(
    transactions: Sequence[Shown], states: Sequence[Shown], *, store: Store, complete_history: bool = False
) -> list[Snapshot]:
    """One snapshot for each chain. `states` say which transaction of a subscription is the latest, and its flags.

    `complete_history` says whether `transactions` is everything there is.
    """
    state_of = {store_key_of(item.transaction): item for item in states}
    members: dict[str, list[Shown]] = {key: [] for key in state_of}
    found: list[Snapshot] = []
    for item in transactions:
        if product_type_of(item.transaction) is ProductType.SUBSCRIPTION:
            members.setdefault(store_key_of(item.transaction), []).append(item)
        else:
            found.append(one_time_snapshot(item.transaction, store=store, raw=item.raw))
    for key, items in members.items():
        latest = state_of.get(key) or max(items, key=_recency)
        found.append(
            subscription_snapshot(
                latest.transaction,
                latest.renewal,
                latest.status,
                store=store,
                history=[item.transaction for item in items],
                complete_history=complete_history,
                raw=latest.raw,
            )
        )
    return found


def _recency(item: Shown) -> tuple[bool, int, str]:
    transaction = item.transaction
    return (
        transaction.is_upgraded is not True,
        transaction.purchase_date or 0,
        transaction.transaction_id or "",
    )
