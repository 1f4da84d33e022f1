"""Sealing of secrets at rest: AES-256-GCM, key id in front, bound to the row they belong to (architecture D9).

A sealed value is `format (1 byte) | key id (8) | nonce (12) | ciphertext and tag`. The key id says which key is needed
without telling anything about it; the binding `table/column/row id` is associated data, so that a value copied to
another row does not open there.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bellwire.db.sealing_keys import (
    KEY_BYTES,
    KEY_FILE,
    SealingKeyError,
    create_key_file,
    decode_key,
    decode_keys,
    read_key_file,
)

_FORMAT = b"\x01"
_ID_BYTES = 8
_NONCE_BYTES = 12
_HEADER_BYTES = 1 + _ID_BYTES + _NONCE_BYTES


class SealBroken(Exception):
    """A sealed value does not open: another key, another row, or changed bytes. The message may be shown."""


class _Ring(msgspec.Struct, frozen=True):
    """Ciphers by key id. Swapped whole, so that threads see the old keys or the new ones."""

    current: bytes
    ciphers: dict[bytes, AESGCM]


class Sealer:
    """Seals with the current key and opens with every key it has. Safe to use from several threads.

    With a key file it looks for a changed one before it seals, and when it meets a value of a key that it does not have:
    running processes need no restart when keys change.
    """

    def __init__(self, *keys: bytes, file: Path | None = None) -> None:
        """The first key is the current one; keys of `file` go before `keys`."""
        self._keys = keys
        self._file = file
        self._stamp = None if file is None else _stamp(file)
        self._ring = _ring((*([] if file is None else read_key_file(file)), *keys))

    def __repr__(self) -> str:
        return f"Sealer(key_id={self._ring.current.hex()})"

    @classmethod
    def open_or_create(cls, data_dir: Path, secret_key: str = "", older_keys: str = "") -> "Sealer":
        """Use `secret_key` (URL-safe base64) if given, else the key file in `data_dir`, made if it is missing.

        `older_keys` (several, with commas) open only. Raises SealingKeyError for a key that is malformed or a file that
        others may read.
        """
        older = decode_keys(older_keys, "BELLWIRE_SECRET_KEYS_OLD")
        if secret_key:
            return cls(decode_key(secret_key, "BELLWIRE_SECRET_KEY"), *older)
        path = data_dir / KEY_FILE
        if not path.exists():
            create_key_file(path)
        return cls(*older, file=path)

    @property
    def current_key_id(self) -> str:
        """Of the key that seals, in hex. Raises SealingKeyError for a broken key file."""
        return self.key_ids[0]

    @property
    def key_ids(self) -> list[str]:
        """All keys there are, in hex, the current one first. Raises SealingKeyError for a broken key file."""
        self._look_again()
        return [one.hex() for one in self._ring.ciphers]

    def seal(self, plain: bytes, *, binding: str) -> bytes:
        """Encrypt for one place; `binding` is `table/column/row id`. Raises SealingKeyError for a broken key file."""
        self._look_again()
        ring, nonce = self._ring, os.urandom(_NONCE_BYTES)
        return _FORMAT + ring.current + nonce + ring.ciphers[ring.current].encrypt(nonce, plain, binding.encode())

    def open(self, sealed: bytes, *, binding: str) -> bytes:
        """Decrypt a value of this very place. Raises SealBroken."""
        key_id = bytes.fromhex(key_id_of(sealed) or "")
        if not key_id:
            raise SealBroken(f"{binding} is not a sealed value")
        cipher = self._ring.ciphers.get(key_id) or self._of_changed_file(key_id)
        if cipher is None:
            raise SealBroken(
                f"{binding} was sealed with key {key_id.hex()}, but this hub has {', '.join(map(bytes.hex, self._ring.ciphers))}: put the old "
                f"{KEY_FILE} (or BELLWIRE_SECRET_KEY, BELLWIRE_SECRET_KEYS_OLD) back, or enter the secrets again"
            )
        nonce = sealed[1 + _ID_BYTES : _HEADER_BYTES]
        try:
            return cipher.decrypt(nonce, sealed[_HEADER_BYTES:], binding.encode())
        except InvalidTag as error:
            raise SealBroken(f"{binding} was changed, or belongs to another row: enter the secrets again") from error

    def _of_changed_file(self, key_id: bytes) -> AESGCM | None:
        try:
            self._look_again()
        except SealingKeyError:
            return None
        return self._ring.ciphers.get(key_id)

    def _look_again(self) -> None:
        """Take over the key file where it is another than the one that was read last."""
        if self._file is None:
            return
        stamp = _stamp(self._file)
        if stamp is not None and stamp != self._stamp:
            self._ring = _ring((*read_key_file(self._file), *self._keys))
            self._stamp = stamp


def open_values(sealer: Sealer, sealed: bytes, *, binding: str) -> tuple[dict[str, object], str]:
    """A sealed JSON object, and what is wrong when it does not open: then there are no values."""
    try:
        return msgspec.json.decode(sealer.open(sealed, binding=binding), type=dict[str, object]), ""
    except SealBroken as error:
        return {}, str(error)


def key_id_of(sealed: bytes) -> str | None:
    """Which key a value was sealed with, in hex; None for what is no sealed value."""
    if len(sealed) < _HEADER_BYTES or sealed[:1] != _FORMAT:
        return None
    return sealed[1 : 1 + _ID_BYTES].hex()


def id_of_key(key: bytes) -> str:
    """How a key is called, in hex."""
    return hashlib.sha256(b"bellwire sealing key id\0" + key).digest()[:_ID_BYTES].hex()


def _ring(keys: Sequence[bytes]) -> _Ring:
    for key in keys:
        if len(key) != KEY_BYTES:
            raise SealingKeyError(f"the sealing key must be {KEY_BYTES} bytes, this one has {len(key)}")
    ids = [bytes.fromhex(id_of_key(key)) for key in keys]
    return _Ring(ids[0], {one: AESGCM(key) for one, key in zip(ids, keys, strict=True)})


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes whenever the file does; None where there is none: what was read stays in use."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
