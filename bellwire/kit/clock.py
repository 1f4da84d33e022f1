"""Where the time comes from. Pure rooms never ask: they are told `now_ms`."""

import mmap
import os
import struct
import time
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """A source of the present, in integer milliseconds since the Unix epoch, UTC."""

    def now_ms(self) -> int: ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that only moves when told; for tests."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def set_ms(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def advance_ms(self, delta_ms: int) -> None:
        self._now_ms += delta_ms


class SharedClock:
    """A virtual clock that several processes read from one small file; for the simulator and what runs against it.

    virtual = origin_virtual + (real - origin_real) * rate. The file holds two slots and the index of the valid one, so
    that a reader never sees half of a write.
    """

    _SLOT = struct.Struct("<qqd")
    _SIZE = 8 + 2 * _SLOT.size

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(self._pack(_real_ms(), _real_ms(), 1.0))
        self._file = os.open(path, os.O_RDWR)
        self._map = mmap.mmap(self._file, self._SIZE)

    @classmethod
    def _pack(cls, real_ms: int, virtual_ms: int, rate: float) -> bytes:
        slot = cls._SLOT.pack(real_ms, virtual_ms, rate)
        return struct.pack("<q", 0) + slot + slot

    def _read(self) -> tuple[int, int, float]:
        index = self._map[0]
        real_ms, virtual_ms, rate = self._SLOT.unpack_from(self._map, 8 + index * self._SLOT.size)
        return real_ms, virtual_ms, rate

    def now_ms(self) -> int:
        origin_real, origin_virtual, rate = self._read()
        return origin_virtual + int((_real_ms() - origin_real) * rate)

    def rate(self) -> float:
        """Virtual seconds that pass in one real second."""
        return self._read()[2]

    def set(self, *, virtual_ms: int | None = None, rate: float | None = None) -> None:
        """Jump to a virtual time, change the speed, or both."""
        now = self.now_ms() if virtual_ms is None else virtual_ms
        speed = self.rate() if rate is None else rate
        index = 1 - self._map[0]
        self._SLOT.pack_into(self._map, 8 + index * self._SLOT.size, _real_ms(), now, speed)
        self._map[0] = index

    def advance_ms(self, delta_ms: int) -> None:
        self.set(virtual_ms=self.now_ms() + delta_ms)

    def close(self) -> None:
        self._map.close()
        os.close(self._file)


def _real_ms() -> int:
    return time.time_ns() // 1_000_000
