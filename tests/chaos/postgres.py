"""A PostgreSQL server that may be killed at any moment and must come back from its log."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.postgres import PostgresMissing, PostgresServer, running_postgres

SETTINGS = {
    "synchronous_commit": "on",  # what was committed must survive the death of every process
    "full_page_writes": "on",
    "wal_sync_method": "fdatasync",
}
"""`fsync` stays off: the machine itself does not die here, and what processes wrote outlives them."""


class ChaosPostgres:
    """One server, one database."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.url = server.create_database()

    def crash(self) -> None:
        """SIGKILL of all processes at once; returns when all are gone."""
        os.kill(self._server.pid(), signal.SIGSTOP)  # or it would go on making processes while we count them
        family = self._family()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while any(_alive(pid) for pid in family) and time.monotonic() < deadline:
            time.sleep(0.01)

    def start(self) -> None:
        """Come back. The system may still be clearing up after the dead: then once more."""
        deadline = time.monotonic() + 30
        while True:
            try:
                self._server.start()
            except PostgresMissing:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def restart(self) -> None:
        """`pg_ctl stop -m immediate`, and start."""
        self._server.stop("immediate")
        self.start()

    def kill_a_backend(self, chance: random.Random) -> None:
        """SIGKILL of one of the processes that serve connections."""
        backends = [
            pid for pid in self._family()[1:] if b"bellwire" in _command(pid) or b"postgres test_" in _command(pid)
        ]
        if backends:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(backends), signal.SIGKILL)

    def until_ready(self) -> None:
        """Wait until connections are taken again. Raises TimeoutError."""
        deadline = time.monotonic() + 30
        while True:
            try:
                self._server.ping()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise TimeoutError("PostgreSQL did not come back") from error
                time.sleep(0.05)
            else:
                return

    def _family(self) -> list[int]:
        """The postmaster, then its children."""
        postmaster = self._server.pid()
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [postmaster, *map(int, children)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _alive(pid: int) -> bool:
    """A zombie that waits for its parent's attention is dead enough."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def chaos_postgres() -> Iterator[ChaosPostgres]:
    """Start one. Raises PostgresMissing."""
    with running_postgres(SETTINGS) as server:
        yield ChaosPostgres(server)
