"""Bad JSON gets an error that names the field."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellwire.kit.bodies import BadBody, decode_json


class Note(msgspec.Struct):
    value: str | None


class Form(msgspec.Struct):
    app_user_id: str
    count: int | None = None
    product_ids: list[str] | None = None
    notes: dict[str, Note] = {}


def refusal(raw: bytes) -> BadBody:
    with pytest.raises(BadBody) as caught:
        decode_json(raw, Form)
    return caught.value


DEEP = b"[" * 200_000


@pytest.mark.parametrize(
    ("raw", "field", "says"),
    [
        (b"", "", "empty"),
        (b"  \n", "", "empty"),
        (b"{", "", "not JSON"),
        (b'{"app_user_id": "a"}x', "", "not JSON"),
        (b"\xef\xbb\xbf{}", "", "not JSON"),
        (b"[]", "", "expected `object`, got `array`"),
        (b"null", "", "expected `object`"),
        (b"{}", "", "app_user_id"),
        (b'{"app_user_id": 5}', "app_user_id", "expected `str`"),
        (b'{"app_user_id": null}', "app_user_id", "expected `str`"),
        (b'{"app_user_id": "a", "count": "5"}', "count", "expected `int"),
        (b'{"app_user_id": "a", "count": true}', "count", "expected `int"),
        (b'{"app_user_id": "a", "count": 1e999}', "count", "out of range"),
        (b'{"app_user_id": "a", "count": ' + b"9" * 5000 + b"}", "count", "out of range"),
        (b'{"app_user_id": "a", "product_ids": ["x", 1]}', "product_ids[1]", "expected `str`"),
        (b'{"app_user_id": "a", "product_ids": "x"}', "product_ids", "expected `array"),
        (b'{"app_user_id": "a\\u0000b"}', "app_user_id", "NUL"),
        (b'{"app_user_id": "a\x00b"}', "app_user_id", "NUL"),
        (b'{"app_user_id": "a\\ud800b"}', "app_user_id", "lone surrogate"),
        (b'{"app_user_id": "a\\udfff"}', "app_user_id", "lone surrogate"),
        (b'{"app_user_id": "a\xff"}', "app_user_id", "not UTF-8"),
        (b'{"app_user_id": "a\xed\xa0\x80"}', "app_user_id", "not UTF-8"),
        (b'{"app_user_id": "a", "notes": {"k": {"value": "\\u0000"}}}', "notes.k.value", "NUL"),
        (b'{"app_user_id": "a", "notes": {"k\\u0000": {"value": "v"}}}', "notes (name of a field)", "NUL"),
        (b'{"app_user_id": "a", "product_ids": ["x", "\\ud800"]}', "product_ids[1]", "lone surrogate"),
        (b'{"app_user_id": "a", "unknown": ["\\u0000"]}', "unknown[0]", "NUL"),
        (b'{"app_user_id": "a", "unknown": ' + DEEP + b"]" * 200_000 + b"}", "", "nested too deeply"),
        (b'{"app_user_id": "a", "unknown": NaN}', "", "not JSON"),
    ],
)
def test_bad_bodies(raw: bytes, field: str, says: str) -> None:
    error = refusal(raw)
    assert error.field == field
    assert says in error.message
    assert field in error.message
    error.message.encode()


def test_good_bodies() -> None:
    assert decode_json(b'{"app_user_id":"a","app_user_id":"b","more":[1]}', Form).app_user_id == "b"
    assert decode_json(b'{"app_user_id":"\\ud83d\\udd14"}', Form).app_user_id == "🔔"
    assert decode_json(b'{"app_user_id":"\\\\u0000"}', Form).app_user_id == "\\u0000"


def test_a_part_of_a_body_is_named_by_its_place_in_the_whole() -> None:
    with pytest.raises(BadBody) as caught:
        decode_json(msgspec.Raw(b'{"value": 5}'), Note, at="attributes.plan")
    assert caught.value.field == "attributes.plan.value"


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(raw: bytes) -> None:
    try:
        decode_json(raw, Form)
    except BadBody as error:
        error.message.encode()
