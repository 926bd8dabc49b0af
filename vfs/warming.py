"""Heads and tails of remote files fetched before anybody asks: `Warmer`, one file at a time, behind all other reads.

Lock order: `Warmer._changed` alone; it is never held while something is read.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vfs.budget import DailyBudget
from vfs.chunks import PIECE, TAIL, ceil, clamp
from vfs.library import Key
from vfs.reader import Reader

log = logging.getLogger(__name__)

HEAD = TAIL
QUEUED = 2000  # files; a listing of more than that is not what a library scan reads next
YIELD = 0.5  # s between looks whether others still read


def tail_of(length: int) -> int:
    """Where the tail of a file of `length` bytes begins: on a piece, so that no more is fetched than it has."""
    return ceil(max(0, length - TAIL), PIECE, length)


def in_edges(offset: int, size: int, length: int) -> bool:
    """Whether a read of `size` bytes at `offset` lies in the head and tail of a file of `length` bytes."""
    return offset + size <= HEAD or offset >= tail_of(length) or tail_of(length) <= HEAD


@dataclass(frozen=True, slots=True)
class WarmingStatus:
    """Files since the start: how many wait, are done, could not be read."""

    queued: int
    done: int
    failed: int


class Warmer:
    """Reads what probes will read, so that it lies in the cache. Thread-safe; its thread lives while there is work."""

    def __init__(self, reader: Reader, budget: DailyBudget) -> None:
        self._reader, self._budget = reader, budget
        self.warmed: Callable[[Key, bool], object] = lambda key, good: None
        """Told of each file that was warmed, or (False) could not be or is forgotten."""
        self._changed = threading.Condition()
        self._queue: deque[tuple[Key, int]] = deque()
        self._thread: threading.Thread | None = None
        self._done = self._failed = 0
        self._working = False
        self._open = True

    def add(self, files: Iterable[tuple[Key, int]], first: bool = False) -> int:
        """Warm these files (content, size in bytes) soon; how many were taken, fewer if the queue is full.

        `first`: before those that wait already.
        """
        taken = 0
        with self._changed:
            for file in files:
                if len(self._queue) >= QUEUED or not self._open:
                    break
                if first:
                    self._queue.appendleft(file)
                else:
                    self._queue.append(file)
                taken += 1
            if taken and self._thread is None:
                self._thread = threading.Thread(target=self._work, name="warming", daemon=True)
                self._thread.start()
        return taken

    def stop(self) -> None:
        """Forget what waits."""
        with self._changed:
            forgotten = [key for key, _ in self._queue]
            self._queue.clear()
        for key in forgotten:
            self.warmed(key, False)

    def close(self) -> None:
        """Stop for good. Close the reader as well: a read under way ends with it."""
        with self._changed:
            self._open = False
            self._queue.clear()
            self._changed.notify_all()

    def status(self) -> WarmingStatus:
        with self._changed:
            return WarmingStatus(len(self._queue) + self._working, self._done, self._failed)

    def _work(self) -> None:
        while (file := self._next()) is not None:
            good = self._warm(*file)
            self.warmed(file[0], good)
            with self._changed:
                self._working = False
                self._done += good
                self._failed += not good

    def _next(self) -> tuple[Key, int] | None:
        with self._changed:
            while self._queue and self._reader.stats().streams:
                self._changed.wait(YIELD)
            if not self._queue:
                self._thread = None
                return None
            self._working = True
            return self._queue.popleft()

    def _warm(self, key: Key, size: int) -> bool:
        begun = time.monotonic()
        if not self._budget.allows(2 * HEAD):
            return False
        self._budget.working(key, "warm")
        try:
            # A handle each: two reads of one handle might pass for reading on.
            for offset in {0, tail_of(size)}:
                handle = self._reader.open(key, size)
                try:
                    handle.read(clamp(offset, HEAD, size).size, offset)
                finally:
                    handle.close()
        except OSError as error:
            log.info("%s is not warmed: %s", key, error)
            return False
        log.debug("warmed %s in %.1f s", key, time.monotonic() - begun)
        return True
