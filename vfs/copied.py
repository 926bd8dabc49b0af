"""Noticing that a remote file was copied where a hard link would have done: every byte of it was fetched for that.

An importer that cannot link copies without a word. What can be seen is that most of a remote file was read by one
handle, and then a file of exactly the same size was written and closed. Most, not all: what the kernel has cached of
it, as its head and tail after a probe, is not asked for again.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from vfs.library import Key

_SMALLEST = 1 << 20  # bytes; nobody minds less
_REMEMBERED = 600.0  # seconds for which a file that was read whole may turn up as another
_MOST = 100
_NOT_TRIED = (
    "no hard link was tried, so the program sees two filesystems there (share the tree as one folder, not its folders"
    " one by one), or its option to use hard links instead of copying is off"
)


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """A remote file that was copied; `size` in bytes, paths in the tree."""

    content: Key
    source: str
    target: str
    program: str
    size: int
    cause: str

    def __str__(self) -> str:
        return f"{self.program} copied {self.source} to {self.target} instead of linking it: {self.cause}"


@dataclass(slots=True)
class _Reading:
    content: Key
    path: str
    size: int
    came: int = 0
    program: str = ""


class CopyWatch:
    """Thread-safe; `_lock` is a leaf. `clock`: seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.tell: Callable[[CopiedFile], None] = lambda found: None
        self.program: Callable[[], str] = lambda: "a program"
        """The program for which the present thread works."""
        self.found: deque[CopiedFile] = deque(maxlen=20)
        """The latest ones."""
        self._clock = clock
        self._lock = threading.Lock()
        self._reading: dict[int, _Reading] = {}  # by handle
        self._whole: OrderedDict[int, tuple[_Reading, float]] = OrderedDict()  # by size, and when
        self._refused: OrderedDict[str, str] = OrderedDict()  # paths whose link failed, and why

    def opened(self, fh: int, content: Key, path: str, size: int) -> None:
        """A remote file is open."""
        if size >= _SMALLEST:
            self._reading[fh] = _Reading(content, path, size)

    def read(self, fh: int, count: int) -> None:
        """So many bytes of it were read."""
        found = self._reading.get(fh)
        if found is None or found.program:
            return
        found.came += count  # not exact when two threads read one handle, and need not be
        if 2 * found.came >= found.size:
            found.program = self.program()
            with self._lock:
                self._whole[found.size] = (found, self._clock())
                self._whole.move_to_end(found.size)
                while len(self._whole) > _MOST:
                    self._whole.popitem(last=False)

    def refused(self, source: str, why: str) -> None:
        """A link to this path failed."""
        with self._lock:
            self._refused[source] = why
            while len(self._refused) > _MOST:
                self._refused.popitem(last=False)

    def closed(self, fh: int) -> None:
        """A handle is closed."""
        self._reading.pop(fh, None)

    @property
    def expects(self) -> bool:
        """Whether a file that was written has to be looked at."""
        return bool(self._whole)

    def written(self, path: str, size: int) -> None:
        """A file that was open for writing is closed, and has so many bytes."""
        with self._lock:
            found, at = self._whole.get(size, (None, 0.0))
            if found is None or self._clock() > at + _REMEMBERED:
                return
            del self._whole[size]
            why = self._refused.pop(found.path, "")
        cause = f"the hard link failed: {why}" if why else _NOT_TRIED
        copied = CopiedFile(found.content, found.path, path, found.program, size, cause)
        self.found.append(copied)
        self.tell(copied)
