"""What a write of attributes may change (spec: events 9.1, statements 51-54; api 1.12)."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellwire.engine.attributes import (
    MAX_CUSTOM,
    MAX_LEFT_OVERS,
    AttributeChange,
    AttributeError,
    apply_changes,
)
from bellwire.engine.reserved_attributes import RESERVED, WRITE_ONCE
from bellwire.model.customers import Attribute

NOW_MS = 1_000


def write(
    current: dict[str, Attribute],
    *,
    ip: str | None = "203.0.113.7",
    strict: bool = False,
    **changes: str | None | tuple[str | None, int],
) -> tuple[dict[str, str | None], list[AttributeError]]:
    """Apply changes given as value or (value, updated_at_ms); a leading `_S` in a key stands for `$`."""
    after, errors = apply_changes(
        current,
        {
            key.replace("_S", "$"): AttributeChange(value=one[0], updated_at_ms=one[1])
            if isinstance(one, tuple)
            else AttributeChange(value=one)
            for key, one in changes.items()
        },
        now_ms=NOW_MS,
        ip=ip,
        strict_reserved=strict,
    )
    return {key: one.value for key, one in after.items()}, errors


def stored(value: str | None, updated_at_ms: int = 500) -> Attribute:
    return Attribute(value=value, updated_at_ms=updated_at_ms)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("k" * 41, "v", "Key name format is not valid."),
        ("1abc", "v", "Key name format is not valid."),
        ("a b", "v", "Key name format is not valid."),
        ("", "v", "Key name format is not valid."),
        ("$", "v", "Key name format is not valid."),
        ("ключ", "v", "Key name format is not valid."),
        ("a\x00", "v", "Key name format is not valid."),
        ("a\n", "v", "Key name format is not valid."),
        ("note", "v" * 501, "Value is too long."),
        ("note", "a\x00b", "Value contains a NUL character or a lone surrogate."),
        ("note", "a\udc00", "Value contains a NUL character or a lone surrogate."),
        ("$email", "nobody", "Value is not a valid email address."),
        ("$email", "a b@example.com", "Value is not a valid email address."),
        ("$email", "a@b@example.com", "Value is not a valid email address."),
        ("$attConsentStatus", "maybe", None),
    ],
)
def test_a_bad_key_is_refused_and_the_others_are_saved(key: str, value: str, message: str | None) -> None:
    changes = {key: AttributeChange(value=value), "good": AttributeChange(value="yes")}
    after, errors = apply_changes({}, changes, now_ms=NOW_MS, ip=None, strict_reserved=False)
    assert after == {"good": Attribute(value="yes", updated_at_ms=NOW_MS)}
    assert [error.key_name for error in errors] == [key]
    assert message is None or errors[0].message == message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("k" * 40, "v" * 500),
        ("a-b_C9", "x"),
        ("$email", "someone@example.com"),
        ("$attConsentStatus", "notDetermined"),
        ("$attConsentStatus", "authorized"),
        ("$displayName", "Ünïcødé 🔔"),
    ],
)
def test_good_ones(key: str, value: str) -> None:
    change = {key: AttributeChange(value=value)}
    after, errors = apply_changes({}, change, now_ms=NOW_MS, ip=None, strict_reserved=True)
    assert (after[key].value, errors) == (value, [])


def test_unknown_reserved_keys_are_an_sdks_right_and_a_servers_mistake() -> None:
    assert write({}, _Sfoo="x") == ({"$foo": "x"}, [])
    after, errors = write({}, strict=True, _Sfoo="x", _SadjustId="y")
    assert after == {"$adjustId": "y"}
    assert errors == [AttributeError(key_name="$foo", message="Key name format is not valid.")]


def test_an_older_write_is_ignored_and_an_equal_one_wins() -> None:
    current = {"plan": stored("now", 500)}
    assert write(current, plan=("older", 499))[0] == {"plan": "now"}
    assert write(current, plan=("equal", 500))[0] == {"plan": "equal"}
    assert write(current, plan="later")[0] == {"plan": "later"}


def test_a_deleted_value_is_not_brought_back_by_an_older_write() -> None:
    for empty in (None, ""):
        gone, _ = apply_changes(
            {"plan": stored("x")},
            {"plan": AttributeChange(value=empty, updated_at_ms=600)},
            now_ms=NOW_MS,
            ip=None,
            strict_reserved=False,
        )
        assert gone == {"plan": stored(None, 600)}
        assert write(gone, plan=("late", 550))[0] == {"plan": None}
        assert write(gone, plan=("again", 700))[0] == {"plan": "again"}


@pytest.mark.parametrize("key", sorted(WRITE_ONCE))
@pytest.mark.parametrize(
    ("known", "written", "left"), [("first", "second", "first"), (None, "second", "second"), ("first", None, None)]
)
def test_write_once_keys_keep_their_first_value_until_deleted(
    key: str, known: str | None, written: str | None, left: str | None
) -> None:
    change = {key: AttributeChange(value=written)}
    after, errors = apply_changes({key: stored(known)}, change, now_ms=NOW_MS, ip=None, strict_reserved=True)
    assert (after[key].value, errors) == (left, [])


def test_ip_true_means_the_address_of_the_request() -> None:
    assert write({}, _Sip="true") == ({"$ip": "203.0.113.7"}, [])
    assert write({}, ip=None, _Sip="true") == ({}, [])
    assert write({}, _Sip="198.51.100.9") == ({"$ip": "198.51.100.9"}, [])


def test_the_fifty_first_custom_attribute_is_refused() -> None:
    full = {f"key{number}": stored("x") for number in range(MAX_CUSTOM)}
    after, errors = write(full, one_more="x", key1="changed", _Semail="a@example.com")
    assert [error.key_name for error in errors] == ["one_more"]
    assert (after["key1"], after["$email"]) == ("changed", "a@example.com")
    after, errors = write(full, key1=None, one_more="x")
    assert errors == []
    assert after["one_more"] == "x"


def test_what_a_client_can_store_is_bounded() -> None:
    changes = {f"gone{number}": AttributeChange(value=None) for number in range(500)}
    changes |= {f"$strange{number}": AttributeChange(value="x") for number in range(500)}
    changes |= {f"$none{number}": AttributeChange(value=None) for number in range(500)}
    after, errors = apply_changes({}, changes, now_ms=NOW_MS, ip=None, strict_reserved=False)
    assert len(after) <= 3 * MAX_LEFT_OVERS
    assert len(errors) == 500 - MAX_LEFT_OVERS


@pytest.mark.parametrize("moment", [-1, 10**15, 10**30])
def test_impossible_times_are_refused(moment: int) -> None:
    _, errors = write({}, plan=("x", moment))
    assert errors[0].message == "updated_at_ms is not a time in milliseconds."


keys = st.sampled_from(["plan", "note", "$displayName", "$foo"])
changes = st.lists(
    st.tuples(keys, st.sampled_from([None, "", "a", "b"]), st.integers(min_value=0, max_value=900)),
    unique_by=lambda one: (one[0], one[2]),
)


@given(changes, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(writes: list[tuple[str, str | None, int]], random: Random) -> None:
    def run(sequence: list[tuple[str, str | None, int]]) -> dict[str, Attribute]:
        after: dict[str, Attribute] = {}
        for key, value, moment in sequence:
            change = {key: AttributeChange(value=value, updated_at_ms=moment)}
            after, _ = apply_changes(after, change, now_ms=NOW_MS, ip=None, strict_reserved=False)
        return after

    shuffled = list(writes)
    random.shuffle(shuffled)
    assert run(writes) == run(shuffled)


@given(st.dictionaries(st.sampled_from([*sorted(RESERVED), "plan", "1x"]), st.text(max_size=20)))
def test_a_repeated_write_changes_nothing(values: dict[str, str]) -> None:
    writes = {key: AttributeChange(value=value, updated_at_ms=5) for key, value in values.items()}
    once, errors = apply_changes({}, writes, now_ms=NOW_MS, ip="203.0.113.7", strict_reserved=True)
    again, same = apply_changes(once, writes, now_ms=NOW_MS + 1, ip="203.0.113.7", strict_reserved=True)
    assert (once, errors) == (again, same)
