"""Errors of the v1 wire: a status, a code that SDKs know, a sentence for developers (spec: api 1.5)."""

from collections.abc import Sequence
from enum import IntEnum

import msgspec
import structlog
from msgspec import UNSET, UnsetType
from sqlalchemy.exc import SQLAlchemyError

from bellwire.db.postgres import is_away
from bellwire.db.writer import WriterClosed
from bellwire.engine.attributes import AttributeError
from bellwire.engine.identity import InvalidAppUserId
from bellwire.ingest.calls import IngestError
from bellwire.kit.bodies import BadBody
from bellwire.kit.endpoints import Problem
from bellwire.web.limits import TooMany

log = structlog.get_logger()


class Code(IntEnum):
    """The codes that doors themselves give; ingest brings more."""

    INVALID_PLATFORM = 7000
    STORE_PROBLEM = 7101
    INVALID_RECEIPT = 7103
    PRODUCT_ID_MISSING = 7106
    INTERNAL = 7110
    MISSING_KEY = 7224
    INVALID_KEY = 7225
    BAD_REQUEST = 7226
    SECRET_KEY_IN_APP = 7243
    INVALID_ATTRIBUTES = 7263
    MALFORMED_ATTRIBUTES = 7264
    TOO_MANY = 7638
    INVALID_REDEMPTION_TOKEN = 7849


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of every error on SDK paths."""

    code: int
    message: str
    attribute_errors: Sequence[AttributeError] | UnsetType = UNSET


class WireError(Problem):
    """An error answer with its code."""

    def __init__(
        self,
        status: int,
        code: int,
        message: str,
        *,
        attribute_errors: Sequence[AttributeError] | UnsetType = UNSET,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(
            status, message, headers=None if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        )
        self.code = int(code)
        self.attribute_errors = attribute_errors


def error_body(problem: Problem) -> ErrorBody:
    """What is sent; problems that the endpoint helper found itself get the general codes."""
    if isinstance(problem, WireError):
        return ErrorBody(code=problem.code, message=problem.message, attribute_errors=problem.attribute_errors)
    code = (
        Code.TOO_MANY if isinstance(problem, TooMany) else Code.INTERNAL if problem.status >= 500 else Code.BAD_REQUEST
    )
    return ErrorBody(code=int(code), message=problem.message)


def translate(error: Exception) -> Problem | None:
    """Errors of inner rooms, as the wire tells them; None = not foreseen."""
    match error:
        case IngestError():
            return WireError(error.status, error.code, error.message, retry_after_s=error.retry_after_s)
        case InvalidAppUserId():
            return WireError(400, error.code, error.message)
        case BadBody():
            return WireError(400, Code.BAD_REQUEST, error.message)
        case WriterClosed():
            return WireError(503, Code.INTERNAL, "The hub is stopping; try again.", retry_after_s=1)
        case SQLAlchemyError() if is_away(error):
            log.warning("database.away", reason=type(error).__name__)
            return WireError(503, Code.INTERNAL, "The database is not there right now; try again.", retry_after_s=2)
        case _:
            return None
