"""Which database the hubs of a test work on: a SQLite file in their folder, unless the fixture `database` chose PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_chosen: dict[Path, str] = {}


def database_url(folder: Path) -> str:
    """The database of a hub in this folder; opening it again is the same one."""
    return _chosen.get(folder, f"sqlite:///{folder / 'bellwire.db'}")


@contextmanager
def chosen(folder: Path, url: str) -> Iterator[None]:
    """Let hubs in this folder work on this one."""
    _chosen[folder] = url
    try:
        yield
    finally:
        del _chosen[folder]
