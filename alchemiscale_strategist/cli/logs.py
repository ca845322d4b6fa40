"""What a service tells, as lines on standard error: for people, or as JSON for programs."""

from __future__ import annotations

import logging
import sys
from typing import Any

from alchemiscale_strategist.errors import MissingDependencyError
from alchemiscale_strategist.service import EventLog

__all__ = ["LEVELS", "make_log"]

LEVELS = ("debug", "info", "warning", "error")


def make_log(*, as_json: bool, level: str) -> EventLog:
    """Return a log that writes to standard error.

    Args:
        as_json: one JSON object a line, rather than text.
        level: the least severe events that are told, one of ``LEVELS``.

    Raises:
        MissingDependencyError: structlog is not installed.
    """
    try:
        import structlog  # noqa: PLC0415 - only a service needs it
    except ImportError:
        raise MissingDependencyError(feature="The service's log", package="structlog", extra="service") from None
    ending: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    log: EventLog = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *ending,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
    )
    return log
