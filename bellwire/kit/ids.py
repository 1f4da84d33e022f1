"""Ids: sortable 64-bit integers for rows, prefixed random text for what people see and type."""

import secrets
import threading
import time

_EPOCH_MS = 1_704_067_200_000  # 2024-01-01
_ROW_ID_DIGITS = 19
_COUNT_BITS = 22
"""Of process and counter, below the milliseconds."""
NODES = 1024
"""Processes whose ids are told apart."""
NODE_SHIFT = 12


class RowIds:
    """63-bit ids that sort by creation: 41 bits of milliseconds, 10 bits of process, 12 bits of counter.

    The process part is drawn at random. Processes on one database see to it that no two have the same (db.workers);
    until then two collide only when they also meet in the same millisecond and count, and the primary key then refuses
    the second transaction, which is retried.
    """

    def __init__(self) -> None:
        self.node = secrets.randbelow(NODES)
        self._last_ms = 0
        self._counter = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        with self._lock:
            now = time.time_ns() // 1_000_000 - _EPOCH_MS
            if now <= self._last_ms:
                now = self._last_ms
                self._counter += 1
                if self._counter == 4096:
                    now += 1
                    self._counter = 0
            else:
                self._counter = 0
            self._last_ms = now
            return (now << 22) | (self.node << NODE_SHIFT) | self._counter


_ROW_IDS = RowIds()


def new_row_id() -> int:
    """The next row id of this process."""
    return _ROW_IDS.next()


def row_id_at(at_ms: int) -> int:
    """The lowest row id of a moment: what was made before it has a lower one. 0 for moments before the ids began."""
    return max(0, at_ms - _EPOCH_MS) << _COUNT_BITS


def row_id_span(duration_ms: int) -> int:
    """By how much row ids grow in that time."""
    return duration_ms << _COUNT_BITS


def row_id_ms(row_id: int) -> int:
    """When a row id was made."""
    return (row_id >> _COUNT_BITS) + _EPOCH_MS


def node_of_this_process() -> int:
    """The process part of the ids that this process makes."""
    return _ROW_IDS.node


def use_node(node: int) -> None:
    """Make ids with this process part from now on."""
    _ROW_IDS.node = node


def read_row_id(text: str) -> int | None:
    """A row id that somebody typed or sent; None for what can be none, such as a number too large for a column."""
    if not text.isascii() or not text.isdigit() or len(text) > _ROW_ID_DIGITS:
        return None
    found = int(text)
    return found if found < 2**63 else None


def new_public_id(prefix: str, hex_digits: int = 10) -> str:
    """A short id that people see, such as `proj1a2b3c4d` or `app0f1e2d3c4b`."""
    return prefix + secrets.token_hex(hex_digits // 2)


def new_token(prefix: str = "") -> str:
    """An unguessable URL-safe token of 192 bits."""
    return prefix + secrets.token_urlsafe(24).replace("-", "a").replace("_", "b")
