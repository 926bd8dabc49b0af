"""`Throttle`: warnings that do not flood the log."""

import logging
import time


class Throttle:
    """Lets one warning per interval (s) pass, and counts the others."""

    def __init__(self, logger: logging.Logger, interval: float = 60.0) -> None:
        self._log = logger
        self._interval = interval
        self._next = float("-inf")
        self._held = 0

    def warn(self, message: str, *args: object) -> None:
        now = time.monotonic()
        if now < self._next:
            self._held += 1
            return
        self._log.warning(
            f"{message} (%d more since the last message)" if self._held else message, *args, *self._take()
        )
        self._next = now + self._interval

    def _take(self) -> list[int]:
        held, self._held = self._held, 0
        return [held] if held else []
