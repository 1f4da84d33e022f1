"""What is told of requests at the doors once they are answered."""

import logging
from collections.abc import Callable

import structlog

from bellwire.kit import logs
from bellwire.kit.endpoints import Call, Reply
from bellwire.observe import metrics

log = structlog.get_logger()

_CLASSES = {digit: f"{digit}xx" for digit in range(1, 6)}


def note_answers(door: str) -> Callable[[Call, Reply, float], None]:
    """For the surface of one door. Work that was done has a line of its own; one for each request is for debugging."""

    def note(call: Call, reply: Reply, took_ms: float) -> None:
        metrics.REQUEST_SECONDS.observe(took_ms, door, _CLASSES[reply.status // 100])
        if logs.wanted(logging.DEBUG):
            log.debug(
                "request.answered",
                method=call.method,
                status=reply.status,
                request_id=call.request_id,
                duration_ms=round(took_ms, 1),
            )

    return note
