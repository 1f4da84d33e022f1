"""The two databases that everything is measured on: SQLite files, and a PostgreSQL server of the benchmark's own.

The server is durable as the product demands it (fsync, synchronous_commit on) and otherwise as it comes, but for buffers
that fit the machine and a WAL large enough that no checkpoint falls into a measurement.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support.postgres import PostgresServer, running_postgres

KINDS = ("sqlite", "postgresql")
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "200",
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
}


class Database(NamedTuple):
    """Where installations live. Without a server they are SQLite files."""

    kind: str
    server: PostgresServer | None

    @contextlib.contextmanager
    def new(self, folder: Path) -> Iterator[str]:
        """The URL of an empty database; gone after the block."""
        if self.server is None:
            yield f"sqlite:///{folder / 'bellwire.db'}"
            return
        url = self.server.create_database()
        try:
            yield url
        finally:
            self.server.drop_database(url)

    @property
    def processes(self) -> list[int]:
        """The server's process, whose children work for the connections; none for SQLite."""
        return [] if self.server is None else [self.server.pid()]


SQLITE = Database("sqlite", None)


@contextlib.contextmanager
def databases(kinds: Sequence[str] = KINDS) -> Iterator[list[Database]]:
    """Those that are wanted, in this order; the server runs until the block ends."""
    if "postgresql" not in kinds:
        yield [SQLITE]
        return
    with running_postgres(_SETTINGS) as server:
        yield [SQLITE if kind == "sqlite" else Database(kind, server) for kind in kinds]
