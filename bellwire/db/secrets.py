"""Sealing of secrets at rest: AES-256-GCM, key id in front, bound to the row they belong to (architecture D9).

A sealed value is `format (1 byte) | key id (8) | nonce (12) | ciphertext and tag`. The key id says which key is needed
without telling anything about it; the binding `table/column/row id` is associated data, so that a value copied to
another row does not open there.
"""

import base64
import binascii
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_FILE = "sealing.key"
_FORMAT = b"\x01"
_ID_BYTES = 8
_NONCE_BYTES = 12
_HEADER_BYTES = 1 + _ID_BYTES + _NONCE_BYTES


class SealingKeyError(Exception):
    """The sealing key cannot be used; the message says what to do and never holds the key."""


class SealBroken(Exception):
    """A sealed value does not open: another key, another row, or changed bytes."""


class Sealer:
    """Seals and opens with one key. Safe to use from several threads."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise SealingKeyError(f"the sealing key must be 32 bytes, this one has {len(key)}")
        self._cipher = AESGCM(key)
        self._key_id = hashlib.sha256(b"bellwire sealing key id\0" + key).digest()[:_ID_BYTES]

    def __repr__(self) -> str:
        return f"Sealer(key_id={self._key_id.hex()})"

    @classmethod
    def open_or_create(cls, data_dir: Path, secret_key: str = "") -> "Sealer":
        """Use `secret_key` (URL-safe base64) if given, else the key file in `data_dir`, made if it is missing.

        Raises SealingKeyError for a key that is malformed or a file that others may read.
        """
        if secret_key:
            return cls(_decode(secret_key, "BELLWIRE_SECRET_KEY"))
        path = data_dir / KEY_FILE
        if not path.exists():
            _create_key_file(path)
        if path.stat().st_mode & 0o077:
            raise SealingKeyError(f"{path} can be read by other users; run: chmod 600 {path}")
        return cls(_decode(path.read_text("ascii", errors="replace").strip(), str(path)))

    def seal(self, plain: bytes, *, binding: str) -> bytes:
        """Encrypt for one place; `binding` is `table/column/row id`."""
        nonce = os.urandom(_NONCE_BYTES)
        return _FORMAT + self._key_id + nonce + self._cipher.encrypt(nonce, plain, binding.encode())

    def open(self, sealed: bytes, *, binding: str) -> bytes:
        """Decrypt a value of this very place. Raises SealBroken."""
        if len(sealed) < _HEADER_BYTES or sealed[:1] != _FORMAT:
            raise SealBroken(f"{binding} is not a sealed value")
        key_id = sealed[1 : 1 + _ID_BYTES]
        if key_id != self._key_id:
            raise SealBroken(
                f"{binding} was sealed with key {key_id.hex()}, but this hub has key {self._key_id.hex()}: "
                f"put the old {KEY_FILE} (or BELLWIRE_SECRET_KEY) back"
            )
        nonce = sealed[1 + _ID_BYTES : _HEADER_BYTES]
        try:
            return self._cipher.decrypt(nonce, sealed[_HEADER_BYTES:], binding.encode())
        except InvalidTag as error:
            raise SealBroken(f"{binding} was changed, or belongs to another row") from error


def _decode(text: str, source: str) -> bytes:
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise SealingKeyError(f"{source} is not URL-safe base64") from error
    if len(key) != 32:
        raise SealingKeyError(f"{source} must hold 32 bytes as URL-safe base64, it holds {len(key)}")
    return key


def _create_key_file(path: Path) -> None:
    """Write the whole file aside and link it into place, so that two first starts agree on one key."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{KEY_FILE}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.urlsafe_b64encode(secrets.token_bytes(32)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            return
    finally:
        aside.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
