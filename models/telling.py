"""Says how far a training is, to whoever reads the log: never at once, and not often."""

from __future__ import annotations

import logging
import time

# The least time between two words on one training.
EVERY_SECONDS = 10.0


class Told:
    """Counts the steps of one training, `what`, out of `of`."""

    def __init__(self, logger: logging.Logger, what: str, of: int) -> None:
        self._logger, self._what, self._of, self._last = logger, what, of, time.monotonic()

    def __call__(self, done: int) -> None:
        """Takes note that so many steps are done."""
        if (now := time.monotonic()) - self._last >= EVERY_SECONDS:
            self._last = now
            self._logger.info("%s: step %d of %d", self._what, done, self._of)
