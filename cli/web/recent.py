"""What was warned of lately, kept in memory for the page and counted for /metrics."""

import logging
from collections import Counter, deque
from collections.abc import Collection
from typing import NamedTuple

from cli.output import printable

_MOST = 100
_LONGEST = 600  # letters of one message


class Warned(NamedTuple):
    """One message: when (seconds since 1970), how grave, of which part, and what."""

    at: float
    level: str
    part: str
    text: str


class Recent(logging.Handler):
    """The last warnings and errors. Nothing secret is logged; should it happen, it is not shown here."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        """`secrets`: texts that never appear."""
        super().__init__(logging.WARNING)
        self._secrets = [each for each in secrets if each]
        self._kept: deque[Warned] = deque(maxlen=_MOST)
        self.counted: Counter[str] = Counter({"warning": 0, "error": 0})

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message; of an exception only what is said, its place stands in the log."""
        level = "error" if record.levelno >= logging.ERROR else "warning"
        try:
            said = record.getMessage()
        except Exception:  # as logging does it: a message that cannot be made must not end what was done
            said = str(record.msg)
        for secret in self._secrets:
            said = said.replace(secret, "***")
        self.counted[level] += 1
        self._kept.append(Warned(record.created, level, record.name, printable(said[:_LONGEST])))

    def latest(self) -> list[Warned]:
        """The newest first."""
        return list(self._kept)[::-1]
