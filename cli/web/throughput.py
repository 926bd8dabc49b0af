"""The bytes of the last hour by source, and how fast each open file is read: sampled every ten seconds.

Three sources: `drives` is what programs read of local files and of pinned copies, as far as it comes through us (what
the kernel reads by itself is not seen); `cache` what they read of remote files that the disk cache had; `provider` what
was fetched, read-ahead and warming included.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

log = logging.getLogger(__name__)

STEP = 10.0  # seconds
STEPS = 360  # an hour


class Sums(NamedTuple):
    """Bytes since the start."""

    drives: int
    cache: int
    provider: int


class Rates(NamedTuple):
    """Bytes a second in one step."""

    drives: float
    cache: float
    provider: float


class Hour:
    """The ring of the last hour. Not thread-safe."""

    def __init__(self) -> None:
        self._rates: deque[Rates] = deque(maxlen=STEPS)
        self._last: tuple[float, Sums] | None = None

    def add(self, now: float, sums: Sums) -> None:
        """What has come until `now` (s, monotonic). A pause, as of a suspended machine, is a gap of nothing."""
        if self._last is not None:
            then, before = self._last
            seconds = max(now - then, 0.001)
            gap = min(STEPS, round(seconds / STEP) - 1)
            self._rates.extend([Rates(0.0, 0.0, 0.0)] * gap)
            # Sums never shrink but by a handle that is counted while it closes.
            self._rates.append(Rates(*(max(0, new - old) / seconds for new, old in zip(sums, before, strict=True))))
        self._last = (now, sums)

    def rates(self) -> list[Rates]:
        """The oldest first; fewer than STEPS in the first hour."""
        return list(self._rates)


class Speeds:
    """How fast the counters of things grow, over the last ten to twenty seconds. Not thread-safe."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, Mapping[int, int]]] = []

    def mark(self, now: float, counts: Mapping[int, int]) -> None:
        """What the counters say at `now` (s, monotonic), by number."""
        self._marks = [*self._marks[-1:], (now, counts)]

    def rate(self, now: float, number: int, count: int, since: float) -> float:
        """Bytes a second of a counter that says `count` now and began at `since`."""
        if self._marks and number in self._marks[0][1]:
            then, before = self._marks[0][0], self._marks[0][1][number]
        else:
            then, before = since, 0
        return max(0, count - before) / max(now - then, 1.0)


class Sampler:
    """Looks every ten seconds, in a thread of its own. Thread-safe; `_lock` is a leaf."""

    def __init__(self, sums: Callable[[], Sums], counts: Callable[[], Iterable[tuple[int, int]]]) -> None:
        """`counts`: of each open file its number and the bytes so far."""
        self._sums, self._counts = sums, counts
        self._lock = threading.Lock()
        self._hour, self._speeds = Hour(), Speeds()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="throughput", daemon=True)

    def start(self) -> None:
        """Begin."""
        self.sample()
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join(5)

    def sample(self) -> None:
        """Look once."""
        now, sums, counts = time.monotonic(), self._sums(), dict(self._counts())
        with self._lock:
            self._hour.add(now, sums)
            self._speeds.mark(now, counts)

    def rates(self) -> list[Rates]:
        """As `Hour.rates`."""
        with self._lock:
            return self._hour.rates()

    def rate(self, number: int, count: int, since: float) -> float:
        """As `Speeds.rate`, now."""
        with self._lock:
            return self._speeds.rate(time.monotonic(), number, count, since)

    def _run(self) -> None:
        while not self._end.wait(STEP):
            try:
                self.sample()
            except Exception:
                log.exception("the throughput was not sampled, which is a bug in mediapool")
