"""A file that one process holds while it runs: the kernel lets go of it when the process ends, however it ends."""

import contextlib
import fcntl
import os
from pathlib import Path


class Held(Exception):
    """Another process holds the file; the message names both."""


class LockFile:
    """Taken at once, or Held is raised. The file stays behind; it means nothing by itself."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._handle, 32).decode(errors="replace").strip()
            os.close(self._handle)
            raise Held(f"process {holder or 'unknown'} holds {path}") from error
        os.truncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go; again does nothing."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with contextlib.suppress(OSError):
                os.close(handle)
