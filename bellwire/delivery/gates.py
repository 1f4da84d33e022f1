"""The gates of all lanes, between one turn of delivery and the next: what is saved, what is looked at, who may probe."""

from collections.abc import Callable, Iterable, Mapping

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from bellwire.db.attempts import AttemptRecord
from bellwire.db.lane_states import LaneChange, LaneState, load_lane_states, save_lane_changes, shut, take_probe
from bellwire.db.outbox import Held, release
from bellwire.db.outbox_claim import LaneClaim, LaneRoom
from bellwire.delivery.breaker import Rules
from bellwire.delivery.bucket import smaller
from bellwire.delivery.gate import Gate
from bellwire.destinations.registry import DESTINATIONS
from bellwire.model.projects import Integration

LOOK_EVERY_MS = 1_000
"""What another process or a person changed is seen this much later at most; idle hubs look only while a lane is shut."""


class GateTurn(msgspec.Struct, frozen=True, kw_only=True):
    """What the gates want of a turn's transaction."""

    changes: tuple[LaneChange, ...] = ()
    look: bool = False
    probes: frozenset[str] = frozenset()
    """Lanes whose room is for one row that probes them."""
    lost_at_ms: int = 0
    """When a probe that is not heard of again counts as lost."""


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """`states` of all lanes when they were looked at; `probing`: lanes whose probe is ours."""

    states: Mapping[str, LaneState] | None = None
    probing: frozenset[str] = frozenset()


class Gates:
    """One per process, on the event loop."""

    def __init__(
        self, *, rules: Rules | None = None, pause_after_days: float = 0, workers: Callable[[], int] = lambda: 1
    ) -> None:
        self._rules = rules
        self._pause_after_days = pause_after_days
        self._gates: dict[str, Gate] = {}
        self._looked_at_ms: int | None = None
        self._workers = workers

    @property
    def workers(self) -> int:
        """Processes that share every limit."""
        return max(1, self._workers())

    def of(self, integration: Integration) -> Gate:
        """The lane's gate, with its limits as they are configured now."""
        gate = self._gates.get(integration.id)
        if gate is None:
            gate = self._gates[integration.id] = Gate(
                integration.id, integration.project_id, rules=self._rules, pause_after_days=self._pause_after_days
            )
        declared = DESTINATIONS[integration.destination].rate_limit if integration.destination in DESTINATIONS else None
        gate.configure(smaller(integration.rate_limit, declared), workers=self.workers)
        return gate

    def forget(self, integration_id: str) -> None:
        """The lane is gone."""
        self._gates.pop(integration_id, None)

    def before(self, now_ms: int, *, probes: Iterable[str], lost_at_ms: int, last: bool = False) -> GateTurn:
        """What a turn shall do for the gates; hands the changes over."""
        changes = [gate.change(now_ms, last=last) for gate in self._gates.values()]
        since_look_ms = None if self._looked_at_ms is None else now_ms - self._looked_at_ms
        return GateTurn(
            changes=tuple(change for change in changes if change is not None),
            look=since_look_ms is None or not 0 <= since_look_ms < LOOK_EVERY_MS,
            probes=frozenset(probes),
            lost_at_ms=lost_at_ms,
        )

    def failed(self, turn: GateTurn) -> None:
        """The turn was not committed."""
        for change in turn.changes:
            gate = self._gates.get(change.integration_id)
            if gate is not None:
                gate.unsaved(change)

    def after(self, turn: GateTurn, result: GateResult, now_ms: int) -> None:
        """The turn was committed."""
        if result.states is not None:
            self._looked_at_ms = now_ms
            for integration_id, gate in self._gates.items():
                gate.adopt(result.states.get(integration_id, LaneState()))
        for integration_id in result.probing:
            self._gates[integration_id].probing(turn.lost_at_ms)

    def note(self, record: AttemptRecord, *, settled: bool, retry_after_s: float | None, now_ms: int) -> None:
        """An attempt has ended."""
        gate = self._gates.get(record.integration_id)
        if gate is not None:
            gate.note(record, settled=settled, retry_after_s=retry_after_s, now_ms=now_ms)

    def may_send(self, integration_id: str, now_ms: int) -> bool:
        """Whether a claimed row may go on the wire."""
        gate = self._gates.get(integration_id)
        return gate is None or gate.open(now_ms)

    def returned(self, integration_id: str, now_ms: int) -> None:
        """A claimed row was not sent and goes back."""
        gate = self._gates.get(integration_id)
        if gate is not None:
            gate.returned(1, now_ms)

    def next_at_ms(self, waiting: Iterable[str], now_ms: int) -> int | None:
        """When a turn is needed though nothing ends and no row falls due, with rows waiting in these lanes."""
        times = [gate.save_at_ms() for gate in self._gates.values()]
        for gate in (self._gates[one] for one in waiting if one in self._gates):
            times.append(gate.next_at_ms(now_ms))
            if gate.shut(now_ms):
                times.append((self._looked_at_ms or now_ms) + LOOK_EVERY_MS)
        return min((time for time in times if time is not None), default=None)


def save_and_look(
    connection: sa.Connection, rooms: Mapping[str, LaneRoom], turn: GateTurn, now_ms: int
) -> tuple[Mapping[str, LaneRoom], GateResult]:
    """Write what changed; when it is time look at what others wrote, and leave no room in lanes that they shut."""
    if turn.changes:
        save_lane_changes(connection, turn.changes, now_ms=now_ms)
    if not turn.look:
        return rooms, GateResult()
    states = load_lane_states(connection)
    closed = {one for one, state in states.items() if one in rooms and one not in turn.probes and shut(state, now_ms)}
    rooms = {one: replace(room, rows=0, late=0) if one in closed else room for one, room in rooms.items()}
    return rooms, GateResult(states=states)


def take_probes(connection: sa.Connection, turn: GateTurn, claims: dict[str, LaneClaim], now_ms: int) -> frozenset[str]:
    """Which of the lanes that were to be probed are ours to probe; the rows of the others go back."""
    ours: set[str] = set()
    for integration_id in turn.probes:
        claim = claims.get(integration_id)
        if claim is None or not claim.rows:
            continue
        if take_probe(connection, integration_id, now_ms=now_ms, lost_at_ms=turn.lost_at_ms):
            ours.add(integration_id)
        else:
            release(connection, [Held(row.id, row.fence) for row in claim.rows])
            claims[integration_id] = replace(claim, rows=[])
    return frozenset(ours)
