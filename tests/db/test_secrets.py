"""Sealed values open only with their key and at their place; the key file is made once and is private."""

import base64
import threading
from pathlib import Path

import pytest

from bellwire.db.sealing_keys import KEY_FILE, SealingKeyError
from bellwire.db.secrets import SealBroken, Sealer

HERE = "apps/sealed_secrets/app1"


def test_seal_and_open(sealer: Sealer) -> None:
    sealed = sealer.seal(b"open sesame", binding=HERE)
    assert b"sesame" not in sealed
    assert sealer.open(sealed, binding=HERE) == b"open sesame"
    assert sealer.seal(b"open sesame", binding=HERE) != sealed


def test_sealed_value_does_not_open_at_another_place(sealer: Sealer) -> None:
    sealed = sealer.seal(b"x", binding=HERE)
    with pytest.raises(SealBroken, match="another row"):
        sealer.open(sealed, binding="apps/sealed_secrets/app2")


@pytest.mark.parametrize("position", [0, 3, 12, 25, -1])
def test_changed_value_does_not_open(sealer: Sealer, position: int) -> None:
    sealed = bytearray(sealer.seal(b"secret", binding=HERE))
    sealed[position] ^= 1
    with pytest.raises(SealBroken):
        sealer.open(bytes(sealed), binding=HERE)


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"plain text that nobody sealed"])
def test_unsealed_value_does_not_open(sealer: Sealer, sealed: bytes) -> None:
    with pytest.raises(SealBroken, match="not a sealed value"):
        sealer.open(sealed, binding=HERE)


def test_another_key_is_named_but_not_shown(tmp_path: Path) -> None:
    one, other = Sealer(b"1" * 32), Sealer(b"2" * 32)
    with pytest.raises(SealBroken) as caught:
        other.open(one.seal(b"x", binding=HERE), binding=HERE)
    assert KEY_FILE in str(caught.value)
    for text in (str(caught.value), repr(one)):
        assert "1" * 32 not in text
        assert base64.urlsafe_b64encode(b"1" * 32).decode() not in text


def test_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    sealed = Sealer.open_or_create(folder).seal(b"x", binding=HERE)
    file = folder / KEY_FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [KEY_FILE]
    assert Sealer.open_or_create(folder).open(sealed, binding=HERE) == b"x"


def test_first_starts_at_once_agree_on_one_key(tmp_path: Path) -> None:
    sealers: list[Sealer] = []
    start = threading.Barrier(8)

    def first_start() -> None:
        start.wait()
        sealers.append(Sealer.open_or_create(tmp_path))

    threads = [threading.Thread(target=first_start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({repr(sealer) for sealer in sealers}) == 1
    assert len(sealers) == 8


def test_key_from_the_environment_leaves_no_file(tmp_path: Path) -> None:
    key = base64.urlsafe_b64encode(bytes(range(32))).decode()
    sealed = Sealer.open_or_create(tmp_path, key).seal(b"x", binding=HERE)
    assert Sealer.open_or_create(tmp_path, key.rstrip("=")).open(sealed, binding=HERE) == b"x"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["short", "!" * 43, base64.urlsafe_b64encode(b"16 bytes of key!").decode(), "ключ"])
def test_unusable_key_is_refused_without_showing_it(tmp_path: Path, key: str) -> None:
    with pytest.raises(SealingKeyError, match="BELLWIRE_SECRET_KEY") as caught:
        Sealer.open_or_create(tmp_path, key)
    assert key not in str(caught.value)


def test_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    Sealer.open_or_create(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(SealingKeyError, match="chmod 600"):
        Sealer.open_or_create(tmp_path)


def test_damaged_key_file_is_named(tmp_path: Path) -> None:
    Sealer.open_or_create(tmp_path)
    (tmp_path / KEY_FILE).write_text("\x00garbage")
    with pytest.raises(SealingKeyError, match=KEY_FILE):
        Sealer.open_or_create(tmp_path)
