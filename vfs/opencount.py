"""How often each inode is open: whether a file that loses its name must be kept for somebody."""

import threading
import time

# libfuse tells us of a close before it counts it itself. A file it takes for open may have been closed this long ago.
_GRACE = 1.0
_MANY = 64


class OpenCount:
    """Counts handles by inode number. Thread-safe; the lock is a leaf."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, int] = {}
        self._lately: dict[int, float] = {}

    def opened(self, ino: int) -> None:
        with self._lock:
            self._open[ino] = self._open.get(ino, 0) + 1

    def closed(self, ino: int) -> bool:
        """Count one handle less; whether that was the last."""
        with self._lock:
            self._open[ino] -= 1
            if self._open[ino]:
                return False
            del self._open[ino]
            now = time.monotonic()
            if len(self._lately) > _MANY:
                self._lately = {one: at for one, at in self._lately.items() if now - at < _GRACE}
            self._lately[ino] = now
            return True

    def is_open(self, ino: int) -> bool:
        return ino in self._open

    def was_open_lately(self, ino: int) -> bool:
        """Whether it is open, or was until a moment ago."""
        return ino in self._open or time.monotonic() - self._lately.get(ino, float("-inf")) < _GRACE
