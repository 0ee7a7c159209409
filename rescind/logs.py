"""Structured logs of the daemons: one JSON object a line."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TextIO

from adapters.errors import ConfigError

LEVELS = ("debug", "info", "warning", "error")


def configure_logging(log_file: Path | None = None, level: str = "info") -> None:
    """Send structlog and standard logging to `log_file`, or to standard error, as JSON lines."""
    import structlog

    if level not in LEVELS:
        raise ConfigError(f"log level {level!r} is not one of {', '.join(LEVELS)}")
    stream = _open(log_file) if log_file else sys.stderr
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(threshold, logging.WARNING))
    for room in ("node", "aggregator", "agents", "training", "protocol", "contracts", "ledger"):
        logging.getLogger(room).setLevel(threshold)
    logging.getLogger("rescind").setLevel(threshold)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _open(log_file: Path) -> TextIO:
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        return log_file.open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise ConfigError(f"log file {log_file} cannot be opened: {error.strerror}") from error
