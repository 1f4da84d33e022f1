"""Looking up what is known of purchases, for all who ask at the same moment with one query on one thread."""

import asyncio

import sqlalchemy as sa

from bellwire.db.purchases import AppKey, find_chains
from bellwire.model.purchases import Chain


class ChainFinder:
    """One per process, on one event loop. A thread and a query for each notification cost more than all else it needs;
    so those that ask while a query runs share the next one."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._wanted: dict[AppKey, asyncio.Future[Chain | None]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def find(self, app_id: str, store_key: str) -> Chain | None:
        """The chain of an app under this store key, in whichever environment, as it was committed last."""
        key = (app_id, store_key)
        answer = self._wanted.get(key)
        if answer is None:
            answer = self._wanted[key] = asyncio.get_running_loop().create_future()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(answer)  # others may wait for the same

    async def _look(self) -> None:
        while self._wanted:
            wanted, self._wanted = self._wanted, dict[AppKey, asyncio.Future[Chain | None]]()
            try:
                found = await asyncio.to_thread(self._load, list(wanted))
            except Exception as error:
                for answer in wanted.values():
                    answer.set_exception(error)
            else:
                for key, answer in wanted.items():
                    answer.set_result(found.get(key))

    def _load(self, keys: list[AppKey]) -> dict[AppKey, Chain]:
        with self._engine.connect() as connection:
            return find_chains(connection, keys)
