"""Which paths the kernel may hold attributes of that some other path can change.

libfuse gives each path its own kernel inode, so when a file has several names, a change through one of them leaves
the cached attributes of the others wrong for `cache_seconds`. `Shown` remembers, for that long, under which paths
a file with several names was shown, and has them forgotten by the kernel before the change is answered.

What is told to the kernel must also be current when it is told: a listing is made when a directory is opened, and its
attributes reach the kernel later, bit by bit. So changes are remembered for a while, and `outdated` says what must be
looked at again.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from vfs.attr import Attr

# Makes the kernel forget what it knows of these paths and returns when it has; never called under our locks.
Forget = Callable[[Iterable[str]], None]
# How long a change waits for the reads of its file: as long as bytes come, reads take milliseconds.
_READS_SECONDS = 0.2
# So many changed things are remembered; what was found out before the oldest of them counts as outdated.
_MOST_CHANGES = 10_000


class Shown:
    """The paths under which files with several names were shown lately. Thread-safe; `_lock` guards every map."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: for how long the kernel keeps attributes; 0 means it keeps none and nothing is remembered."""
        self._seconds = seconds
        self._lock = threading.Lock()
        self._reads_ended = threading.Condition(self._lock)
        self._reads: dict[int, int] = {}
        self._paths: dict[int, dict[str, float]] = {}
        self._swept = time.monotonic()
        # Inode number or path -> number of its last change; before `_oldest` nothing is known.
        self._changes: dict[int | str, int] = {}
        self._count = self._oldest = 0
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
        self._record(ino)
        if not self._seconds or (not also and ino not in self._paths):
            return
        with self._lock:
            paths = self._paths.pop(ino, {})
            if through in paths:
                self._paths[ino] = {through: paths[through]}
        stale = {*paths, *also} - {through}
        if stale and self._unread(ino):
            self.forget(stale)

    @contextmanager
    def reading(self, ino: int) -> Iterator[None]:
        """A read of `ino` that may wait for the network.

        The kernel keeps the pages of a read locked until it is answered, and to forget a file it waits for its pages:
        not only the change would wait, but the whole process, beyond its end, if the read is never answered.
        """
        with self._lock:
            self._reads[ino] = self._reads.get(ino, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._reads[ino] -= 1
                if not self._reads[ino]:
                    del self._reads[ino]
                    self._reads_ended.notify_all()

    def _unread(self, ino: int) -> bool:
        """Whether nobody reads `ino`, or soon nobody does. If not, old attributes are shown until they expire."""
        with self._lock:
            return self._reads_ended.wait_for(lambda: ino not in self._reads, _READS_SECONDS)

    def moved(self, *paths: str) -> None:
        """These names came or went: so they changed, and the folders that hold them."""
        self._record(*paths, *(path.rpartition("/")[0] for path in paths))

    def moved_folder(self) -> None:
        """A folder has another path now, and all below it: no path known from before is sure."""
        with self._lock:
            self._forget_changes()

    def mark(self) -> int:
        """The present; ask before looking, and `outdated` after it."""
        return self._count

    def outdated(self, mark: int, path: str, ino: int) -> bool:
        """Whether what was found out about `path` after `mark`, an inode `ino`, may have changed since."""
        if mark == self._count:
            return False
        last = self._changes.get
        return mark < self._oldest or last(ino, 0) > mark or last(path, 0) > mark

    def _record(self, *things: int | str) -> None:
        if not self._seconds:
            return
        with self._lock:
            if len(self._changes) >= _MOST_CHANGES:
                self._forget_changes()
            self._count += 1
            self._changes.update(dict.fromkeys(things, self._count))

    def _forget_changes(self) -> None:
        self._changes = {}
        self._count += 1
        self._oldest = self._count

    def _sweep(self, now: float) -> None:
        """Drop what the kernel has forgotten by itself, so that the map does not grow."""
        self._swept = now
        for ino, paths in list(self._paths.items()):
            kept = {path: until for path, until in paths.items() if until > now}
            if kept:
                self._paths[ino] = kept
            else:
                del self._paths[ino]
