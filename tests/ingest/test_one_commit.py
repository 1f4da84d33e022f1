"""Units that share a commit: each sees what those before it did, and a refused one leaves nothing behind."""

from typing import Any

import pytest
from msgspec.structs import replace

from bellwire.db.projects import create_project
from bellwire.db.tables import app_user_ids, attributes, chains, customers, events, outbox
from bellwire.engine.attributes import AttributeChange
from bellwire.ingest.calls import IngestError
from bellwire.ingest.facts import anonymous_id
from bellwire.ingest.units import Applied, Identify, SeeCustomer, Seen
from bellwire.model.enums import ProductType, RestoreBehavior
from bellwire.model.facts import Replacement
from bellwire.model.projects import ProjectSettings
from tests.ingest.workbench import VISIT, Bench

NOBODY = "$RCAnonymousID:" + "0" * 32


def seen(result: Any) -> Seen:
    assert isinstance(result, Seen), result
    return result


def keeps_purchases(it: Bench) -> None:
    """Set the project to refuse purchases of somebody else."""
    it.config.current()  # loaded, so that this copy of it stays
    project = it.config.current().projects[it.project_id]
    settings = ProjectSettings(restore_behavior=RestoreBehavior.KEEP)
    it.config.current().projects[it.project_id] = replace(project, settings=settings)


def test_events_of_a_customer_who_was_made_and_merged_in_one_commit_belong_to_the_survivor(it: Bench) -> None:
    it.do(SeeCustomer(project_id=it.project_id, app_user_id="ann", visit=VISIT))
    it.clock.advance_ms(1000)
    bought = it.snapshot("A")
    it.do(it.notified(bought), it.posted("ann", bought))
    (customer,) = it.rows(customers)
    assert [row["type"] for row in it.rows(events)] == ["INITIAL_PURCHASE"]
    for table in (events, outbox, chains):
        assert [row["customer_id"] for row in it.rows(table)] == [customer["id"]]


def test_events_of_customers_who_are_merged_later_follow_them_in_the_queue_too(it: Bench) -> None:
    it.do(it.notified(it.snapshot("A")))
    it.do(it.posted("ann", it.snapshot("A")))
    (customer,) = it.rows(customers)
    for table in (events, outbox, chains, app_user_ids):
        assert {row["customer_id"] for row in it.rows(table)} == {customer["id"]}
    assert len(it.rows(app_user_ids)) == 2


def test_chain_of_merges_in_one_commit_ends_at_one_customer(it: Bench) -> None:
    first, second = it.snapshot("A"), it.snapshot("B")
    it.do(it.notified(first), it.notified(second))
    it.do(it.posted("ann", first), it.posted("ann", second))
    (customer,) = it.rows(customers)
    assert {row["customer_id"] for row in it.rows(events)} == {customer["id"]}
    assert len(it.rows(app_user_ids)) == 3


def test_an_anonymous_customer_who_is_there_already_keeps_its_id(it: Bench) -> None:
    bought = it.snapshot("A")
    name = anonymous_id(it.app.id, bought)
    it.do(SeeCustomer(project_id=it.project_id, app_user_id=name, visit=VISIT))
    (before,) = it.rows(customers)
    it.do(it.notified(bought))
    (after,) = it.rows(customers)
    assert after["id"] == before["id"]
    assert it.rows(chains)[0]["customer_id"] == before["id"]


def test_a_receipt_under_a_key_that_the_chain_has_left_shows_all_purchases_of_its_owner(it: Bench) -> None:
    old = it.snapshot("old")
    it.do(it.posted(NOBODY, old), it.posted(NOBODY, it.snapshot("other")))
    new = replace(it.snapshot("new"), replaces="old", replacement=Replacement.DEFERRED)
    it.do(it.notified(new))
    assert {row["store_key"] for row in it.rows(chains)} == {"new", "other"}
    (result,) = it.do(it.posted("ann", old))
    assert {chain.store_key for chain in seen(result).view.chains} == {"new", "other"}


def test_a_chain_that_is_made_and_renamed_in_one_commit_is_still_found_by_its_first_name(it: Bench) -> None:
    deferred = Replacement.DEFERRED
    second = replace(it.snapshot("second"), replaces="first", replacement=deferred)
    third = replace(it.snapshot("third"), replaces="second", replacement=deferred)
    it.do(it.notified(it.snapshot("first")), it.notified(second), it.notified(third))
    it.do(it.notified(it.snapshot("first")), it.notified(it.snapshot("second")))
    assert [row["store_key"] for row in it.rows(chains)] == ["third"]
    assert len(it.rows(customers)) == 1


def test_more_keys_than_a_statement_takes_are_asked_for_in_pieces(it: Bench) -> None:
    if it.engine.dialect.name != "sqlite":
        pytest.skip("the other database takes more")
    many = [replace(it.snapshot(f"K{number}"), product_type=ProductType.CONSUMABLE) for number in range(11_000)]
    (result,) = it.do(it.posted("ann", *many))
    assert len(seen(result).view.chains) == 11_000


def test_a_refused_unit_leaves_nothing_and_fails_nobody(it: Bench) -> None:
    it.do(it.posted("ann", it.snapshot("A")))
    keeps_purchases(it)
    email = {"$email": AttributeChange(value="eve@example.com", updated_at_ms=None)}
    before, refused, after = it.do(
        it.posted("bob", it.snapshot("B")),
        it.posted("eve", it.snapshot("A"), it.snapshot("C"), attributes=email),
        it.posted("cat", it.snapshot("C")),
    )
    assert isinstance(refused, IngestError)
    assert refused.code == 7102
    assert [one.view.customer.original_app_user_id for one in (seen(before), seen(after))] == ["bob", "cat"]
    assert {row["app_user_id"] for row in it.rows(app_user_ids)} == {"ann", "bob", "cat"}
    assert it.rows(attributes) == []
    assert [row["app_user_id"] for row in it.rows(events)] == ["ann", "bob", "cat"]


def test_the_same_facts_twice_in_one_commit_are_one_event(it: Bench) -> None:
    first, second = it.do(it.notified(it.snapshot("A")), it.notified(it.snapshot("A")))
    assert isinstance(first, Applied)
    assert isinstance(second, Applied)
    assert (first.event_count, second.event_count) == (1, 0)
    assert len(it.rows(events)) == len(it.rows(outbox)) == 1


def test_event_times_of_a_customer_go_up_within_a_commit(it: Bench) -> None:
    it.do(it.posted("ann", it.snapshot("A")), it.posted("ann", it.snapshot("B")), it.posted("ann", it.snapshot("C")))
    moments = [row["event_timestamp_ms"] for row in it.rows(events)]
    assert moments == sorted(set(moments))


def test_logging_in_as_oneself_changes_nothing(it: Bench) -> None:
    unit = Identify(project_id=it.project_id, app_user_id=NOBODY, new_app_user_id=NOBODY, visit=VISIT)
    first, second = it.do(unit), it.do(unit)
    assert [seen(first[0]).view.created, seen(second[0]).view.created] == [True, False]
    assert [known.app_user_id for known in seen(second[0]).view.customer.ids] == [NOBODY]


def test_projects_do_not_see_each_others_customers(it: Bench) -> None:
    it.do(it.posted("ann", it.snapshot("A")))
    with it.engine.begin() as connection:
        other = create_project(connection, name="Other", now_ms=it.clock.now_ms()).id
    (result,) = it.do(SeeCustomer(project_id=other, app_user_id="ann", visit=VISIT))
    assert seen(result).view.created
    assert seen(result).view.chains == ()
