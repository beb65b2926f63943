"""Structured logging: readable on a terminal, JSON elsewhere, job_id in a context variable."""

from __future__ import annotations

import logging
import re
import sys
from collections import deque
from typing import Any, Literal, TextIO

import orjson
import stamina.instrumentation
import structlog
from structlog.typing import EventDict

logger: structlog.stdlib.BoundLogger = structlog.get_logger()

#: The last lines of the child's output and of our own log, for GET /logs.
RING_LINES = 2000

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Ring:
    """The last lines that were logged, ours and ComfyUI's."""

    def __init__(self, size: int = RING_LINES) -> None:
        self._lines: deque[dict[str, Any]] = deque(maxlen=size)

    def __call__(self, _: Any, __: str, event: EventDict) -> EventDict:
        """Keep a copy of each line; a structlog processor."""
        # GET /logs reads from here, and no stack trace of ours goes on the wire.
        hidden = ("exception", "exc_info", "stack_info")
        self._lines.append({k: _plain(v) for k, v in event.items() if k not in hidden})
        return event

    def tail(self, count: int, source: str | None = None) -> list[dict[str, Any]]:
        """Return the last lines, oldest first; `source` is "comfyui" or "gateway" for one's own."""
        lines = [line for line in self._lines if source in (None, line.get("source", "gateway"))]
        return lines[-count:] if count else []


ring = Ring()


def configure(level: str, form: Literal["auto", "console", "json"], stream: TextIO) -> None:
    """Set up logging for the process; `stream` gets the lines."""
    as_json = form == "json" or (form == "auto" and not stream.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(serializer=_dumps)
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            *shared,
            # Local variables hold keys, credentials and whole requests: frames go without them.
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            )
            if as_json
            else _keep,
            ring,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    stamina.instrumentation.set_on_retry_hooks([_tell_retry])
    logging.basicConfig(
        level=logging.WARNING, handlers=[_Forward()], format="%(message)s", force=True
    )


def plain_text(line: str) -> str:
    """Return a line of the child's output without terminal colours."""
    return _ANSI.sub("", line)


def _tell_retry(details: stamina.instrumentation.RetryDetails) -> None:
    # Its own line names what is called, with arguments; what matters is why, and for how long.
    logger.warning(
        "trying again",
        reason=str(details.caused_by),
        attempt=details.retry_num + 1,
        wait_s=round(details.wait_for, 2),
    )


class _Forward(logging.Handler):
    """Sends what libraries log through the same door."""

    def emit(self, record: logging.LogRecord) -> None:
        failure = record.exc_info[1] if record.exc_info else None
        if type(failure).__module__ == "aiohttp.http_exceptions":
            # Its sentence quotes the request, in which there may be a key.
            logger.info("a request was no HTTP", reason=type(failure).__name__, logger=record.name)
            return
        method = getattr(logger, record.levelname.lower(), logger.warning)
        method(record.getMessage(), logger=record.name, exc_info=record.exc_info)


def _keep(_: Any, __: str, event: Any) -> Any:
    return event


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _dumps(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()


def stderr() -> TextIO:
    """Return where the log goes; standard output stays free for answers of the command line."""
    return sys.stderr
