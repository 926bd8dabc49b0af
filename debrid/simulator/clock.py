"""The simulator's virtual clock, and the forms in which Real-Debrid writes a moment.

Real-Debrid lives in Paris: its dates are local time although they end in `Z`, and its daily counters start
again at midnight there. The rule for summer time is written out, so that no time zone database is needed.
"""

import calendar
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

DAY = 86400.0


class Clock:
    """Seconds since 1970; runs like `base` and can be moved forward."""

    def __init__(self, base: Callable[[], float] | None = None) -> None:
        self._base = base or time.time
        self._ahead = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._base() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move forward; going back would make ids and dates lie, so it is refused."""
        if seconds < 0:
            raise ValueError("the clock only moves forward")
        with self._lock:
            self._ahead += seconds


def _last_sunday(year: int, month: int) -> datetime:
    last = calendar.monthrange(year, month)[1]
    day = datetime(year, month, last, 1, tzinfo=UTC)
    return day - timedelta(days=(day.weekday() + 1) % 7)


def paris_offset(moment: float) -> int:
    """Seconds by which Paris is ahead of UTC at `moment`: summer time changes at 01:00 UTC."""
    at = datetime.fromtimestamp(moment, UTC)
    summer = _last_sunday(at.year, 3) <= at < _last_sunday(at.year, 10)
    return 7200 if summer else 3600


def _paris(moment: float) -> datetime:
    return datetime.fromtimestamp(moment + paris_offset(moment), UTC)


def json_date(moment: float, true_utc: bool = False) -> str:
    """A date as in the JSON answers, milliseconds always 000; local time stamped Z unless `true_utc`."""
    at = datetime.fromtimestamp(moment, UTC) if true_utc else _paris(moment)
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def local_text(moment: float) -> str:
    """The body of GET /time."""
    return _paris(moment).strftime("%Y-%m-%d %H:%M:%S")


def iso_text(moment: float) -> str:
    """The body of GET /time/iso."""
    return _paris(moment).strftime("%Y-%m-%dT%H:%M:%S") + f"+{paris_offset(moment) // 3600:02d}00"


def local_day(moment: float) -> str:
    """The day in Paris, `YYYY-MM-DD`: the unit of the traffic counters and of the byte quota."""
    return _paris(moment).strftime("%Y-%m-%d")
