"""Lanes among each other and within themselves: limits, holds, breakers and pauses, seen at real receivers."""

import asyncio
from pathlib import Path

import msgspec
import sqlalchemy as sa

from bellwire.db.integrations import Filters
from bellwire.db.lane_states import BreakerState, pause_lane, resume_lane
from bellwire.db.notices import list_notices
from bellwire.db.outbox import State
from bellwire.db.tables import outbox
from bellwire.delivery.breaker import Rules
from bellwire.model.projects import Integration, RateLimit
from tests.support.deliveries import Hub, now_ms, open_hub, play, until
from tests.support.rude_server import RudeServer, hang, rude_server, status

LONG_MS = 600_000
RULES = Rules(failures=3, over_ms=0, first_pause_ms=LONG_MS, longest_pause_ms=LONG_MS, jitter_share=0)
ONE_AT_ONCE = Filters(concurrency=1)
DAY_MS = 86_400_000


def events_at(server: RudeServer, path: str) -> list[str]:
    """Ids of the events that a receiver was given, in the order of arrival."""
    bodies = [msgspec.json.decode(request.body, type=dict[str, object]) for request in server.to(path)]
    return [str(msgspec.convert(body["event"], dict[str, object])["id"]) for body in bodies]


async def others_have_passed(hub: Hub, server: RudeServer, other: Integration, count: int = 20) -> None:
    """Turns go on: so many events of another lane have gone through since."""
    already = len(server.to("/other"))
    for number in range(count):
        hub.emit(other, customer_id=100 + number)
    await server.until("/other", already + count)


def untouched(hub: Hub, integration: Integration) -> int:
    """Rows that wait and were never attempted."""
    waiting = [row for row in hub.waiting() if row.integration_id == integration.id]
    return sum(row.attempt == 0 and row.state == State.DUE.value for row in waiting)


def emit_for_many(hub: Hub, integration: Integration, count: int) -> None:
    """One event each of so many customers, so that none waits for another."""
    for number in range(count):
        hub.emit(integration, customer_id=number)


def test_a_rate_limit_holds_back_what_is_above_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            limit = RateLimit(events_per_s=0.001, burst=3)
            limited = hub.webhook(f"{server.base_url}/in", filters=Filters(rate_limit=limit))
            other = hub.webhook(f"{server.base_url}/other")
            emit_for_many(hub, limited, 10)
            async with hub.delivering():
                await server.until("/in", 3)
                await others_have_passed(hub, server, other)
                assert len(server.to("/in")) == 3
                assert untouched(hub, limited) == 7

    play(scene)


def test_a_limited_lane_goes_on_as_its_bucket_fills(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            limit = RateLimit(events_per_s=50, burst=1)
            limited = hub.webhook(f"{server.base_url}/in", filters=Filters(rate_limit=limit))
            emit_for_many(hub, limited, 12)
            async with hub.delivering():
                await server.until("/in", 12)
            assert hub.waiting() == []

    play(scene)


def test_a_lane_without_tokens_gives_first_attempts_and_retries_their_turn(tmp_path: Path) -> None:
    """With one token at a time retries, which are claimed first, would take every one."""

    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            limit = RateLimit(events_per_s=20, burst=1)
            limited = hub.webhook(f"{server.base_url}/in", filters=Filters(rate_limit=limit))
            emit_for_many(hub, limited, 12)
            late = hub.waiting()[:6]
            hub.change(sa.update(outbox).where(outbox.c.id <= late[-1].id).values(attempt=3, due_at_ms=0, late=True))
            async with hub.delivering():
                await server.until("/in", 12)
                await until(lambda: len(hub.attempts()) == 12)
            first_half = [attempt.attempt for attempt in hub.attempts()[:6]]
            assert 2 <= sum(number > 1 for number in first_half) <= 4

    play(scene)


def test_retry_after_holds_the_whole_lane_and_no_other(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = status(429, b"slow down", Retry_After="600")
            asked = hub.webhook(f"{server.base_url}/in", filters=ONE_AT_ONCE)
            other = hub.webhook(f"{server.base_url}/other")
            emit_for_many(hub, asked, 10)
            async with hub.delivering():
                await until(lambda: hub.lane(asked).blocked_until_ms)
                await others_have_passed(hub, server, other)
                assert len(server.to("/in")) == 1
                assert untouched(hub, asked) == 9
                held_ms = (hub.lane(asked).blocked_until_ms or 0) - now_ms()
                assert 0 < held_ms <= 600_000
                server.replies["/in"] = status(200)
                hub.tell(asked, blocked_until_ms=None)
                await server.until("/in", 10)

    play(scene)


def test_an_open_breaker_is_no_attempt_and_keeps_places(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path, rules=RULES) as hub:
            server.replies["/in"] = status(503)
            dead = hub.webhook(f"{server.base_url}/in", filters=ONE_AT_ONCE)
            other = hub.webhook(f"{server.base_url}/other")
            emit_for_many(hub, dead, 12)
            before = {row.id: row.due_at_ms for row in hub.waiting()}
            async with hub.delivering():
                await until(lambda: hub.lane(dead).breaker is BreakerState.OPEN)
                await others_have_passed(hub, server, other)
                assert len(server.to("/in")) == 3
                assert untouched(hub, dead) == 9
                waiting = [row for row in hub.waiting() if row.integration_id == dead.id and row.attempt == 0]
                assert all(before[row.id] == row.due_at_ms for row in waiting)

                server.replies["/in"] = status(200)
                hub.tell(dead, next_probe_at_ms=0)
                await server.until("/in", 3 + 9)
                await until(lambda: hub.lane(dead).breaker is BreakerState.CLOSED)
            expected = [row.event_seq for row in waiting]
            fresh = [attempt.event_seq for attempt in hub.attempts(dead) if attempt.outcome == "delivered"]
            assert fresh == expected

    play(scene)


def test_a_probe_that_fails_is_one_request_and_a_longer_pause(tmp_path: Path) -> None:
    async def scene() -> None:
        rules = msgspec.structs.replace(RULES, longest_pause_ms=8 * LONG_MS)
        async with rude_server() as server, open_hub(tmp_path, rules=rules) as hub:
            server.replies["/in"] = status(500)
            dead = hub.webhook(f"{server.base_url}/in", filters=ONE_AT_ONCE)
            other = hub.webhook(f"{server.base_url}/other")
            emit_for_many(hub, dead, 12)
            async with hub.delivering():
                await until(lambda: hub.lane(dead).openings == 1)
                for probes in (1, 2):
                    hub.tell(dead, next_probe_at_ms=0)
                    await until(lambda expected=probes + 1: hub.lane(dead).openings == expected)
                    await others_have_passed(hub, server, other)
                    assert len(server.to("/in")) == 3 + probes
                pause_ms = (hub.lane(dead).next_probe_at_ms or 0) - now_ms()
                assert 2 * LONG_MS < pause_ms <= 4 * LONG_MS

    play(scene)


def test_while_a_probe_is_on_its_way_nothing_else_goes(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path, rules=RULES) as hub:
            server.replies["/in"] = status(500)
            dead = hub.webhook(f"{server.base_url}/in")
            other = hub.webhook(f"{server.base_url}/other")
            emit_for_many(hub, dead, 100)
            async with hub.delivering():
                await until(lambda: hub.lane(dead).breaker is BreakerState.OPEN)
                await until(lambda: all(row.state == State.DUE.value for row in hub.waiting()))
                sent = len(server.to("/in"))
                server.replies["/in"] = hang
                hub.tell(dead, next_probe_at_ms=0)
                await server.until("/in", sent + 1)
                await until(lambda: hub.lane(dead).breaker is BreakerState.HALF_OPEN)
                await others_have_passed(hub, server, other)
                assert len(server.to("/in")) == sent + 1

    play(scene)


def test_a_breaker_stays_open_over_a_restart(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path, rules=RULES) as hub:
            server.replies["/in"] = status(500)
            dead = hub.webhook(f"{server.base_url}/in", filters=ONE_AT_ONCE)
            other = hub.webhook(f"{server.base_url}/other")
            emit_for_many(hub, dead, 10)
            async with hub.delivering():
                await until(lambda: hub.lane(dead).breaker is BreakerState.OPEN)
            sent = len(server.to("/in"))
            async with hub.delivering():
                await others_have_passed(hub, server, other)
                assert len(server.to("/in")) == sent == 3

    play(scene)


def test_a_probe_that_died_with_its_process_is_sent_by_the_next(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path, rules=RULES) as hub:
            lane = hub.webhook(f"{server.base_url}/in")
            hub.tell(
                lane,
                breaker=BreakerState.HALF_OPEN,
                breaker_since_ms=1,
                openings=2,
                next_probe_at_ms=now_ms() + LONG_MS,
            )
            emit_for_many(hub, lane, 5)
            async with hub.delivering():
                await server.until("/in", 5)
            assert hub.lane(lane).breaker is BreakerState.CLOSED

    play(scene)


def test_a_refusing_receiver_opens_no_breaker(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path, rules=RULES) as hub:
            server.replies["/in"] = status(400)
            lane = hub.webhook(f"{server.base_url}/in", filters=ONE_AT_ONCE)
            emit_for_many(hub, lane, 10)
            async with hub.delivering():
                await server.until("/in", 10)
            assert hub.lane(lane).breaker is BreakerState.CLOSED

    play(scene)


def test_a_paused_lane_keeps_its_events_and_sends_them_in_order_when_resumed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            lane = hub.webhook(f"{server.base_url}/in", filters=ONE_AT_ONCE)
            other = hub.webhook(f"{server.base_url}/other")
            async with hub.delivering():
                await others_have_passed(hub, server, other, 1)
                hub.writer.submit_change(
                    lambda c: pause_lane(c, lane.project_id, lane.id, reason="by hand", now_ms=now_ms())
                ).result()
                await asyncio.sleep(0)
                for _ in range(3):  # by the next look, at the latest a second away, the lane is shut
                    hub.emit(other)
                await server.until("/other", 4)
                await until(lambda: hub.delivery.gates.of(lane).state.paused_at_ms)
                emit_for_many(hub, lane, 10)
                await others_have_passed(hub, server, other)
                assert server.to("/in") == []
                assert untouched(hub, lane) == 10
                hub.writer.submit_change(lambda c: resume_lane(c, lane.project_id, lane.id)).result()
                await server.until("/in", 10)
            assert [event.split("-")[1] for event in events_at(server, "/in")] == [str(number) for number in range(10)]

    play(scene)


def test_days_of_nothing_but_failure_pause_a_lane_with_a_notice(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            server.replies["/in"] = status(404)
            gone = hub.webhook(f"{server.base_url}/in", filters=ONE_AT_ONCE)
            other = hub.webhook(f"{server.base_url}/other")
            hub.tell(gone, failing_since_ms=now_ms() - 5 * DAY_MS, failures=50)
            emit_for_many(hub, gone, 10)
            async with hub.delivering():
                await until(lambda: hub.lane(gone).paused_at_ms)
                await others_have_passed(hub, server, other)
                assert len(server.to("/in")) == 1
                assert untouched(hub, gone) == 9
            with hub.engine.connect() as connection:
                (notice,) = list_notices(connection, gone.project_id)
            assert "nothing but failures for 5 days, the last: answered 404" in notice.message

    play(scene)


def test_what_went_last_is_visible(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            began_ms = now_ms()
            lane = hub.webhook(f"{server.base_url}/in", filters=ONE_AT_ONCE)
            hub.emit(lane)
            async with hub.delivering():
                await until(lambda: hub.lane(lane).last_success_at_ms)
                server.replies["/in"] = status(500, b"no")
                hub.emit(lane, customer_id=2)
                await until(lambda: hub.lane(lane).last_failure_at_ms)
            state = hub.lane(lane)
            assert began_ms <= (state.last_success_at_ms or 0) <= (state.last_failure_at_ms or 0)
            assert (state.last_failure, state.failures) == ("answered 500", 1)

    play(scene)


def test_a_hanging_destination_with_a_backlog_leaves_the_others_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path, delivery_concurrency=4) as hub:
            server.replies["/in"] = hang
            slow = hub.webhook(f"{server.base_url}/in", filters=Filters(concurrency=32))
            other = hub.webhook(f"{server.base_url}/other")
            emit_for_many(hub, slow, 200)
            async with hub.delivering():
                await server.until("/in", 2)
                await others_have_passed(hub, server, other, 100)
                assert len(server.to("/in")) <= 4

    play(scene)


def test_fresh_events_overtake_old_retries(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rude_server() as server, open_hub(tmp_path) as hub:
            lane = hub.webhook(f"{server.base_url}/in", filters=Filters(concurrency=8))
            emit_for_many(hub, lane, 100)
            hub.change(sa.update(outbox).values(attempt=2, due_at_ms=1, late=True))
            fresh = set(hub.emit(lane, customer_id=1000) + hub.emit(lane, customer_id=1001))
            server.replies["/in"] = hang  # what is on the wire first stays there
            async with hub.delivering():
                await server.until("/in", 6)
                ids = {row.event_seq for row in hub.waiting() if row.event_seq in fresh}
                assert ids == fresh
                arrived = {event.split("-")[1] for event in events_at(server, "/in")}
                assert {"1000", "1001"} <= arrived

    play(scene)
