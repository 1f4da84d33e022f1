"""Units of work and the one handler that runs them in groups: load together, run in order, save together (D2)."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from bellwire.db.config import ConfigCache
from bellwire.db.customers import IdKey
from bellwire.db.events import StagedEvent
from bellwire.db.inbox import IGNORED_UNKNOWN_PURCHASE, PROCESSED, InboxEntry, InboxOutcome
from bellwire.db.purchases import ChainKey
from bellwire.engine.access import access_until_ms
from bellwire.engine.attributes import AttributeChange, AttributeError, apply_changes
from bellwire.engine.checks import GIVE_UP_FAILURES, GIVE_UP_MS
from bellwire.engine.describe import describe
from bellwire.engine.detect import evaluate
from bellwire.engine.emission import Context
from bellwire.engine.identity import should_merge_on_identify
from bellwire.ingest.calls import CustomerView, ReceiptCall, Visit
from bellwire.ingest.facts import Applied, FactsUnit, anonymous_id, keys_of, new_customer
from bellwire.ingest.workspace import Needs, Workspace
from bellwire.kit.clock import Clock
from bellwire.kit.ids import new_row_id
from bellwire.model.customers import AppUserId, Customer
from bellwire.model.facts import Snapshot
from bellwire.model.projects import App
from bellwire.observe.tracing import Ref


class ApplyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Snapshots from a notification (`inbox_id`) or a pull; unknown chains are created only if `create`."""

    app: App
    snapshots: tuple[Snapshot, ...]
    create: bool
    received_ms: int
    received_wall_ms: int
    pulled: bool = False
    inbox_id: int | None = None
    caused_by: Ref | None = None


class ApplyReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """A proven receipt of one customer."""

    app: App
    call: ReceiptCall
    snapshots: tuple[Snapshot, ...]
    received_ms: int
    received_wall_ms: int
    caused_by: Ref | None = None


class SeeCustomer(msgspec.Struct, frozen=True, kw_only=True):
    """Get or create a customer, note a visit, change attributes."""

    project_id: str
    app_user_id: str
    visit: Visit | None
    changes: dict[str, AttributeChange] = {}
    strict_reserved: bool = False


class Identify(msgspec.Struct, frozen=True, kw_only=True):
    """Log in: `app_user_id` becomes `new_app_user_id` (spec: events 8.4)."""

    project_id: str
    app_user_id: str
    new_app_user_id: str
    visit: Visit | None


class PullFailed(msgspec.Struct, frozen=True, kw_only=True):
    """A store could not be asked about a chain; `gone` = it no longer tells about it."""

    app: App
    key: ChainKey
    gone: bool


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True):
    """The store took our acknowledgement of a purchase."""

    key: ChainKey


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of SeeCustomer, Identify and ApplyReceipt."""

    view: CustomerView
    attribute_errors: list[AttributeError] = []
    applied: Applied | None = None


Unit = ApplyFacts | ApplyReceipt | SeeCustomer | Identify | PullFailed | Acknowledged
Result = Applied | Seen | None


class UnitRunner:
    """Bound to a process's configuration and clocks; `handle` is what the committer calls."""

    def __init__(self, config: ConfigCache, clock: Clock, wall: Clock) -> None:
        self._config = config
        self._clock = clock
        self._wall = wall
        self._heard: frozenset[str] = frozenset()
        """Apps heard of since the configuration was read: a sign of life makes nobody reload it."""

    def handle(self, connection: sa.Connection, units: Sequence[Unit]) -> Sequence[Result | Exception]:
        """Run units in order in one workspace; a unit that raises is taken out alone."""
        config = self._config.current()
        quiet = frozenset(app.id for app in config.apps.values() if app.last_notification_at_ms is None)
        workspace = Workspace(
            connection,
            config,
            config.rates,
            now_ms=self._clock.now_ms(),
            wall_ms=self._wall.now_ms(),
            quiet_apps=quiet - self._heard,
        )
        workspace.load([_needs(unit) for unit in units])
        results: list[Result | Exception] = []
        for unit in units:
            mark = workspace.mark()
            try:
                results.append(_run(workspace, unit))
            except Exception as error:
                workspace.rollback(mark)
                results.append(error)
        workspace.save()
        self._heard |= workspace.heard_apps
        return results


def _needs(unit: Unit) -> Needs:
    match unit:
        case ApplyFacts():
            hints = frozenset(
                (unit.app.project_id, one.account_hint) for one in unit.snapshots if one.account_hint is not None
            )
            ids = hints | _anonymous_ids(unit) if unit.create else hints
            return Needs(chain_keys=keys_of(unit.app.id, unit.snapshots), app_user_ids=ids)
        case ApplyReceipt():
            return Needs(
                app_user_ids=frozenset({(unit.call.project_id, unit.call.app_user_id)}),
                chain_keys=keys_of(unit.app.id, unit.snapshots),
                whole=True,
            )
        case SeeCustomer():
            return Needs(app_user_ids=frozenset({(unit.project_id, unit.app_user_id)}), whole=True)
        case Identify():
            ids = frozenset({(unit.project_id, unit.app_user_id), (unit.project_id, unit.new_app_user_id)})
            return Needs(app_user_ids=ids, whole=True)
        case PullFailed() | Acknowledged():
            return Needs(chain_keys=frozenset({unit.key}))


def _anonymous_ids(unit: ApplyFacts) -> frozenset[IdKey]:
    """Customers that chains without anybody get: they may be there although the chain is not."""
    return frozenset((unit.app.project_id, anonymous_id(unit.app.id, one)) for one in unit.snapshots)


def _run(workspace: Workspace, unit: Unit) -> Result:
    match unit:
        case ApplyFacts():
            return _apply_facts(workspace, unit)
        case ApplyReceipt():
            return _apply_receipt(workspace, unit)
        case SeeCustomer():
            return _see(workspace, unit)
        case Identify():
            return _identify(workspace, unit)
        case PullFailed():
            return _pull_failed(workspace, unit)
        case Acknowledged():
            chain = workspace.chain(unit.key)
            if chain is not None:
                workspace.put_chain(replace(chain, acknowledged=True))
            return None


def _apply_facts(workspace: Workspace, unit: ApplyFacts) -> Applied:
    applied = FactsUnit(
        workspace,
        unit.app,
        received_ms=unit.received_ms,
        received_wall_ms=unit.received_wall_ms,
        create=unit.create,
        pulled_at_ms=unit.received_ms if unit.pulled else None,
        caused_by=unit.caused_by,
    ).apply(unit.snapshots)
    if unit.inbox_id is not None:
        workspace.conclude(
            InboxOutcome(
                id=unit.inbox_id,
                status=IGNORED_UNKNOWN_PURCHASE if applied.unknown else PROCESSED,
                processed_at_ms=workspace.wall_ms,
                event_count=applied.event_count,
            )
        )
        if not applied.unknown:
            workspace.heard_from(unit.app.project_id, unit.app.id)
    if unit.pulled and applied.changed:
        _archive(workspace, unit.app, "pull", msgspec.json.encode(unit.snapshots), unit.received_wall_ms)
    return applied


def _apply_receipt(workspace: Workspace, unit: ApplyReceipt) -> Seen:
    call = unit.call
    customer, created = _get_or_create(workspace, call.project_id, call.app_user_id, call.visit)
    customer, errors = _change(
        workspace, customer, dict(call.attributes), call.visit, strict=not call.posted.public_key
    )
    applied = FactsUnit(
        workspace,
        unit.app,
        received_ms=unit.received_ms,
        received_wall_ms=unit.received_wall_ms,
        create=True,
        poster=customer,
        call=call,
        pulled_at_ms=unit.received_ms,
        caused_by=unit.caused_by,
    ).apply(unit.snapshots)
    if applied.changed:
        _archive(workspace, unit.app, "receipt", call.raw_body, unit.received_wall_ms)
        _archive(workspace, unit.app, "pull", msgspec.json.encode(unit.snapshots), unit.received_wall_ms)
    view = _view(workspace, call.project_id, call.app_user_id, created=created)
    return Seen(view=view, attribute_errors=errors, applied=applied)


def _archive(workspace: Workspace, app: App, kind: str, body: bytes, received_wall_ms: int) -> None:
    """Keep what was posted or pulled, so that state can be rebuilt from the inbox (architecture D7)."""
    entry_id = new_row_id()
    workspace.keep(
        InboxEntry(
            id=entry_id,
            project_id=app.project_id,
            app_id=app.id,
            store=app.store,
            kind=kind,
            dedup_key=f"{kind}:{entry_id}",
            received_at_ms=received_wall_ms,
            body=body,
            status=PROCESSED,
            processed_at_ms=workspace.wall_ms,
        )
    )


def _see(workspace: Workspace, unit: SeeCustomer) -> Seen:
    customer, created = _get_or_create(workspace, unit.project_id, unit.app_user_id, unit.visit)
    _, errors = _change(workspace, customer, unit.changes, unit.visit, strict=unit.strict_reserved)
    view = _view(workspace, unit.project_id, unit.app_user_id, created=created)
    return Seen(view=view, attribute_errors=errors)


def _identify(workspace: Workspace, unit: Identify) -> Seen:
    provided = workspace.find_customer(unit.project_id, unit.new_app_user_id)
    current, _ = _get_or_create(workspace, unit.project_id, unit.app_user_id, unit.visit)
    same = unit.app_user_id == unit.new_app_user_id
    if not same and should_merge_on_identify(current, provided, unit.app_user_id):
        if provided is not None:
            workspace.merge(current, provided)
        else:
            known = AppUserId(
                app_user_id=unit.new_app_user_id, first_seen_ms=workspace.now_ms, last_seen_ms=workspace.now_ms
            )
            workspace.put_customer(replace(current, ids=(*current.ids, known)))
    _get_or_create(workspace, unit.project_id, unit.new_app_user_id, unit.visit)
    view = _view(workspace, unit.project_id, unit.new_app_user_id, created=provided is None)
    return Seen(view=view)


def _pull_failed(workspace: Workspace, unit: PullFailed) -> Applied:
    """Back off; a day past the end stored dates take effect, since nobody contradicts them (spec: stores 1.5).

    That is a guess: the store is asked on, so that a renewal nobody heard of mends it.
    """
    chain = workspace.chain(unit.key)
    if chain is None:
        return Applied(event_count=0, changed=False, unknown=True)
    chain = replace(chain, pull_failures=chain.pull_failures + 1)
    until = access_until_ms(chain)
    tried = chain.pull_failures >= GIVE_UP_FAILURES  # the hub itself may have slept through the day
    over = tried and until is not None and chain.latest is not None and until + GIVE_UP_MS <= workspace.now_ms
    if unit.gone and until is not None:
        over = until <= workspace.now_ms
    if not over:
        workspace.put_chain(chain)
        return Applied(event_count=0, changed=False, unknown=False)
    if unit.gone:
        chain = replace(chain, pull_failures=0)  # otherwise it is asked for again until it is told
    detection = evaluate(chain, workspace.now_ms)
    workspace.put_chain(detection.after)
    customer = workspace.customer(chain.customer_id)
    context = Context(
        now_ms=workspace.now_ms,
        settings=workspace.config.projects[chain.project_id].settings,
        catalogue=workspace.config.catalogue(chain.project_id),
        app=unit.app,
    )
    first_ms = workspace.first_event_ms(customer, len(detection.emissions))
    customer, records = describe(detection.emissions, customer, context, first_ms=first_ms)
    workspace.put_customer(customer)
    for record in records:
        workspace.stage_event(
            StagedEvent(record=record, received_at_ms=workspace.wall_ms, store_time_ms=workspace.wall_ms)
        )
    return Applied(event_count=len(records), changed=True, unknown=False, chains=(detection.after,))


def _get_or_create(
    workspace: Workspace, project_id: str, app_user_id: str, visit: Visit | None
) -> tuple[Customer, bool]:
    customer = workspace.find_customer(project_id, app_user_id)
    if customer is None:
        customer = _visited(new_customer(project_id, app_user_id, workspace.now_ms), app_user_id, visit, workspace)
        workspace.put_customer(customer)
        return customer, True
    visited = _visited(customer, app_user_id, visit, workspace)
    if visited is not customer:
        workspace.put_customer(visited)
    return visited, False


def _visited(customer: Customer, app_user_id: str, visit: Visit | None, workspace: Workspace) -> Customer:
    """Last-seen times and where the customer is; a server's read (no visit) is not a sign of life."""
    if visit is None:
        return customer
    now = workspace.now_ms
    ids = tuple(replace(one, last_seen_ms=now) if one.app_user_id == app_user_id else one for one in customer.ids)
    return replace(
        customer,
        ids=ids,
        last_seen_ms=max(now, customer.last_seen_ms),
        country=visit.country or customer.country,
        platform=visit.platform or customer.platform,
        app_version=visit.app_version or customer.app_version,
    )


def _change(
    workspace: Workspace, customer: Customer, changes: dict[str, AttributeChange], visit: Visit | None, *, strict: bool
) -> tuple[Customer, list[AttributeError]]:
    if not changes:
        return customer, []
    attributes, errors = apply_changes(
        customer.attributes,
        changes,
        now_ms=workspace.now_ms,
        ip=None if visit is None else visit.ip,
        strict_reserved=strict,
    )
    if attributes != customer.attributes:
        customer = replace(customer, attributes=attributes)
        workspace.put_customer(customer)
    return customer, errors


def _view(workspace: Workspace, project_id: str, app_user_id: str, *, created: bool) -> CustomerView:
    customer = workspace.find_customer(project_id, app_user_id)
    if customer is None:
        raise LookupError(f"customer {app_user_id!r} is not in this commit")
    project = workspace.config.projects[project_id]
    return CustomerView(
        customer=customer,
        chains=workspace.chains_of(customer.id),
        catalogue=workspace.config.catalogue(project_id),
        settings=project.settings,
        now_ms=workspace.now_ms,
        created=created,
    )
