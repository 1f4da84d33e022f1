"""Who waits for attempts hears that the hub stops."""

import asyncio

from bellwire.delivery.listeners import Listeners


def test_the_end_reaches_a_full_queue_too() -> None:
    async def run() -> list[int]:
        listeners = Listeners()
        queue = listeners.subscribe()
        for attempt_id in range(500):
            listeners.tell(attempt_id)
        listeners.end()
        return [queue.get_nowait() for _ in range(queue.qsize())]

    heard = asyncio.run(run())
    assert heard[-1] < 0
    assert all(attempt_id >= 0 for attempt_id in heard[:-1])
