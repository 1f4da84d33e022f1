"""Long lists of keys, in pieces that fit into one statement: SQLite takes 32,766 parameters, PostgreSQL 65,535."""

from collections.abc import Collection, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

KEYS_AT_ONCE = 5_000
"""Of up to six columns."""


def chunks(keys: Collection[T]) -> Iterator[list[T]]:
    """`keys` in lists of at most `KEYS_AT_ONCE`."""
    rest = iter(keys)
    while piece := list(islice(rest, KEYS_AT_ONCE)):
        yield piece
