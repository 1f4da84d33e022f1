"""The judge of the chaos rounds sees what it is there to see: each fault that it knows is found when it is there."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tests.chaos.fleet import Cut
from tests.chaos.receiver import Heard, Mood
from tests.chaos.verdict import State, Verdict, Written, judge
from tests.chaos.world import LANES, Told

TOLD = Told(notifications={"n-1": True}, receipts=[("chain-1", "anna")], purchases=["chain-1"])
A, B = "A", "B"


def event(id_: str, sequence: int) -> dict[str, object]:
    return {"id": id_, "type": "RENEWAL", "customer_sequence": sequence, "price": 1.0}


def written(id_: str, sequence: int) -> Written:
    return Written(id=id_, customer_id=1, committed_at_ms=0, event=event(id_, sequence))


def state() -> State:
    """Two events of one customer, delivered to all lanes."""
    return State(
        events={A: written(A, 1), B: written(B, 2)},
        inbox={"n-1": ("processed", "")},
        chains={"chain-1": 1},
        customers={"anna": 1},
        outbox=[],
        delivered=Counter({(lane, id_): 1 for lane in LANES for id_ in (A, B)}),
        timed_out=Counter(),
    )


def request(lane: str, id_: str, at: float, *, mood: Mood = Mood.TAKE, answered_at: float | None = None) -> Heard:
    sequence = 1 if id_ == A else 2
    return Heard(
        lane=lane,
        event_id=id_,
        event=event(id_, sequence),
        headers={},
        came_at=at,
        came_at_ms=int(at * 1000),
        mood=mood,
        answered_at=at + 0.1 if answered_at is None else answered_at,
    )


def requests() -> list[Heard]:
    return [request(lane, id_, at) for lane in LANES for id_, at in ((A, 1.0), (B, 2.0))]


def verdict(
    hub: State | None = None,
    twin: State | None = None,
    told: Told = TOLD,
    heard: Sequence[Heard] | None = None,
    cuts: Sequence[Cut] = (),
) -> Verdict:
    return judge(hub or state(), twin or state(), told, requests() if heard is None else heard, cuts, jumped=False)


def only(found: Verdict, words: str) -> None:
    assert len(found.faults) == 1, found.faults
    assert words in found.faults[0]


def cut_at(at: float, *, fences: bool = False) -> Cut:
    return Cut(name="SIGKILL", began=at, ended=at, kills=1, fences=fences)


def test_a_round_without_faults() -> None:
    found = verdict()
    assert found.faults == []
    assert (found.notifications, found.receipts, found.events, found.requests, found.duplicates) == (1, 1, 2, 6, 0)


def test_an_accepted_notification_that_is_gone() -> None:
    hub = state()
    hub.inbox.clear()
    only(verdict(hub), "not in the inbox")


def test_a_notification_that_was_not_worked_through() -> None:
    hub = state()
    hub.inbox["n-1"] = ("received", "")
    only(verdict(hub), "not worked through")


def test_an_accepted_receipt_that_is_gone() -> None:
    hub = state()
    hub.chains.clear()
    assert [words.split(" (")[0] for words in verdict(hub).faults] == [
        "accepted receipts are not in the state",
        "purchases are not in the state",
    ]


def test_a_receipt_that_went_to_somebody_else() -> None:
    hub = state()
    hub.chains["chain-1"] = 2
    only(verdict(hub), "somebody else")


def test_a_row_that_is_left_on_lease() -> None:
    hub = state()
    hub.outbox.append("state 1")
    only(verdict(hub), "left in the outbox")


def test_an_event_that_the_twin_does_not_have() -> None:
    twin = state()
    del twin.events[B]
    only(verdict(twin=twin), "does not derive")


def test_an_event_that_only_the_twin_has() -> None:
    twin = state()
    twin.events["C"] = written("C", 3)
    only(verdict(twin=twin), "are missing")


def test_an_event_with_another_price_than_the_twins() -> None:
    twin = state()
    twin.events[A] = replace(written(A, 1), event=event(A, 1) | {"price": 2.0})
    only(verdict(twin=twin), "price 1.0 / 2.0")


def test_a_gap_in_a_customers_sequence() -> None:
    hub = state()
    hub.events[B] = replace(written(B, 2), event=event(B, 3))
    assert "gaps or repeats" in verdict(hub).faults[0]


def test_an_event_that_never_arrived() -> None:
    heard = [one for one in requests() if (one.lane, one.event_id) != ("strict", B)]
    assert any("never reached" in words for words in verdict(heard=heard).faults)


def test_an_event_that_was_only_refused() -> None:
    heard = requests()
    heard[1] = replace(heard[1], mood=Mood.FAIL)
    assert any("never reached" in words for words in verdict(heard=heard).faults)


def test_an_invented_event() -> None:
    only(verdict(heard=[*requests(), request("strict", "Z", 3.0)]), "does not have")


def test_a_request_that_says_something_else_than_the_database() -> None:
    heard = requests()
    heard[0] = replace(heard[0], event=event(A, 9))
    only(verdict(heard=heard), "says something else")


def test_a_delivery_that_nobody_wrote_down() -> None:
    hub = state()
    del hub.delivered["bounded", A]
    only(verdict(hub), "no attempt says")


def test_a_later_event_that_came_before_an_earlier_one_was_taken() -> None:
    heard = [request(lane, id_, at) for lane in LANES for id_, at in ((A, 2.0), (B, 1.0))]
    found = verdict(heard=heard)
    assert [words.partition(":")[0] for words in found.faults] == ["strict", "bounded"]
    assert found.overtaken["careless"] == 1


def test_the_bounded_lane_may_go_on_when_the_wait_is_over() -> None:
    late = [request("bounded", A, 9.0), request("bounded", B, 4.0)]
    assert verdict(heard=[one for one in requests() if one.lane != "bounded"] + late).faults == []


def test_a_repeat_without_a_cause() -> None:
    only(verdict(heard=[*requests(), request("strict", A, 5.0)]), "taken 2 times, with 0 cuts")


def test_a_repeat_after_a_kill() -> None:
    found = verdict(heard=[*requests(), request("strict", A, 5.0)], cuts=[cut_at(3.0)])
    assert found.faults == []
    assert (found.duplicates, found.most_after_a_cut) == (1, 1)


def test_more_repeats_than_kills() -> None:
    heard = [*requests(), request("strict", A, 5.0), request("strict", A, 6.0)]
    only(verdict(heard=heard, cuts=[cut_at(3.0)]), "taken 3 times, with 1 cuts")


def test_a_repeat_of_what_was_written_down() -> None:
    hub = state()
    hub.delivered["strict", A] = 2
    heard = [*requests(), request("strict", A, 5.0)]
    only(verdict(hub, heard=heard, cuts=[cut_at(3.0)]), "although its delivery was written down")
    assert verdict(hub, heard=heard, cuts=[cut_at(3.0, fences=True)]).faults == []


def test_a_repeat_of_what_was_answered_too_late() -> None:
    hub = state()
    hub.timed_out["strict", A] = 1
    found = verdict(hub, heard=[*requests(), request("strict", A, 5.0)])
    assert found.faults == []
    assert found.too_late == 1
