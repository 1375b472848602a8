"""What the libraries here say while they work, for people at a terminal: a line each, where the command wants it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Whose words are shown: other packages speak of what no one here asked for.
SPEAKERS = ("mmretrieval", "models")


class _Lines(logging.Handler):
    """Hands each record to `tell` as one line; a warning says that it is one."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self.tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self.tell(f"{'warning: ' if record.levelno >= logging.WARNING else ''}{record.getMessage()}")


@contextmanager
def notes(tell: Callable[[str], None]) -> Iterator[None]:
    """While it lasts, slow work is told of: `tell` gets a line at a time, from any thread."""
    handler = _Lines(tell)
    loggers = [logging.getLogger(name) for name in SPEAKERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
