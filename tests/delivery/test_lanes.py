"""Who may be on the wire: each lane within its concurrency, and a bound over all that starves nobody."""

import asyncio
from collections import Counter

import pytest
from msgspec.structs import replace

from bellwire.db.outbox import Fence
from bellwire.db.outbox_claim import YOUNG_MS, Claimed
from bellwire.delivery.lanes import AHEAD, Lane
from bellwire.delivery.senders import GUARANTEED, Senders
from bellwire.model.projects import Integration


def lane(name: str, concurrency: int) -> Lane:
    return Lane(
        Integration(id=name, project_id="p", destination="webhook", name=name, settings={}, concurrency=concurrency)
    )


def rows(name: str, count: int, *, late: bool = False) -> list[Claimed]:
    return [
        Claimed(
            id=number,
            integration_id=name,
            event_seq=number,
            customer_id=number,
            attempt=0,
            manual=False,
            late=late,
            fence=Fence(1),
            due_at_ms=0,
            lease_until_ms=0,
            project_id="p",
            event_id=f"E{number}",
            event_type="RENEWAL",
            app_user_id=None,
            environment=None,
            payload=b"{}",
        )
        for number in range(count)
    ]


def test_room_shrinks_with_what_is_held() -> None:
    one = lane("a", 10)
    assert (one.room().rows, one.room().late) == (10 * AHEAD, 5)
    one.take(rows("a", 3) + rows("a", 4, late=True))
    assert (one.room().rows, one.room().late) == (10 * AHEAD - 7, 1)
    sent = [one.next() for _ in range(7)]
    assert (one.sending, one.room().rows) == (7, 10 * AHEAD - 7)
    for row in sent:
        one.done(row)
    assert (one.room().rows, one.room().late) == (10 * AHEAD, 5)


def test_a_drained_lane_holds_only_what_is_on_the_wire() -> None:
    one = lane("a", 2)
    one.take(rows("a", 4, late=True))
    row = one.next()
    assert len(one.drain()) == 3
    assert (one.held, one.room().late) == (1, 0)
    one.done(row)
    assert (one.held, one.room().late) == (0, 1)


@pytest.mark.parametrize("concurrency", [0, 1])
def test_every_lane_can_send_something(concurrency: int) -> None:
    assert lane("a", concurrency).room().rows >= 1
    assert lane("a", concurrency).room().late == 1


class Wire:
    """Counts who is on it, and lets them off when told."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.peak = 0
        self.sent: Counter[str] = Counter()
        self.open = asyncio.Event()

    async def send(self, rows: list[Claimed]) -> None:
        (row,) = rows
        self.now[row.integration_id] += 1
        self.most |= self.now
        self.peak = max(self.peak, self.now.total())
        await self.open.wait()
        await asyncio.sleep(0)
        self.now[row.integration_id] -= 1
        self.sent[row.integration_id] += 1


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_lane_keeps_to_its_concurrency() -> None:
    async def main() -> None:
        wire = Wire()
        senders = Senders(wire.send, limit=100)
        one = lane("a", 3)
        one.take(rows("a", 12))
        senders.feed(one)
        await settle()
        assert wire.now["a"] == 3
        wire.open.set()
        await senders.drain(5)
        assert (wire.most["a"], wire.sent["a"], one.held) == (3, 12, 0)

    asyncio.run(main())


def test_the_bound_over_all_leaves_every_lane_its_share() -> None:
    async def main() -> None:
        wire = Wire()
        senders = Senders(wire.send, limit=6)
        lanes = [lane(name, 8) for name in "abc"]
        for one in lanes:
            one.take(rows(one.integration.id, 20))
            senders.feed(one)
        await settle()
        assert wire.now == {"a": 6, "b": GUARANTEED, "c": GUARANTEED}
        wire.open.set()
        while sum(wire.sent.values()) < 60:
            await asyncio.sleep(0)
        await senders.drain(5)
        assert wire.sent == {"a": 20, "b": 20, "c": 20}
        assert wire.peak <= 6 + 2 * GUARANTEED

    asyncio.run(main())


def test_cancelled_senders_let_go_of_their_rows() -> None:
    async def main() -> None:
        wire = Wire()
        senders = Senders(wire.send, limit=10)
        one = lane("a", 2)
        one.take(rows("a", 2))
        senders.feed(one)
        await settle()
        await senders.drain(0)
        assert (one.held, wire.sent["a"]) == (0, 0)

    asyncio.run(main())


def test_young_rows_go_before_a_backlog() -> None:
    one, now_ms = lane("a", 2), YOUNG_MS + 100
    one.take([replace(row, due_at_ms=5) for row in rows("a", 3)], now_ms)
    young = [replace(row, id=row.id + 10, due_at_ms=now_ms) for row in rows("a", 2)]
    one.take(young, now_ms)
    assert [row.id for row in one.ready] == [10, 11, 0, 1, 2]


def test_without_a_backlog_rows_keep_their_order() -> None:
    one, now_ms = lane("a", 2), YOUNG_MS + 100
    one.take([replace(row, due_at_ms=now_ms - 50) for row in rows("a", 2)], now_ms)
    one.take([replace(row, id=row.id + 10, due_at_ms=now_ms) for row in rows("a", 2)], now_ms)
    assert [row.id for row in one.ready] == [0, 1, 10, 11]
