"""The state that one commit works on: loaded with a few queries, changed in memory, written with a few statements.

Units of work run one after the other against it. Each begins at a mark; a unit that is refused is rolled back to its
mark, so that it never fails its neighbours (architecture D2).
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from bellwire.db.apps import note_notification
from bellwire.db.config import Config
from bellwire.db.customers import (
    IdKey,
    absorb_customers,
    find_customer_ids,
    load_customers,
    lock_customers,
    save_customers,
)
from bellwire.db.events import StagedEvent, append_events
from bellwire.db.inbox import InboxEntry, InboxOutcome, append_entries, record_outcomes
from bellwire.db.notices import upsert_notice
from bellwire.db.outbox import OutboxRow, enqueue_rows
from bellwire.db.purchases import (
    ChainKey,
    find_owners,
    load_chains_by_key,
    load_chains_of,
    load_older_keys,
    save_chains,
)
from bellwire.engine.identity import merge_customers
from bellwire.engine.matching import matches
from bellwire.engine.money import Rates
from bellwire.ingest import observed
from bellwire.model.customers import Customer
from bellwire.model.purchases import Chain

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_MISSING: Any = object()


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a unit will look at. `whole` also loads every purchase of the customers it finds."""

    app_user_ids: frozenset[IdKey] = frozenset()
    chain_keys: frozenset[ChainKey] = frozenset()
    whole: bool = False


class Workspace:
    """One commit's worth of state. `now_ms` is domain time, `wall_ms` the machine's."""

    def __init__(
        self,
        connection: sa.Connection,
        config: Config,
        rates: Rates,
        *,
        now_ms: int,
        wall_ms: int,
        quiet_apps: frozenset[str] = frozenset(),
    ) -> None:
        self.config = config
        self.rates = rates
        self.now_ms = now_ms
        self.wall_ms = wall_ms
        self._connection = connection
        self._quiet_apps = quiet_apps
        self._customers: dict[int, Customer] = {}
        self._chains: dict[int, Chain] = {}
        self._customer_by_id: dict[IdKey, int] = {}
        self._chain_by_key: dict[ChainKey, int] = {}
        self._older_keys: dict[ChainKey, int] = {}
        self._absorbed: dict[int, int] = {}
        self._last_event_ms: dict[int, int] = {}
        self._loaded_customers: dict[int, Customer] = {}
        self._loaded_chains: dict[int, Chain] = {}
        self._events: list[StagedEvent] = []
        self._entries: list[InboxEntry] = []
        self._outcomes: list[InboxOutcome] = []
        self._notices: list[tuple[str, str, str, str]] = []
        self._heard: list[tuple[str, str]] = []
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []

    # ---- loading

    def load(self, needs: Collection[Needs]) -> None:
        """Read everything the units of this commit will look at, once no other process can change it."""
        keys = frozenset[ChainKey]().union(*(need.chain_keys for need in needs))
        ids = frozenset[IdKey]().union(*(need.app_user_ids for need in needs))
        chains, found, owners = self._load_owned(keys, ids)
        self._remember_chains(chains)
        self._customer_by_id |= found
        self._remember_customers(load_customers(self._connection, owners))
        self._older_keys = load_older_keys(self._connection, set(self._chains))
        self._chain_by_key |= self._older_keys
        if any(need.whole for need in needs):
            found = set(self._chains)
            self._remember_chains(load_chains_of(self._connection, self._whole_customers(needs)))
            self._older_keys |= load_older_keys(self._connection, set(self._chains) - found)
            self._chain_by_key |= self._older_keys

    def _load_owned(
        self, keys: frozenset[ChainKey], ids: frozenset[IdKey]
    ) -> tuple[list[Chain], dict[IdKey, int], set[int]]:
        """Chains under these keys, customers under these ids, and all customers who have to do with either, locked.

        On PostgreSQL other processes change customers too. Whom a commit may change is locked before it is read: a
        customer's row guards its sequence, its ids, attributes and purchases. While we waited for a lock a purchase or
        an id may have passed to somebody else, who is then locked as well. What nobody has yet is guarded by unique
        constraints: the later of two that make it is refused, and done again by the committer.
        """
        connection = self._connection
        shared = connection.dialect.name != "sqlite"
        locked: set[int] = set()
        if shared:
            locked = find_owners(connection, keys) | set(find_customer_ids(connection, ids).values())
            lock_customers(connection, locked)
        while True:
            chains = load_chains_by_key(connection, keys)
            found = find_customer_ids(connection, ids)
            owners = {chain.customer_id for chain in chains} | set(found.values())
            if not shared or owners <= locked:
                return chains, found, owners
            lock_customers(connection, owners - locked)
            locked |= owners

    def _whole_customers(self, needs: Collection[Needs]) -> set[int]:
        wanted: set[int] = set()
        for need in needs:
            if need.whole:
                wanted |= {self._customer_by_id[key] for key in need.app_user_ids if key in self._customer_by_id}
                found = (self.chain(key) for key in need.chain_keys)
                wanted |= {chain.customer_id for chain in found if chain is not None}
        return wanted

    def _remember_chains(self, chains: Sequence[Chain]) -> None:
        for chain in chains:
            if chain.id not in self._chains:
                self._chains[chain.id] = self._loaded_chains[chain.id] = chain
                self._chain_by_key[_key_of(chain)] = chain.id

    def _remember_customers(self, customers: Sequence[Customer]) -> None:
        for customer in customers:
            self._customers[customer.id] = self._loaded_customers[customer.id] = customer
            for known in customer.ids:
                self._customer_by_id[(customer.project_id, known.app_user_id)] = customer.id

    # ---- units

    def mark(self) -> tuple[int, ...]:
        """Where a unit begins."""
        return (
            len(self._undo),
            len(self._events),
            len(self._entries),
            len(self._outcomes),
            len(self._notices),
            len(self._heard),
        )

    def rollback(self, mark: tuple[int, ...]) -> None:
        """Forget everything since `mark`."""
        undo, events, entries, outcomes, notices, heard = mark
        while len(self._undo) > undo:
            where, key, old = self._undo.pop()
            if old is _MISSING:
                where.pop(key, None)
            else:
                where[key] = old
        del self._events[events:]
        del self._entries[entries:]
        del self._outcomes[outcomes:]
        del self._notices[notices:]
        del self._heard[heard:]

    def _set(self, where: dict[K, V], key: K, value: V) -> None:
        self._undo.append((where, key, where.get(key, _MISSING)))
        where[key] = value

    # ---- reading

    def chain(self, key: ChainKey) -> Chain | None:
        """The chain known under this store key, now or earlier."""
        chain_id = self._chain_by_key.get(key)
        return None if chain_id is None else self._chains[chain_id]

    def chains_of(self, customer_id: int) -> tuple[Chain, ...]:
        """Loaded purchases of a customer, oldest first."""
        owned = [chain for chain in self._chains.values() if chain.customer_id == customer_id]
        return tuple(sorted(owned, key=lambda chain: chain.id))

    def customer(self, customer_id: int) -> Customer:
        """A customer by row id; one that was merged away answers as the customer it became."""
        while customer_id in self._absorbed:
            customer_id = self._absorbed[customer_id]
        return self._customers[customer_id]

    def find_customer(self, project_id: str, app_user_id: str) -> Customer | None:
        """A customer by any of its ids."""
        customer_id = self._customer_by_id.get((project_id, app_user_id))
        return None if customer_id is None else self.customer(customer_id)

    # ---- changing

    def put_customer(self, customer: Customer) -> None:
        """Add or change a customer."""
        self._set(self._customers, customer.id, customer)
        for known in customer.ids:
            self._set(self._customer_by_id, (customer.project_id, known.app_user_id), customer.id)

    def put_chain(self, chain: Chain) -> None:
        """Add or change a chain."""
        self._set(self._chains, chain.id, chain)
        self._set(self._chain_by_key, _key_of(chain), chain.id)

    def merge(self, first: Customer, second: Customer) -> Customer:
        """Make two customers one (spec: events 8.4); purchases follow. Pass the anonymous one first."""
        survivor = merge_customers(first, second)
        absorbed = second if survivor.id == first.id else first
        for chain in self.chains_of(absorbed.id):
            self.put_chain(replace(chain, customer_id=survivor.id))
        self.put_customer(survivor)
        self._set(self._absorbed, absorbed.id, survivor.id)
        return survivor

    def first_event_ms(self, customer: Customer, count: int) -> int:
        """Event time for the first of `count` events, later than any the customer got in this commit."""
        first = max(self.now_ms, self._last_event_ms.get(customer.id, 0) + 1)
        self._set(self._last_event_ms, customer.id, first + count - 1)
        return first

    def stage_event(self, event: StagedEvent) -> None:
        """An event to append, and to send to every integration it matches."""
        self._events.append(event)

    def keep(self, entry: InboxEntry) -> None:
        """Archive a message with this commit."""
        self._entries.append(entry)

    def conclude(self, outcome: InboxOutcome) -> None:
        """Note how an inbox entry ended, in the transaction of what it caused."""
        self._outcomes.append(outcome)

    def notice(self, project_id: str, kind: str, subject: str, message: str) -> None:
        """Something an operator should look at."""
        self._notices.append((project_id, kind, subject, message))

    def heard_from(self, project_id: str, app_id: str) -> None:
        """A store notification of this app concerned something we track."""
        self._heard.append((project_id, app_id))

    @property
    def heard_apps(self) -> frozenset[str]:
        """Apps whose store has spoken to us in this commit."""
        return frozenset(app_id for _, app_id in self._heard)

    # ---- writing

    def save(self) -> None:
        """Write what changed, in the order that foreign keys want."""
        connection = self._connection
        customers = [
            customer
            for customer in self._customers.values()
            if customer.id not in self._absorbed and self._loaded_customers.get(customer.id) is not customer
        ]
        chains = [chain for chain in self._chains.values() if self._loaded_chains.get(chain.id) is not chain]
        save_customers(connection, customers, self._loaded_customers)
        save_chains(
            connection,
            chains,
            self._loaded_chains,
            now_ms=self.now_ms,
            quiet_apps=self._quiet_apps - self.heard_apps,
            older_keys=self._left_keys(),
        )
        self._save_events()
        append_entries(connection, self._entries)
        record_outcomes(connection, self._outcomes)
        for project_id, kind, subject, message in dict.fromkeys(self._notices):
            upsert_notice(
                connection, project_id=project_id, kind=kind, subject=subject, message=message, now_ms=self.wall_ms
            )
        for project_id, app_id in sorted(set(self._heard)):
            note_notification(connection, project_id, app_id, received_at_ms=self.wall_ms)
        gone = {absorbed: self.customer(survivor).id for absorbed, survivor in self._absorbed.items()}
        absorb_customers(connection, {old: new for old, new in gone.items() if old in self._loaded_customers})

    def _left_keys(self) -> dict[ChainKey, int]:
        """Keys that chains have left in this commit, even in between."""
        return {
            key: chain_id
            for key, chain_id in self._chain_by_key.items()
            if key not in self._older_keys and key != _key_of(self._chains[chain_id])
        }

    def _save_events(self) -> None:
        staged_events = [self._with_owner(staged) for staged in self._events]
        sequences = append_events(self._connection, staged_events, committed_at_ms=self.wall_ms)
        observed.committed([one for one in staged_events if one.record.event.id in sequences], self.wall_ms)
        integrations = defaultdict(list)
        for one in self.config.integrations.values():
            integrations[one.project_id].append(one)
        rows = [
            OutboxRow(
                integration_id=integration.id,
                event_seq=sequences[staged.record.event.id],
                customer_id=staged.record.customer_id,
                created_at_ms=self.wall_ms,
            )
            for staged in staged_events
            if staged.record.dispatch and staged.record.event.id in sequences
            for integration in integrations[staged.record.project_id]
            if matches(integration, staged.record)
        ]
        enqueue_rows(self._connection, rows)

    def _with_owner(self, staged: StagedEvent) -> StagedEvent:
        """The event under the customer that its own was merged into later in this commit; its wire form stays."""
        record = staged.record
        owner_id = self.customer(record.customer_id).id
        return (
            staged if owner_id == record.customer_id else replace(staged, record=replace(record, customer_id=owner_id))
        )


def _key_of(chain: Chain) -> ChainKey:
    return (chain.app_id or "", chain.environment, chain.store_key)
