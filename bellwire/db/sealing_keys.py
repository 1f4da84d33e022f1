"""The sealing keys of an installation: one current, older ones beside it until nothing is sealed with them any more.

They are lines of the file `sealing.key` in the data folder, the current one first, or two settings: `BELLWIRE_SECRET_KEY`
and `BELLWIRE_SECRET_KEYS_OLD`. The file is always replaced whole, so that who reads it meanwhile sees one or the other.
"""

import base64
import binascii
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

KEY_FILE = "sealing.key"
KEY_BYTES = 32


class SealingKeyError(Exception):
    """A sealing key cannot be used; the message says what to do and never holds the key."""


def new_key() -> str:
    """32 random bytes as the file and the settings spell them."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def decode_key(text: str, source: str) -> bytes:
    """Raises SealingKeyError, which names `source`."""
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise SealingKeyError(f"{source} is not URL-safe base64") from error
    if len(key) != KEY_BYTES:
        raise SealingKeyError(f"{source} must hold {KEY_BYTES} bytes as URL-safe base64, it holds {len(key)}")
    return key


def decode_keys(text: str, source: str) -> list[bytes]:
    """Keys separated by commas or white space. Raises SealingKeyError."""
    return [decode_key(word, source) for word in text.replace(",", " ").split()]


def read_key_file(path: Path) -> list[bytes]:
    """The keys of the file, the current one first. Raises SealingKeyError."""
    if path.stat().st_mode & 0o077:
        raise SealingKeyError(f"{path} can be read by other users; run: chmod 600 {path}")
    keys = decode_keys(path.read_text("ascii", errors="replace"), str(path))
    if not keys:
        raise SealingKeyError(f"{path} holds no key: put your copy of it back")
    return keys


def create_key_file(path: Path) -> None:
    """Make the file with one key, unless it is there: two first starts agree on one key."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _written_aside(path, [secrets.token_bytes(KEY_BYTES)]) as aside:
        try:
            os.link(aside, path)
        except FileExistsError:
            return
    _sync_folder(path.parent)


def change_key_file(path: Path, change: Callable[[list[bytes]], Sequence[bytes]]) -> list[bytes]:
    """Replace the keys by what `change` makes of them, durably, one change after the other. Raises SealingKeyError."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        keys = list(change(read_key_file(path)))
        with _written_aside(path, keys) as aside:
            os.replace(aside, path)
        os.fsync(folder)
    finally:
        os.close(folder)
    return keys


@contextmanager
def _written_aside(path: Path, keys: Sequence[bytes]) -> Iterator[Path]:
    """A private file beside `path` with these keys, on the disk; gone afterwards unless it was renamed."""
    aside = path.with_name(f".{KEY_FILE}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(base64.urlsafe_b64encode(key) + b"\n" for key in keys)
            file.flush()
            os.fsync(file.fileno())
        yield aside
    finally:
        aside.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
