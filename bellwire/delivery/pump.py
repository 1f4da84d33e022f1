"""The loop between outbox and wire: each turn writes down what ended and takes what is due, in one transaction.

What was enqueued is taken at once; what ended waits a moment for more, unless a lane runs out of rows, so that under load
one turn settles and claims many rows. An idle hub sleeps until a commit brings work or something falls due.
"""

import asyncio
import time
from collections.abc import Iterable

import sqlalchemy as sa
import structlog
from msgspec.structs import replace

from bellwire.db.config import ConfigCache
from bellwire.db.lane_states import forget_probes
from bellwire.db.outbox import Fence, Held, enqueues_of_this_process, release_expired
from bellwire.db.outbox_claim import Claimed, LaneClaim, LaneRoom
from bellwire.db.postgres import is_away
from bellwire.db.writer import Writer, WriterClosed
from bellwire.delivery.dispatch import Dispatcher, skipped
from bellwire.delivery.gates import Gates
from bellwire.delivery.lanes import Lane
from bellwire.delivery.listeners import Listeners
from bellwire.delivery.observed import observe
from bellwire.delivery.senders import Senders
from bellwire.delivery.turn import Ended, Turn, TurnResult, run_turns
from bellwire.kit.clock import SystemClock
from bellwire.kit.ids import new_row_id

log = structlog.get_logger()

now_ms = SystemClock().now_ms
"""Transport lives in real time, whatever time the shop's events have."""

STOP_GRACE_S = 3.0
"""How long a stop waits for answers that are on their way; what is cut off then is sent again after the next start."""
_LEASE_MARGIN_MS = 10_000
_EXPIRY_EVERY_MS = 30_000
_POLL_MS = 1_000
"""Where other processes write to the same database, their commits are seen by looking."""
_TROUBLE_PAUSE_S = 1.0
_SETTLE_WITHIN_S = 0.005
"""How long what ended waits for more: a turn costs a commit and some ten statements, however little it writes down."""
_MANY_ENDED = 200
_ROOM_OF_DELETED = LaneRoom(rows=500, late=500, order_wait_ms=0)


class Pump:
    """One per process. `alone`: no other process delivers from this database."""

    def __init__(
        self,
        writer: Writer,
        config: ConfigCache,
        dispatcher: Dispatcher,
        listeners: Listeners,
        *,
        timeout_s: float,
        limit: int,
        alone: bool,
        gates: Gates | None = None,
    ) -> None:
        self._writer = writer
        self._config = config
        self._dispatcher = dispatcher
        self._listeners = listeners
        self._must_last_ms = int(timeout_s * 1000) + _LEASE_MARGIN_MS
        self._alone = alone
        self._senders = Senders(self._send, limit=limit)
        self._gates = gates or Gates()
        self._lanes: dict[str, Lane] = {}
        self._ended: list[Ended] = []
        self._settling: asyncio.TimerHandle | None = None
        self._released: list[Held] = []
        self._by_hand: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self._event = asyncio.Event()
        self._seen_enqueues = -1
        self._next_at_ms: int | None = None
        self._next_expiry_ms = 0

    @property
    def running(self) -> bool:
        return self._loop is not None and not self._stopping

    async def run(self) -> None:
        """Deliver until `stop`. At the end rows that were taken and not attempted are given back."""
        self._loop = asyncio.get_running_loop()
        self._writer.on_commit(self.wake)
        try:
            if self._alone:
                await self._writer.change(_start_alone)
            while not self._stopping:
                await self._turn()
                await self._sleep()
        finally:
            await self._wind_down()
            self._loop = None

    def stop(self) -> None:
        """End `run`; call it in the loop's thread."""
        self._stopping = True
        self._event.set()

    def wake(self) -> None:
        """Something was committed: look if it brought work. Callable from any thread, at any time."""
        enqueues = enqueues_of_this_process()
        if enqueues != self._seen_enqueues and self._loop is not None and not self._loop.is_closed():
            self._seen_enqueues = enqueues
            self._loop.call_soon_threadsafe(self._event.set)

    def look_now(self) -> None:
        """Another process committed work; call it in the loop's thread."""
        self._event.set()

    def lease(self) -> tuple[Fence, int]:
        """A fresh fence, and until when rows taken with it are held: time to wait for a slot and then to be sent."""
        return Fence(new_row_id()), now_ms() + 2 * self._must_last_ms + 4 * _LEASE_MARGIN_MS

    def send_now(self, row: Claimed) -> None:
        """Send a row that was taken by hand, past its lane's queue and concurrency."""
        task = asyncio.create_task(self._dispatch([row]))
        self._by_hand.add(task)
        task.add_done_callback(self._by_hand.discard)

    async def _sleep(self) -> None:
        """Until something ended, was enqueued, or falls due."""
        due_ms = self._next_expiry_ms if self._next_at_ms is None else min(self._next_at_ms, self._next_expiry_ms)
        present_ms = now_ms()
        if not self._alone:
            due_ms = min(due_ms, present_ms + _POLL_MS)
        wait_ms = min(max(0, due_ms - present_ms), _EXPIRY_EVERY_MS)
        timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._event.set)
        try:
            await self._event.wait()
        finally:
            timer.cancel()
            self._event.clear()
            if self._settling is not None:
                self._settling.cancel()
                self._settling = None

    async def _turn(self) -> None:
        self._follow_config()
        present_ms = now_ms()
        fence, lease_until_ms = self.lease()
        rooms = {lane_id: lane.room(present_ms) for lane_id, lane in self._lanes.items()}
        probes = [lane_id for lane_id, lane in self._lanes.items() if lane.admitted.probe]
        turn = replace(
            self._settlement(),
            rooms=rooms,
            gates=self._gates.before(present_ms, probes=probes, lost_at_ms=lease_until_ms),
            room_of_deleted=_ROOM_OF_DELETED,
            fence=fence,
            lease_until_ms=lease_until_ms,
            expire_leases=not 0 < self._next_expiry_ms - present_ms <= _EXPIRY_EVERY_MS,  # or the clock was set back
        )
        began_s = time.perf_counter()
        try:
            result = await self._writer.write(run_turns, turn)
        except WriterClosed:
            self.stop()
        except Exception as error:
            if is_away(error):
                log.warning("delivery.waits", why="the database is away", ended=len(turn.ended))
            else:
                log.exception("delivery.turn_failed", ended=len(turn.ended))
            self._gates.failed(turn.gates)
            await self._save_one_by_one(turn)
            await asyncio.sleep(_TROUBLE_PAUSE_S)
            self._event.set()
        else:
            if turn.expire_leases:
                self._next_expiry_ms = present_ms + _EXPIRY_EVERY_MS
            self._note(turn, result, began_s)
            self._gates.after(turn.gates, result.gates, present_ms)
            self._take(result.claims)

    def _note(self, turn: Turn, result: TurnResult, began_s: float) -> None:
        self._listeners.note(turn, result)
        try:
            observe(turn, result, self._config.current().integrations, began_s=began_s)
        except Exception:
            log.exception("delivery.not_observed")  # it is done and written down all the same, and more is claimed

    def _settlement(self) -> Turn:
        """A turn with everything that ended so far."""
        turn = Turn(now_ms=now_ms(), ended=self._ended, released=self._released)
        self._ended = list[Ended]()
        self._released = list[Held]()
        return turn

    async def _save_one_by_one(self, turn: Turn) -> None:
        """A record that the database refuses must not hold up the others: it is left out, and its row comes again when
        the lease runs out. While the database itself is in trouble everything is kept for the next turn."""
        self._released += turn.released
        for ended in turn.ended:
            try:
                await self._writer.write(run_turns, Turn(now_ms=turn.now_ms, ended=[ended]))
            except Exception as error:
                if is_away(error):
                    self._ended.append(ended)
                    continue
                record = ended.record
                log.exception("attempt.not_recorded", event_id=record.event_id, integration_id=record.integration_id)

    def _follow_config(self) -> None:
        """Lanes of new integrations come, lanes of deleted ones go when they are empty."""
        present = self._config.current().integrations
        for integration in present.values():
            lane = self._lanes.get(integration.id)
            if lane is None:
                lane = self._lanes[integration.id] = Lane(integration)
            lane.integration = integration
            lane.gate = self._gates.of(integration)
            lane.workers = self._gates.workers
            lane.batch = self._dispatcher.batch_of(integration)
        for lane in [lane for lane in self._lanes.values() if lane.integration.id not in present and not lane.held]:
            del self._lanes[lane.integration.id]
            self._gates.forget(lane.integration.id)

    def _take(self, claims: dict[str, LaneClaim]) -> None:
        present_ms = now_ms()
        for lane in self._lanes.values():
            lane.more = lane.integration.id in claims and claims[lane.integration.id].full
        for lane_id, claim in claims.items():
            lane = self._lanes.get(lane_id)
            if lane is None:
                for row in claim.rows:
                    self._end(skipped(row, "the integration was deleted"))
                continue
            lane.gate.claimed(lane.admitted, len(claim.rows), present_ms)
            if claim.rows:
                lane.take(claim.rows, present_ms)
                self._senders.feed(lane)
        times = [one.next_at_ms for one in claims.values()]
        times.append(self._gates.next_at_ms((one for one in claims if one in self._lanes), present_ms))
        self._next_at_ms = min((at_ms for at_ms in times if at_ms is not None), default=None)

    async def _send(self, rows: list[Claimed]) -> None:
        """Called by a sender when the rows have their slot on the wire."""
        present_ms = now_ms()
        late = min(row.lease_until_ms for row in rows) - present_ms < self._must_last_ms
        if self._stopping or late or not self._gates.may_send(rows[0].integration_id, present_ms):
            self._give_back(rows)
        else:
            await self._dispatch(rows)

    async def _dispatch(self, rows: list[Claimed]) -> None:
        left = {row.id: row for row in rows}

        def end(row: Claimed, ended: Ended) -> None:
            del left[row.id]
            self._end(ended)
            self._keep_order(row, ended)

        try:
            await self._dispatcher.deliver(rows, end)
        finally:
            if left:
                self._give_back(left.values())

    def _keep_order(self, row: Claimed, ended: Ended) -> None:
        """What the lane holds of a customer goes back when an earlier event failed: the database knows who waits."""
        lane = self._lanes.get(row.integration_id)
        if lane is not None and lane.batch is not None and not ended.settled:
            self._give_back(lane.withdraw(row.customer_id))

    def _end(self, ended: Ended) -> None:
        self._gates.note(ended.record, settled=ended.settled, retry_after_s=ended.retry_after_s, now_ms=now_ms())
        self._ended.append(ended)
        lane = self._lanes.get(ended.record.integration_id)
        if lane is None or lane.short or len(self._ended) >= _MANY_ENDED:
            self._event.set()
        elif self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(_SETTLE_WITHIN_S, self._event.set)

    def _give_back(self, rows: Iterable[Claimed]) -> None:
        """Cancellation is no attempt: the rows are due again as they were."""
        present_ms = now_ms()
        for row in rows:
            self._gates.returned(row.integration_id, present_ms)
            self._released.append(Held(row.id, row.fence))
        self._event.set()

    async def _wind_down(self) -> None:
        self._stopping = True
        for lane in self._lanes.values():
            self._give_back(lane.drain())
        await self._settle()  # at once: another worker may go on with what is not on the wire
        await self._senders.drain(STOP_GRACE_S)
        for task in self._by_hand:
            task.cancel()
        await asyncio.gather(*self._by_hand, return_exceptions=True)
        await self._settle()

    async def _settle(self) -> None:
        """Write down what ended and give back what is not sent, without claiming."""
        gates = self._gates.before(now_ms(), probes=(), lost_at_ms=0, last=True)
        turn = replace(self._settlement(), gates=gates)
        try:
            began_s = time.perf_counter()
            self._note(turn, await self._writer.write(run_turns, turn), began_s)
        except WriterClosed:
            log.warning("delivery.stopped_late", ended=len(turn.ended), held=len(turn.released))


def _start_alone(connection: sa.Connection) -> None:
    """Nobody else can hold a lease or have a probe on its way."""
    release_expired(connection, now_ms=None)
    forget_probes(connection)
