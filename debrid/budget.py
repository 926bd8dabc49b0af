"""What the program may fetch of its own accord in a day: probes, warming, checks and repairs together.

Nobody waits for these bytes, and the provider counts them like those of a player.
"""

import threading
import time
from collections.abc import Callable

from debrid.errors import HosterBusy
from debrid.holds import seconds_to_reset

BACKGROUND_BYTES = 20 << 30  # a day; the cap that was seen at the provider is 300 GB and more


class BudgetSpent(HosterBusy):
    """Nothing more is fetched without a reader until the provider's day ends."""


class DailyBudget:
    """Thread-safe. `limit`: bytes a day, None: no limit; `clock`: seconds since 1970."""

    def __init__(self, limit: int | None = BACKGROUND_BYTES, clock: Callable[[], float] = time.time) -> None:
        self.limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._spent = 0
        self._ends = 0.0

    @property
    def spent(self) -> int:
        """Bytes taken since the provider's midnight."""
        with self._lock:
            return self._spent if self._clock() < self._ends else 0

    def take(self, size: int, *, urgent: bool = False) -> None:
        """Count `size` bytes that are about to be fetched.

        Raises BudgetSpent if they are too many for today, unless somebody waits for them (`urgent`).
        """
        with self._lock:
            now = self._clock()
            if now >= self._ends:
                self._spent, self._ends = 0, now + seconds_to_reset()
            if self.limit is not None and self._spent + size > self.limit and not urgent:
                left = self._ends - now
                raise BudgetSpent("what may be fetched in a day without a reader is used up", retry_after=left)
            self._spent += size
