"""Secret fields are found wherever the type hides them, and never shown."""

from typing import Annotated

import msgspec
import pytest

from bellwire.destinations.base import Secret
from bellwire.destinations.settings import MASK, mask, secret_fields, split


class Login(msgspec.Struct, frozen=True):
    user: str
    password: Secret


class Tree(msgspec.Struct, frozen=True):
    children: list["Tree"] = []
    leaf: str = ""


class Everything(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    url: str
    api_key: Secret
    titled_key: Annotated[Secret, msgspec.Meta(title="Key", min_length=3)] = "abc"
    optional_key: Secret | None = None
    header_values: dict[str, Secret] = {}
    login_data: Login | None = None
    tree: Tree = Tree()
    region: str = "us"


SECRET = {"apiKey", "titledKey", "optionalKey", "headerValues", "loginData"}
FULL = Everything(url="https://a", api_key="k1", header_values={"X": "k2"}, login_data=Login("u", "k3"))


def test_secret_fields_are_found_at_any_depth() -> None:
    assert secret_fields(Everything) == SECRET
    assert secret_fields(Tree) == frozenset()


def test_split_parts_convert_back() -> None:
    plain, secret = split(FULL)
    assert set(secret) == SECRET
    assert "k1" not in str(plain)
    assert "k2" not in str(plain)
    assert msgspec.convert(plain | secret, Everything) == FULL


def test_mask_hides_what_is_set_and_shows_what_is_not() -> None:
    masked = mask(FULL)
    assert masked["apiKey"] == masked["loginData"] == masked["headerValues"] == MASK
    assert masked["optionalKey"] is None
    assert masked["url"] == "https://a"
    assert not any(secret in str(masked) for secret in ("k1", "k2", "k3"))


def test_only_structs_have_settings() -> None:
    with pytest.raises(TypeError):
        secret_fields(dict)
