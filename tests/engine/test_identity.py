"""App user ids, the id that events name, aliases, and what a merge leaves (spec: events 8.1-8.4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bellwire.engine.identity import (
    InvalidAppUserId,
    aliases,
    check_app_user_id,
    event_app_user_id,
    merge_customers,
    should_merge_on_identify,
)
from bellwire.model.customers import AppUserId, Attribute, Customer, is_anonymous

ANON_A = "$RCAnonymousID:" + "a" * 32
ANON_B = "$RCAnonymousID:" + "b" * 32


def customer(*ids: tuple[str, int, int], row_id: int = 1, **fields: object) -> Customer:
    """A customer with ids given as (app user id, first seen, last seen), oldest first."""
    base = Customer(
        id=row_id,
        project_id="proj1",
        original_app_user_id=ids[0][0],
        ids=tuple(AppUserId(app_user_id=name, first_seen_ms=first, last_seen_ms=last) for name, first, last in ids),
        first_seen_ms=min(first for _, first, _ in ids),
        last_seen_ms=max(last for _, _, last in ids),
    )
    return replace(base, **fields)


@pytest.mark.parametrize(
    "text",
    [
        "user1",
        ANON_A,
        "Null",
        "NULL",
        "nan",
        "00",
        "a+b c@d.example",
        "日本語",
        "x" * 100,
        "🔔" * 100,
        "%2F",
        "..",
    ],
)
def test_acceptable_ids(text: str) -> None:
    check_app_user_id(text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 7220),
        ("  \t", 7220),
        ("no_user", 7256),
        ("null", 7256),
        ("none", 7256),
        ("nil", 7256),
        ("(null)", 7256),
        ("NaN", 7256),
        ("\x00", 7256),
        ("unidentified", 7256),
        ("undefined", 7256),
        ("unknown", 7256),
        ("anonymous", 7256),
        ("guest", 7256),
        ("-1", 7256),
        ("0", 7256),
        ("[]", 7256),
        ("{}", 7256),
        ("[object Object]", 7256),
        ("a/b", 7256),
        ("/", 7256),
        ("a\x00b", 7256),
        ("a\ud800b", 7256),
        ("x" * 101, 7256),
    ],
)
def test_refused_ids(text: str, code: int) -> None:
    with pytest.raises(InvalidAppUserId) as caught:
        check_app_user_id(text)
    assert caught.value.code == code
    assert "app user id" in caught.value.message


@pytest.mark.parametrize(
    ("known", "named"),
    [
        (customer((ANON_A, 1, 30), ("x", 2, 10), ("y", 3, 20)), "y"),
        (customer((ANON_A, 1, 10), (ANON_B, 2, 20)), ANON_B),
        (customer(("x", 1, 5), ("y", 2, 5)), "y"),
        (customer(("x", 1, 9), (ANON_A, 2, 10)), "x"),
    ],
    ids=["identified seen last", "only anonymous", "same moment: the younger", "identified beats fresher anonymous"],
)
def test_the_id_that_events_name(known: Customer, named: str) -> None:
    assert event_app_user_id(known) == named


def test_a_customer_without_ids_is_named_by_the_original_one() -> None:
    bare = replace(customer(("x", 1, 1)), ids=())
    assert event_app_user_id(bare) == "x"
    assert aliases(bare) == ["x"]


def test_aliases_are_oldest_first() -> None:
    assert aliases(customer(("y", 3, 3), (ANON_A, 1, 9), ("x", 2, 2))) == [ANON_A, "x", "y"]


ANONYMOUS = customer((ANON_A, 1, 1), row_id=1)
IDENTIFIED = customer(("me", 1, 1), row_id=1)
FRESH = customer(("x", 5, 5), row_id=2)
HAS_ANONYMOUS = customer((ANON_B, 2, 2), ("x", 5, 5), row_id=2)


@pytest.mark.parametrize(
    ("current", "current_id", "provided", "merges"),
    [
        (ANONYMOUS, ANON_A, None, True),
        (ANONYMOUS, ANON_A, FRESH, True),
        (ANONYMOUS, ANON_A, HAS_ANONYMOUS, False),
        (IDENTIFIED, "me", None, False),
        (IDENTIFIED, "me", FRESH, False),
        (customer((ANON_A, 1, 1), ("me", 2, 2)), "me", FRESH, False),
        (customer((ANON_A, 1, 1), ("me", 2, 2)), ANON_A, FRESH, True),
        (ANONYMOUS, ANON_A, ANONYMOUS, False),
    ],
)
def test_log_in(current: Customer, current_id: str, provided: Customer | None, merges: bool) -> None:
    assert should_merge_on_identify(current, provided, current_id) is merges


def test_a_merge_keeps_the_older_customer() -> None:
    anonymous = customer((ANON_A, 10, 20), row_id=1, country="DE", platform="ios", next_sequence=4)
    named = customer(("x", 15, 30), row_id=2, platform="android", app_version="2.0", next_sequence=7)
    merged = merge_customers(named, anonymous)
    assert merged == merge_customers(anonymous, named)
    assert (merged.id, merged.original_app_user_id) == (1, ANON_A)
    assert [one.app_user_id for one in merged.ids] == [ANON_A, "x"]
    assert (merged.first_seen_ms, merged.last_seen_ms, merged.next_sequence) == (10, 30, 7)
    assert (merged.country, merged.platform, merged.app_version) == ("DE", "android", "2.0")


def test_first_seen_at_the_same_time_the_first_argument_stays() -> None:
    merged = merge_customers(customer((ANON_A, 10, 10), row_id=9), customer(("x", 10, 10), row_id=2))
    assert (merged.id, merged.original_app_user_id) == (9, ANON_A)


def test_a_merge_takes_the_newer_attribute_and_the_older_write_once_one() -> None:
    older = {
        "plan": Attribute(value="old", updated_at_ms=5),
        "gone": Attribute(value="x", updated_at_ms=5),
        "$idfa": Attribute(value="first", updated_at_ms=5),
        "$campaign": Attribute(value=None, updated_at_ms=9),
    }
    younger = {
        "plan": Attribute(value="new", updated_at_ms=6),
        "gone": Attribute(value=None, updated_at_ms=7),
        "$idfa": Attribute(value="second", updated_at_ms=6),
        "$campaign": Attribute(value="spring", updated_at_ms=6),
        "more": Attribute(value="y", updated_at_ms=1),
    }
    merged = merge_customers(
        customer((ANON_A, 1, 1), row_id=1, attributes=older), customer(("x", 2, 2), row_id=2, attributes=younger)
    )
    values = {key: one.value for key, one in merged.attributes.items()}
    assert values == {"plan": "new", "gone": None, "$idfa": "first", "$campaign": "spring", "more": "y"}


names = st.sampled_from([ANON_A, ANON_B, "x", "y", "z"])
moments = st.integers(min_value=0, max_value=50)
stamped = st.builds(Attribute, value=st.sampled_from([None, "1", "2"]), updated_at_ms=moments)


@st.composite
def customers(draw: st.DrawFn) -> Customer:
    ids = draw(st.dictionaries(names, st.tuples(moments, moments), min_size=1))
    attributes = draw(st.dictionaries(st.sampled_from(["$idfa", "$campaign", "plan", "note"]), stamped))
    seen = [(name, first, first + more) for name, (first, more) in ids.items()]
    return customer(*seen, attributes=attributes, row_id=draw(st.integers(min_value=1, max_value=3)))


@given(customers(), customers())
def test_a_merge_loses_nobody(one: Customer, other: Customer) -> None:
    merged = merge_customers(one, other)
    assert set(aliases(merged)) == set(aliases(one)) | set(aliases(other))
    assert len(merged.ids) == len(set(aliases(merged)))
    assert merged.original_app_user_id in aliases(merged)
    assert merged.first_seen_ms == min(one.first_seen_ms, other.first_seen_ms)
    assert merged.last_seen_ms == max(one.last_seen_ms, other.last_seen_ms)
    assert set(merged.attributes) == set(one.attributes) | set(other.attributes)
    seen = [entry.first_seen_ms for entry in merged.ids]
    assert seen == sorted(seen)


@given(customers())
def test_merging_with_itself_changes_nothing(one: Customer) -> None:
    merged = merge_customers(one, one)
    assert merged == replace(one, ids=merged.ids)
    assert set(merged.ids) == set(one.ids)


@given(customers(), customers())
def test_only_the_anonymous_merge_and_never_into_one_that_has_an_anonymous_id(one: Customer, other: Customer) -> None:
    for entry in one.ids:
        if should_merge_on_identify(one, other, entry.app_user_id):
            assert is_anonymous(entry.app_user_id)
            assert not any(is_anonymous(theirs.app_user_id) for theirs in other.ids)
