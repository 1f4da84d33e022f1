"""Work that one of several processes shall do: what it asks about whose turn it is."""

from typing import Protocol


class Jobs(Protocol):
    """What a process knows of the others (`db.presence`)."""

    @property
    def works(self) -> bool:
        """Whether this process does anything besides what came in through its own doors."""
        ...

    def mine(self, key: str) -> bool:
        """Whether the job is this process's. For a moment two may think so: doing it twice must do no harm."""
        ...


class EveryJob:
    """The only process there is."""

    works = True

    def mine(self, key: str) -> bool:
        del key
        return True
