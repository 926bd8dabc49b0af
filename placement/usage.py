"""How many bytes are placed below a drive's root; needed only where the drive has a `capacity` of its own.

Where the root is a whole filesystem, statvfs knows. Else a background walk counts, and `placed` adds what
changes between two walks. Lock order: `Usage._lock` is a leaf, nothing else is taken under it.
"""

import contextlib
import logging
import stat
import threading
import time
from collections.abc import Callable, Iterator

from placement import system as os
from placement.beneath import Root

log = logging.getLogger(__name__)

# st_blocks counts 512 bytes on every Unix, whatever the filesystem's own blocks are.
BLOCK = 512

# The pause after a walk is at least this many times its length: a huge tree is not walked without end.
_REST = 10


class Usage:
    """Bytes in use below a root. Thread-safe; asking never waits for a walk."""

    def __init__(self, root: Callable[[], Root], *, interval: float = 60.0) -> None:
        """`root` gives the root as it is now or raises OSError; `interval`: least seconds between walks."""
        self._root = root
        self._interval = interval
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._due = 0.0
        self._complete = False
        self._counted = 0  # by the last finished walk; by the running one while none has finished
        self._since = 0  # placed since that count
        self._meanwhile = 0  # placed since the running walk began

    def bytes(self) -> int:
        """Bytes in use as far as known: until the first walk is finished, what it has counted so far.

        A walk cannot tell whether it has seen what was placed while it ran; that is counted on top until the
        next walk, so the answer errs towards "fuller". OSError when the root cannot be had.
        """
        root = self._root()
        if root.is_whole_filesystem():
            space = root.statvfs()
            return (space.f_blocks - space.f_bfree) * space.f_frsize
        with self._lock:
            self._start_if_due()
            return max(0, self._counted + self._since)

    def is_known(self, seconds: float) -> bool:
        """Whether no first walk is under way any more, waiting `seconds` for that; OSError as for `bytes`."""
        self.bytes()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(seconds)
        with self._lock:
            return self._complete or self._thread is None or not self._thread.is_alive()

    def placed(self, delta: int) -> None:
        """Count `delta` bytes more (or less) until the next walk sees them."""
        with self._lock:
            self._since += delta
            self._meanwhile += delta

    def close(self) -> None:
        """Stop a running walk and wait for its thread."""
        self._stop.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _start_if_due(self) -> None:
        idle = self._thread is None or not self._thread.is_alive()
        if idle and not self._stop.is_set() and time.monotonic() >= self._due:
            self._meanwhile = 0
            self._thread = threading.Thread(target=self._walk, name="usage", daemon=True)
            self._thread.start()

    def _walk(self) -> None:
        began = time.monotonic()
        try:
            counted = walk(self._root(), self._stop, self._progress)
        except OSError as error:
            log.warning("cannot count the bytes in use: %s", error)
            counted = None
        with self._lock:
            if counted is not None:
                self._counted, self._since, self._complete = counted, max(0, self._meanwhile), True
            ended = time.monotonic()
            self._due = ended + max(self._interval, _REST * (ended - began))

    def _progress(self, counted: int) -> None:
        with self._lock:
            if not self._complete:
                self._counted = max(self._counted, counted)


def walk(root: Root, stop: threading.Event, progress: Callable[[int], None]) -> int | None:
    """Bytes allocated below `root`, a file with several names once; None if stopped.

    Other filesystems mounted inside are not counted. `progress` hears the sum after each directory. What
    vanishes meanwhile or may not be read is passed over; other errors are raised as OSError.
    """
    total, linked, folders = 0, set[int](), [""]
    while folders:
        if stop.is_set():
            return None
        folder = folders.pop()
        for name, found in _entries(root, folder):
            if stat.S_ISDIR(found.st_mode):
                folders.append(f"{folder}/{name}" if folder else name)
            elif found.st_nlink > 1:
                if found.st_ino in linked:
                    continue
                linked.add(found.st_ino)
            total += found.st_blocks * BLOCK
        progress(total)
    return total


def _entries(root: Root, folder: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        fd = root.open_dir(folder)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    if found.st_dev == root.key[0]:
                        yield entry.name, found
    finally:
        os.close(fd)
