"""What is open, by inode number: whether a file that loses its name is kept, and who must follow one that moves."""

import threading
import time
from itertools import islice
from typing import Generic, TypeVar

from vfs.branch import Handle

# libfuse tells us of a close before it counts it itself. A file it takes for open may have been closed this long ago.
_GRACE = 1.0
H = TypeVar("H", bound=Handle)


class OpenFiles(Generic[H]):
    """Handles by inode number. Thread-safe; the lock is a leaf."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, set[H]] = {}
        # The last closed at the end, so what is old can be taken from the beginning without looking at all.
        self._lately: dict[int, float] = {}

    def opened(self, ino: int, handle: H) -> None:
        with self._lock:
            self._open.setdefault(ino, set()).add(handle)

    def closed(self, ino: int, handle: H) -> bool:
        """One handle less; whether that was the last."""
        with self._lock:
            handles = self._open[ino]
            handles.discard(handle)
            if handles:
                return False
            del self._open[ino]
            self._closed_now(ino)
            return True

    def _closed_now(self, ino: int) -> None:
        now = time.monotonic()
        self._lately.pop(ino, None)
        self._lately[ino] = now
        for oldest in list(islice(self._lately, 2)):
            if now - self._lately[oldest] >= _GRACE:
                del self._lately[oldest]

    def handles(self, ino: int) -> list[H]:
        """Those that are open now."""
        with self._lock:
            return list(self._open.get(ino, ()))

    def __len__(self) -> int:
        """How many files are open."""
        return len(self._open)

    def is_open(self, ino: int) -> bool:
        return ino in self._open

    def was_open_lately(self, ino: int) -> bool:
        """Whether it is open, or was until a moment ago."""
        return ino in self._open or time.monotonic() - self._lately.get(ino, float("-inf")) < _GRACE
