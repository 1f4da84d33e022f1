"""Facts into state and events: the unit of work that every source ends in."""

import hashlib
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from bellwire.db.events import StagedEvent
from bellwire.db.purchases import ChainKey
from bellwire.engine.access import oldest_purchase_ms
from bellwire.engine.describe import describe, transfer_event
from bellwire.engine.detect import detect
from bellwire.engine.emission import Context, Emission
from bellwire.engine.merge import blank_chain
from bellwire.engine.ownership import Ownership, decide
from bellwire.engine.replacement import rekey, replaced
from bellwire.ingest.calls import IngestError, ReceiptCall
from bellwire.ingest.workspace import Workspace
from bellwire.kit.ids import new_row_id
from bellwire.model.customers import AppUserId, Customer
from bellwire.model.enums import Origin
from bellwire.model.events import EventRecord
from bellwire.model.facts import Replacement, Snapshot
from bellwire.model.projects import App
from bellwire.model.purchases import Chain
from bellwire.observe.tracing import Ref


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a list of snapshots."""

    event_count: int
    changed: bool
    unknown: bool
    """None of the chains is tracked, and this source may not create them."""
    chains: tuple[Chain, ...] = ()
    event_ids: tuple[str, ...] = ()


def keys_of(app_id: str, snapshots: Sequence[Snapshot]) -> frozenset[ChainKey]:
    """Every chain that these snapshots name."""
    return frozenset(
        (app_id, snapshot.environment, key)
        for snapshot in snapshots
        for key in (snapshot.store_key, snapshot.replaces, snapshot.previous_owner_key)
        if key is not None
    )


class FactsUnit:
    """Applies snapshots of one app to a workspace. `poster` is the customer who posted the receipt, if one did."""

    def __init__(
        self,
        workspace: Workspace,
        app: App,
        *,
        received_ms: int,
        received_wall_ms: int,
        create: bool,
        poster: Customer | None = None,
        call: ReceiptCall | None = None,
        origin: Origin = Origin.LIVE,
        pulled_at_ms: int | None = None,
        caused_by: Ref | None = None,
    ) -> None:
        project = workspace.config.projects[app.project_id]
        self._ws = workspace
        self._app = app
        self._received_ms = received_ms
        self._received_wall_ms = received_wall_ms
        self._create = create
        self._poster_id = None if poster is None else poster.id
        self._call = call
        self._pulled_at_ms = pulled_at_ms
        self._caused_by = caused_by
        self._event_ids: list[str] = []
        self._context = Context(
            now_ms=workspace.now_ms,
            settings=project.settings,
            catalogue=workspace.config.catalogue(project.id),
            app=app,
            rates=workspace.rates,
            origin=origin,
        )
        self._emissions: list[Emission] = []
        self._transfers: list[EventRecord] = []
        self._touched: dict[int, Chain] = {}
        self._changed = False

    def apply(self, snapshots: Sequence[Snapshot]) -> Applied:
        """State and events of all snapshots; older chains before those that replace them."""
        if self._poster_id is not None:
            self._settle_ownership(snapshots)
        replaced_keys = {snapshot.replaces for snapshot in snapshots}
        known = False
        for snapshot in sorted(snapshots, key=lambda one: one.store_key not in replaced_keys):
            known = self._apply_one(snapshot) or known
        count = self._emit()
        return Applied(
            event_count=count,
            changed=self._changed or bool(count),
            unknown=not known,
            chains=tuple(self._touched.values()),
            event_ids=tuple(self._event_ids),
        )

    # ---- one chain

    def _apply_one(self, snapshot: Snapshot) -> bool:
        key = (self._app.id, snapshot.environment, snapshot.store_key)
        chain = self._ws.chain(key)
        old = None if snapshot.replaces is None else self._ws.chain((key[0], key[1], snapshot.replaces))
        if old is not None and (chain is None or chain.id != old.id):
            chain = self._replace(old, chain, snapshot)
        if chain is not None and chain.store_key != snapshot.store_key:
            return True  # an older name of a chain that lives on under another: that one does the talking
        if chain is None:
            owner = self._owner_of_new(snapshot, old)
            if owner is None:
                return False
            chain = blank_chain(
                snapshot,
                chain_id=new_row_id(),
                project_id=self._app.project_id,
                app_id=self._app.id,
                customer_id=owner.id,
            )
        chain = self._with_posted(chain)
        before = self._ws.chain(key)
        detection = detect(chain, snapshot, self._context)
        after = replace(detection.after, pull_failures=0)
        if self._pulled_at_ms is not None:
            after = replace(after, last_pull_at_ms=self._pulled_at_ms)
        self._changed = self._changed or before is None or _differs(before, after)
        self._emissions += detection.emissions
        self._ws.put_chain(after)
        self._touched[after.id] = after
        self._note_unknown_product(after)
        return True

    def _replace(self, old: Chain, chain: Chain | None, snapshot: Snapshot) -> Chain | None:
        if snapshot.replacement is Replacement.DEFERRED:
            if chain is not None:
                return chain
            moved = rekey(old, snapshot)
            self._ws.put_chain(moved)
            return moved
        detection = replaced(old, snapshot, self._context)
        if detection.after != old:
            self._changed = True
            self._emissions += detection.emissions
            self._ws.put_chain(detection.after)
            self._touched[old.id] = detection.after
        return chain

    def _with_posted(self, chain: Chain) -> Chain:
        """What only the app can tell: the offering of the first purchase, who finishes purchases."""
        call = self._call
        if call is None:
            return chain
        return replace(
            chain,
            presented_offering_id=chain.presented_offering_id or call.presented_offering_id,
            presented_placement_id=chain.presented_placement_id or call.presented_placement_id,
            metadata=chain.metadata or call.metadata,
            observer_mode=call.posted.observer_mode if chain.latest is None else chain.observer_mode,
        )

    def _note_unknown_product(self, chain: Chain) -> None:
        for key in () if chain.latest is None else chain.latest.product_keys:
            if self._context.catalogue.knows(key):
                continue
            self._ws.notice(
                self._app.project_id,
                "unknown_product",
                key,
                f"Product {key} was bought but is not in the catalogue: its events carry no entitlements. "
                f"Add it with `bellwire product add`.",
            )

    # ---- customers

    def _owner_of_new(self, snapshot: Snapshot, old: Chain | None) -> Customer | None:
        if self._poster_id is not None:
            return self._ws.customer(self._poster_id)
        if old is not None:
            return self._ws.customer(old.customer_id)
        if snapshot.previous_owner_key is not None:
            earlier = self._ws.chain((self._app.id, snapshot.environment, snapshot.previous_owner_key))
            if earlier is not None:
                return self._ws.customer(earlier.customer_id)
        if not self._create:
            return None
        if snapshot.account_hint is not None:
            hinted = self._ws.find_customer(self._app.project_id, snapshot.account_hint)
            if hinted is not None:
                return hinted
        return self._new_anonymous(snapshot)

    def _new_anonymous(self, snapshot: Snapshot) -> Customer:
        """An id that hangs on the purchase, so that a repeat after a crash makes the same customer."""
        app_user_id = anonymous_id(self._app.id, snapshot)
        known = self._ws.find_customer(self._app.project_id, app_user_id)
        if known is not None:
            return known
        customer = new_customer(self._app.project_id, app_user_id, self._ws.now_ms)
        self._ws.put_customer(customer)
        return customer

    def _settle_ownership(self, snapshots: Sequence[Snapshot]) -> None:
        """Restore behaviour (spec: events 8.5): purchases of somebody else move, merge, or the post is refused."""
        if self._poster_id is None or self._call is None:
            return
        owned: dict[int, list[Chain]] = {}
        for key in sorted(keys_of(self._app.id, snapshots)):
            chain = self._ws.chain(key)
            if chain is not None and chain.id not in {one.id for held in owned.values() for one in held}:
                owned.setdefault(self._ws.customer(chain.customer_id).id, []).append(chain)
        for owner_id, chains in owned.items():
            owner, poster = self._ws.customer(owner_id), self._ws.customer(self._poster_id)
            decision = decide(
                owner,
                poster,
                chains,
                behavior=self._context.settings.restore_behavior,
                is_restore=self._call.is_restore,
                now_ms=self._ws.now_ms,
            )
            match decision:
                case Ownership.KEEP:
                    continue
                case Ownership.MERGE:
                    self._poster_id = self._ws.merge(owner, poster).id
                    self._changed = True
                case Ownership.TRANSFER:
                    self._transfer(owner, poster, chains)
                case Ownership.REFUSE:
                    raise IngestError(
                        400, 7102, "This purchase belongs to another customer, and the project's restore "
                        "behavior does not let it move."
                    )  # fmt: skip

    def _transfer(self, owner: Customer, poster: Customer, chains: Sequence[Chain]) -> None:
        for chain in chains:
            self._ws.put_chain(replace(chain, customer_id=poster.id))
        first = chains[0]
        poster, record = transfer_event(
            owner,
            poster,
            app_id=first.app_id,
            store=first.store,
            environment=first.environment,
            trigger=first.first_store_key,
            at_ms=self._ws.first_event_ms(poster, 1),
        )
        self._ws.put_customer(poster)
        self._transfers.append(record)
        self._changed = True

    # ---- events

    def _emit(self) -> int:
        for record in self._transfers:
            self._stage(record)
        by_customer: dict[int, list[Emission]] = {}
        for emission in self._emissions:
            owner = self._ws.customer(self._owner_id(emission))
            by_customer.setdefault(owner.id, []).append(emission)
        count = len(self._transfers)
        for customer_id, emissions in by_customer.items():
            customer = self._ws.customer(customer_id)
            first_ms = self._ws.first_event_ms(customer, len(emissions))
            customer, records = describe(emissions, customer, self._context, first_ms=first_ms)
            self._ws.put_customer(self._seen_since(customer))
            for record in records:
                self._stage(record)
            count += len(records)
        return count

    def _owner_id(self, emission: Emission) -> int:
        touched = self._touched.get(emission.chain.id, emission.chain)
        return touched.customer_id

    def _seen_since(self, customer: Customer) -> Customer:
        if self._call is None:
            return customer
        first_ms = oldest_purchase_ms(self._ws.chains_of(customer.id), customer)
        return customer if first_ms == customer.first_seen_ms else replace(customer, first_seen_ms=first_ms)

    def _stage(self, record: EventRecord) -> None:
        self._event_ids.append(record.event.id)
        lag_ms = None if record.store_time_ms is None else self._received_ms - record.store_time_ms
        self._ws.stage_event(
            StagedEvent(
                record=record,
                received_at_ms=self._received_wall_ms,
                store_time_ms=None if lag_ms is None else self._received_wall_ms - lag_ms,
                caused_by=self._caused_by,
            )
        )


def _differs(before: Chain, after: Chain) -> bool:
    """Whether a statement taught us anything besides its own time."""
    return _undated(after) != _undated(before)


def _undated(chain: Chain) -> Chain:
    periods = tuple(replace(period, refund_as_of_ms=0) for period in chain.periods)
    return replace(chain, as_of_ms=0, last_pull_at_ms=None, pull_failures=0, periods=periods)


def new_customer(project_id: str, app_user_id: str, now_ms: int) -> Customer:
    """A customer nobody knew before."""
    return Customer(
        id=new_row_id(),
        project_id=project_id,
        original_app_user_id=app_user_id,
        ids=(AppUserId(app_user_id=app_user_id, first_seen_ms=now_ms, last_seen_ms=now_ms),),
        first_seen_ms=now_ms,
        last_seen_ms=now_ms,
    )


def anonymous_id(app_id: str, snapshot: Snapshot) -> str:
    """`$RCAnonymousID:` and 32 hex digits that follow from the purchase (spec: stores 1.4)."""
    key = f"{app_id}\0{snapshot.environment}\0{snapshot.store_key}"
    return "$RCAnonymousID:" + hashlib.sha256(key.encode()).hexdigest()[:32]
