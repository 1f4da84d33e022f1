"""A disk that can be full: a small file system of its own where it may be mounted, else a limit on the size of files."""

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.fleet import Member

SIZE = "64m"
_BALLAST = "ballast"
_CHUNK = b"\0" * 65_536


class Disk:
    """Where the hub's data is. `fill` and `drain` are for all processes that write there."""

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self.folder = folder
        self.mounted = mounted

    @property
    def kind(self) -> str:
        return "a full file system" if self.mounted else "a limit on file sizes"

    def fill(self, members: Sequence[Member]) -> None:
        """From now on no write that needs room succeeds."""
        if not self.mounted:
            for member in members:
                _limit_files(member, 4096)
            return
        with contextlib.suppress(OSError), (self.folder / _BALLAST).open("wb", buffering=0) as ballast:
            while True:
                ballast.write(_CHUNK)

    def drain(self, members: Sequence[Member]) -> None:
        """There is room again."""
        if not self.mounted:
            for member in members:
                _limit_files(member, resource.RLIM_INFINITY)
            return
        (self.folder / _BALLAST).unlink(missing_ok=True)


def _limit_files(member: Member, size: int) -> None:
    """Python ignores SIGXFSZ: writes beyond the limit fail with EFBIG. What is within the file's size still works."""
    if member.process is not None and member.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(member.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@contextmanager
def own_disk(folder: Path) -> Iterator[Disk]:
    """A small tmpfs on `folder`; where mounting is not allowed, the limit."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={SIZE},mode=0777,uid={os.getuid()}"
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, check=False
        ).returncode
        == 0
    )
    try:
        yield Disk(folder, mounted=mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
