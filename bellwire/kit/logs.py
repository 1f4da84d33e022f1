"""Where log lines go, and what may be in them."""

import logging
import sys
from typing import TextIO

import structlog


def configure_logs(*, level: str, as_json: bool, file: TextIO | None = None, keep: bool = True) -> None:
    """One structured line per unit of work, on stderr. `keep` fixes loggers at first use, which is faster.

    Tracebacks never show the values of variables, which may be secrets: structlog's own choice would.
    """
    out = sys.stderr if file is None else file
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=keep,
    )
