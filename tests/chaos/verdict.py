"""After a round: whether anything was lost, invented, sent twice without cause, or sent out of order."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import sqlalchemy as sa

from bellwire.db.tables import app_user_ids, attempts, chains, events, inbox, integrations, outbox
from tests.chaos.fleet import Cut
from tests.chaos.receiver import Heard, Mood
from tests.chaos.world import BOUNDED_WAIT_MS, LANES, Told

HELD = 8
"""What a lane may have sent and not written down, in times of its concurrency: it holds four times as many rows, while
as many more are being written down."""
MOVING_PARTS = ("customer_sequence", "event_timestamp_ms", "subscriber_attributes")
"""What may differ between two hubs that were told the same in another order: who came first, and when it was seen."""


@dataclass(kw_only=True)
class Verdict:
    """`faults` in words, empty when all is well; the rest is for the table."""

    faults: list[str] = field(default_factory=list)
    notifications: int = 0
    receipts: int = 0
    events: int = 0
    requests: int = 0
    duplicates: int = 0
    most_after_a_cut: int = 0
    too_late: int = 0
    """Of the duplicates, those whose answer the hub says to have come too late."""
    overtaken: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class Written:
    """An event in the database; only dispatched ones."""

    id: str
    customer_id: int
    committed_at_ms: int
    event: dict[str, object]

    @property
    def sequence(self) -> object:
        return self.event.get("customer_sequence")

    @property
    def content(self) -> dict[str, object]:
        return {name: value for name, value in self.event.items() if name not in MOVING_PARTS}

    def __str__(self) -> str:
        return f"{self.event.get('type')} {self.id}"


@dataclass(kw_only=True)
class State:
    """What the hub's database says at the end."""

    events: dict[str, Written]
    """By id, in the order in which they were written."""
    inbox: dict[str, tuple[str, str]]
    """By the store's id of the message: status and error."""
    chains: dict[str, int]
    customers: dict[str, int]
    outbox: list[str]
    """Rows that are left."""
    delivered: Counter[tuple[str, str]]
    """Lane and event: how many attempts say that it was taken."""
    timed_out: Counter[tuple[str, str]]
    """And how many that nobody answered in time."""


def read(engine: sa.Engine) -> State:
    """Everything that is judged."""
    with engine.execution_options(bellwire_read_only=True).connect() as connection:
        lanes = {row.id: row.name for row in connection.execute(sa.select(integrations.c.id, integrations.c.name))}
        counts = sa.select(attempts.c.integration_id, attempts.c.event_id)
        delivered = counts.where(attempts.c.outcome == "delivered")
        timed_out = counts.where(attempts.c.error == "timeout")
        return State(
            events={
                row.id: Written(
                    id=row.id,
                    customer_id=row.customer_id,
                    committed_at_ms=row.committed_at_ms,
                    event=json.loads(row.payload),
                )
                for row in connection.execute(sa.select(events).where(events.c.dispatched).order_by(events.c.seq))
            },
            inbox={
                str(row.dedup_key): (str(row.status), row.error or "")
                for row in connection.execute(sa.select(inbox.c.dedup_key, inbox.c.status, inbox.c.error))
            },
            chains={
                str(row.store_key): int(row.customer_id)
                for row in connection.execute(sa.select(chains.c.store_key, chains.c.customer_id))
            },
            customers={
                str(row.app_user_id): int(row.customer_id)
                for row in connection.execute(sa.select(app_user_ids.c.app_user_id, app_user_ids.c.customer_id))
            },
            outbox=[str(row._asdict()) for row in connection.execute(sa.select(outbox))],
            delivered=Counter((lanes[row.integration_id], row.event_id) for row in connection.execute(delivered)),
            timed_out=Counter((lanes[row.integration_id], row.event_id) for row in connection.execute(timed_out)),
        )


def judge(hub: State, twin: State, told: Told, heard: Sequence[Heard], cuts: Sequence[Cut], *, jumped: bool) -> Verdict:
    """Everything at once; a fault does not hide the next."""
    verdict = Verdict(
        notifications=len(told.notifications),
        receipts=len(told.receipts),
        events=len(hub.events),
        requests=len(heard),
    )
    by_lane: defaultdict[str, list[Heard]] = defaultdict(list)
    for one in heard:
        by_lane[one.lane].append(one)
    verdict.faults += _accepted(hub, told)
    verdict.faults += _left_behind(hub)
    verdict.faults += _same_as_twin(hub, twin)
    verdict.faults += _sequences(hub)
    for lane in LANES:
        verdict.faults += _arrived(hub, lane, by_lane[lane])
        verdict.faults += _recorded(hub, lane, by_lane[lane])
        verdict.faults += _order(hub, lane, by_lane[lane], verdict, jumped=jumped)
    verdict.faults += _duplicates(hub, by_lane, cuts, verdict)
    return verdict


def _some(things: Sequence[object]) -> str:
    return f"{len(things)}: {', '.join(str(thing) for thing in things[:4])}"


def _accepted(hub: State, told: Told) -> list[str]:
    """Every message and receipt that was answered 200 is in the inbox, or in the state."""
    faults: list[str] = []
    lost = [label for label, accepted in told.notifications.items() if accepted and label not in hub.inbox]
    if lost:
        faults.append(f"accepted notifications are not in the inbox ({_some(lost)})")
    undone = [
        f"{key} {status} {error}"
        for key, (status, error) in hub.inbox.items()
        if status not in ("processed", "ignored_type")
    ]
    if undone:
        faults.append(f"notifications were not worked through ({_some(undone)})")
    refused = [label for label, accepted in told.notifications.items() if not accepted]
    if refused:
        faults.append(f"notifications were never accepted ({_some(refused)})")
    missing = [key for key, _ in told.receipts if key not in hub.chains]
    if missing:
        faults.append(f"accepted receipts are not in the state ({_some(missing)})")
    strangers = [key for key, user in told.receipts if key in hub.chains and hub.chains[key] != hub.customers.get(user)]
    if strangers:
        faults.append(f"purchases belong to somebody else than who posted them ({_some(strangers)})")
    unheard = [key for key in told.purchases if key not in hub.chains]
    if unheard:
        faults.append(f"purchases are not in the state ({_some(unheard)})")
    return faults


def _left_behind(hub: State) -> list[str]:
    return [f"rows are left in the outbox ({_some(hub.outbox)})"] if hub.outbox else []


def _same_as_twin(hub: State, twin: State) -> list[str]:
    """A hub that was never harmed derives the same events, word for word."""
    ours, theirs = hub.events, twin.events
    faults: list[str] = []
    invented = [str(one) for one in ours.values() if one.id not in theirs]
    if invented:
        faults.append(f"events that a hub does not derive that was never killed ({_some(invented)})")
    lost = [str(one) for one in theirs.values() if one.id not in ours]
    if lost:
        faults.append(f"events are missing that a hub derives that was never killed ({_some(lost)})")
    changed = [
        f"{one}: {_difference(one.content, theirs[one.id].content)}"
        for one in ours.values()
        if one.id in theirs and one.content != theirs[one.id].content
    ]
    if changed:
        faults.append(f"events differ from those of a hub that was never killed ({_some(changed)})")
    return faults


def _difference(ours: dict[str, object], theirs: dict[str, object]) -> str:
    names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    return "; ".join(f"{name} {ours.get(name)!r} / {theirs.get(name)!r}" for name in names)


def _sequences(hub: State) -> list[str]:
    """A customer's sequence counts from 1 without a gap, in the order of the events."""
    by_customer = _by_customer(hub)
    broken = [
        f"{who} {[one.sequence for one in found]}"
        for who, found in by_customer.items()
        if [one.sequence for one in found] != list(range(1, len(found) + 1))
    ]
    return [f"sequences of customers have gaps or repeats ({_some(broken)})"] if broken else []


def _by_customer(hub: State) -> dict[int, list[Written]]:
    found: defaultdict[int, list[Written]] = defaultdict(list)
    for one in hub.events.values():
        found[one.customer_id].append(one)
    return found


def _arrived(hub: State, lane: str, heard: Sequence[Heard]) -> list[str]:
    """Each event reached the receiver, no other did, and each request said what the database says."""
    taken = {one.event_id for one in heard if one.taken}
    faults: list[str] = []
    lost = [str(one) for one in hub.events.values() if one.id not in taken]
    if lost:
        faults.append(f"{lane}: events never reached the receiver ({_some(lost)})")
    invented = sorted({one.event_id for one in heard} - hub.events.keys())
    if invented:
        faults.append(f"{lane}: the receiver got events that the database does not have ({_some(invented)})")
    other = [
        one.event_id for one in heard if one.event_id in hub.events and one.event != hub.events[one.event_id].event
    ]
    if other:
        faults.append(f"{lane}: a request says something else than the event in the database ({_some(other)})")
    return faults


def _recorded(hub: State, lane: str, heard: Sequence[Heard]) -> list[str]:
    """The feed tells of each event's delivery, and of no delivery that was not."""
    taken = Counter(one.event_id for one in heard if one.taken)
    unrecorded = [one for one in hub.events if not hub.delivered[lane, one]]
    untrue = [one for one in hub.events if hub.delivered[lane, one] > taken[one]]
    faults: list[str] = []
    if unrecorded:
        faults.append(f"{lane}: no attempt says that it delivered ({_some(unrecorded)})")
    if untrue:
        faults.append(f"{lane}: more deliveries are recorded than were answered ({_some(untrue)})")
    return faults


def _order(hub: State, lane: str, heard: Sequence[Heard], verdict: Verdict, *, jumped: bool) -> list[str]:
    """Nobody's event comes before an earlier one was taken, unless it had waited as long as the lane allows."""
    first_came: dict[str, float] = {}
    first_came_ms: dict[str, int] = {}
    first_taken: dict[str, float] = {}
    for one in heard:
        first_came.setdefault(one.event_id, one.came_at)
        first_came_ms.setdefault(one.event_id, one.came_at_ms)
        if one.taken:
            first_taken.setdefault(one.event_id, one.answered_at or 0.0)
    wait_ms = LANES[lane].order_wait_ms
    faults: list[str] = []
    for theirs in _by_customer(hub).values():
        for earlier, later in pairwise(theirs):
            came, taken = first_came.get(later.id), first_taken.get(earlier.id)
            if came is None or taken is None or came >= taken:
                continue
            verdict.overtaken[lane] += 1
            held_s = (first_came_ms[later.id] - earlier.committed_at_ms) / 1000
            if wait_ms is None:
                faults.append(f"{lane}: {later} came {taken - came:.3f} s before {earlier.id} was taken")
            elif wait_ms == BOUNDED_WAIT_MS and not jumped and held_s * 1000 < wait_ms - 1000:
                faults.append(f"{lane}: {later} waited only {held_s:.3f} s for {earlier.id}")
    return faults[:5]


def _duplicates(hub: State, by_lane: Mapping[str, Sequence[Heard]], cuts: Sequence[Cut], verdict: Verdict) -> list[str]:
    """Whatever was taken twice had been sent and not yet written down when something was cut, and that is not much."""
    faults: list[str] = []
    after_cut: Counter[tuple[int, str]] = Counter()
    for lane, heard in by_lane.items():
        mute = Counter(one.event_id for one in heard if one.mood is Mood.MUTE)
        taken: defaultdict[str, list[Heard]] = defaultdict(list)
        for one in heard:
            if one.taken:
                taken[one.event_id].append(one)
        for event_id, takes in taken.items():
            between = [
                index
                for index, cut in enumerate(cuts)
                if cut.began <= takes[-1].came_at and cut.ended >= takes[0].came_at
            ]
            late = max(0, hub.timed_out[lane, event_id] - mute[event_id])
            again = len(takes) - 1
            verdict.duplicates += again
            verdict.too_late += min(late, again)
            if again > late + len(between):
                faults.append(f"{lane}: {event_id} was taken {len(takes)} times, with {len(between)} cuts between")
            elif again > late:
                after_cut[between[-1], lane] += 1
            if hub.delivered[lane, event_id] > 1 and not any(cuts[index].fences for index in between):
                faults.append(f"{lane}: {event_id} was sent again although its delivery was written down")
    for (cut, lane), count in after_cut.items():
        verdict.most_after_a_cut = max(verdict.most_after_a_cut, count)
        if count > HELD * LANES[lane].concurrency:
            faults.append(f"{lane}: {count} events were taken again after {cuts[cut].name}")
    return faults[:10]
