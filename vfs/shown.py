"""Which paths the kernel may hold attributes of that some other path can change.

libfuse gives each path its own kernel inode, so when a file has several names, a change through one of them leaves
the cached attributes of the others wrong for `cache_seconds`. `Shown` remembers, for that long, under which paths
a file with several names was shown, and has them forgotten by the kernel before the change is answered.
"""

import threading
import time
from collections.abc import Callable, Iterable

from vfs.attr import Attr

# Makes the kernel forget what it knows of these paths and returns when it has; never called under our locks.
Forget = Callable[[Iterable[str]], None]


class Shown:
    """The paths under which files with several names were shown lately. Thread-safe; `_lock` guards the map."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: for how long the kernel keeps attributes; 0 means it keeps none and nothing is remembered."""
        self._seconds = seconds
        self._lock = threading.Lock()
        self._paths: dict[int, dict[str, float]] = {}
        self._swept = time.monotonic()
        self.forget: Forget = lambda paths: None

    def note(self, path: str, attr: Attr) -> None:
        """The kernel is about to be told `attr` of `path`."""
        if attr.nlink < 2 or attr.is_dir or not self._seconds:
            return
        now = time.monotonic()
        with self._lock:
            self._paths.setdefault(attr.ino, {})[path] = now + self._seconds
            if now - self._swept > 10 * self._seconds + 1:
                self._sweep(now)

    def changed(self, ino: int, *also: str, through: str | None = None) -> None:
        """The file `ino` has new attributes: have them forgotten under every path shown, and under `also`.

        Not under the path `through` which it was changed: the kernel knows that one's attributes from the change
        itself, and during a write it holds that one's pages, so it could not forget them before we answer.
        """
        if not self._seconds or (not also and ino not in self._paths):
            return
        with self._lock:
            paths = self._paths.pop(ino, {})
            if through in paths:
                self._paths[ino] = {through: paths[through]}
        stale = {*paths, *also} - {through}
        if stale:
            self.forget(stale)

    def _sweep(self, now: float) -> None:
        """Drop what the kernel has forgotten by itself, so that the map does not grow."""
        self._swept = now
        for ino, paths in list(self._paths.items()):
            kept = {path: until for path, until in paths.items() if until > now}
            if kept:
                self._paths[ino] = kept
            else:
                del self._paths[ino]
