"""`bellwire sealing`: a new key, everything sealed again, the old key retired."""

from pathlib import Path

import pytest

from bellwire.db.sealing_keys import KEY_FILE, new_key, read_key_file
from tests.cli.conftest import Bellwire, answer


@pytest.fixture
def shop(bellwire: Bellwire) -> Bellwire:
    bellwire("project", "create", "Shop")
    bellwire("app", "create", "app-store", "A", "--bundle-id", "a")
    bellwire("integration", "create", "webhook", "hook", "--url", "https://a.example/", "--authorization", "Bearer x")
    return bellwire


def listed(bellwire: Bellwire) -> list[tuple[object, object]]:
    found = answer(bellwire("sealing", "list", "--json"))["keys"]
    assert isinstance(found, list)
    return [(one["state"], one["sealed_values"]) for one in found]


def ids(bellwire: Bellwire) -> list[str]:
    found = answer(bellwire("sealing", "list", "--json"))["keys"]
    assert isinstance(found, list)
    return [one["id"] for one in found]


def test_rotate_reseals_and_retire_ends_the_old_key(shop: Bellwire, tmp_path: Path) -> None:
    assert listed(shop) == [("current", 3)]
    old = ids(shop)[0]
    done = shop("sealing", "rotate")
    assert "Sealed 3 values" in done.stdout
    assert "Back sealing.key up again" in done.stderr
    assert listed(shop) == [("current", 3), ("old", 0)]
    assert ids(shop)[1] == old
    shop("sealing", "retire", old)
    assert listed(shop) == [("current", 3)]
    assert len(read_key_file(tmp_path / "data" / KEY_FILE)) == 1
    assert "unreadable" not in shop("app", "list").stdout
    assert "unreadable" not in shop("integration", "list").stdout


def test_a_key_in_use_is_not_retired(shop: Bellwire) -> None:
    old = ids(shop)[0]
    assert "is the current one" in shop("sealing", "retire", old, status=1).stderr
    shop("sealing", "rotate", "--only-add")
    assert listed(shop) == [("current", 0), ("old", 3)]
    assert "3 values are sealed with key" in shop("sealing", "retire", old, status=1).stderr
    assert "there is no key" in shop("sealing", "retire", "0011223344556677", status=1).stderr
    assert "Sealed 3 values" in shop("sealing", "reseal").stdout
    shop("sealing", "retire", old)


def test_keys_are_never_shown(shop: Bellwire, tmp_path: Path) -> None:
    said = [shop("sealing", "list"), shop("sealing", "rotate"), shop("sealing", "list", "--json")]
    for line in (tmp_path / "data" / KEY_FILE).read_text().split():
        assert not [one for one in said if line in one.output]


def test_keys_of_the_settings_are_changed_there(
    shop: Bellwire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = (tmp_path / "data" / KEY_FILE).read_text().strip()
    monkeypatch.setenv("BELLWIRE_SECRET_KEY", new_key())
    monkeypatch.setenv("BELLWIRE_SECRET_KEYS_OLD", old)
    assert "BELLWIRE_SECRET_KEYS_OLD" in shop("sealing", "rotate", status=1).stderr
    assert "Sealed 3 values" in shop("sealing", "reseal").stdout
    monkeypatch.delenv("BELLWIRE_SECRET_KEYS_OLD")
    assert listed(shop) == [("current", 3)]


def test_a_missing_key_is_named_by_its_id(shop: Bellwire, tmp_path: Path) -> None:
    old = ids(shop)[0]
    (tmp_path / "data" / KEY_FILE).write_text(new_key())
    assert listed(shop) == [("current", 0), ("missing", 3)]
    assert old in shop("app", "list").stderr
    refused = shop("sealing", "reseal", status=1)
    assert "3 values do not open" in refused.stderr
