"""Errors of the v2 wire (spec: api 4.2)."""

import msgspec

from bellwire.db.parked import DiscardRefused
from bellwire.db.postgres import is_away
from bellwire.db.replays import IdempotencyConflict
from bellwire.db.writer import WriterClosed
from bellwire.delivery.replay_orders import ReplayRefused
from bellwire.kit.bodies import BadBody
from bellwire.kit.endpoints import Problem

_TYPES = {
    400: "invalid_request",
    401: "authentication_error",
    403: "authorization_error",
    404: "resource_missing",
    405: "invalid_request",
    409: "idempotency_error",
    413: "invalid_request",
    422: "unprocessable_entity_error",
    429: "rate_limit_error",
    503: "server_error",
}
_RETRYABLE = frozenset({429, 500, 503})


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of every error."""

    object: str
    type: str
    message: str
    retryable: bool
    param: str | None


class ParameterError(Problem):
    """A parameter is missing or not what it should be."""

    def __init__(self, param: str | None, message: str) -> None:
        super().__init__(400, message)
        self.param = param


def missing(what: str, object_id: str) -> Problem:
    """404: the key's project has no such thing."""
    return Problem(404, f"This project has no {what} {object_id}.")


def error_body(problem: Problem) -> ErrorBody:
    """What is sent."""
    parameter = isinstance(problem, ParameterError)
    return ErrorBody(
        object="error",
        type="parameter_error" if parameter else _TYPES.get(problem.status, "server_error"),
        message=problem.message,
        retryable=problem.status in _RETRYABLE,
        param=problem.param if isinstance(problem, ParameterError) else None,
    )


def translate(error: Exception) -> Problem | None:
    """Errors of inner rooms, as the wire tells them; None = not foreseen."""
    match error:
        case BadBody():
            return ParameterError(error.field or None, error.message)
        case DiscardRefused():
            return ParameterError("reason", str(error))
        case ReplayRefused():
            return Problem(422, str(error))
        case IdempotencyConflict():
            return Problem(409, str(error))
        case WriterClosed():
            return Problem(503, "The hub is stopping; try again.", headers={"Retry-After": "1"})
        case _ if is_away(error):
            return Problem(503, "The database is not there right now; try again.", headers={"Retry-After": "2"})
        case _:
            return None
