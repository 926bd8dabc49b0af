"""Open directories: what they held when they were opened, at offsets that last, and which the kernel may list itself.

An entry's offset comes from its name, so it stays the same while other names come and go: whoever goes on listing
after a change, in another handle or in what the kernel cached, neither misses nor repeats a name that was there all
the time.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from vfs.attr import Attr
from vfs.branch import Folder

# Behind "." and ".."; and 31 bits in all, since more is too much for readdir(3) of 32-bit programs.
_FIRST = 3
_SPAN = (1 << 31) - 1 - _FIRST - (1 << 20)
# A directory changed less than this ago (ns) may change again at what its filesystem's clock takes for the same time.
_TICK_NS = 2 * 10**9
_MOST = 100_000


Entry = tuple[int, str, Attr]
"""The offset at which listing goes on after a name, and that name."""


class Listing:
    """What a directory held, and when: a mark of `Shown`."""

    __slots__ = ("_entries", "_offsets", "mark")

    def __init__(self, mark: int, folder: Folder) -> None:
        self.mark = mark
        here = folder.attr
        self._entries = [(1, ".", here), (2, "..", here), *_placed(folder.entries)]
        self._offsets: list[int] | None = None

    def after(self, offset: int) -> Iterable[Entry]:
        """The entries behind an offset; 0 is before all."""
        if not offset:
            return self._entries
        if self._offsets is None:
            self._offsets = [entry[0] for entry in self._entries]
        begin = bisect_right(self._offsets, offset)
        return (self._entries[index] for index in range(begin, len(self._entries)))


def _placed(entries: Iterator[tuple[str, Attr]]) -> list[Entry]:
    """In the order of their offsets, no two of which are equal."""
    placed = [(_FIRST + hash(name) % _SPAN, name, attr) for name, attr in entries]
    placed.sort()
    last = 0
    for index, (offset, name, attr) in enumerate(placed):
        if offset <= last:
            offset = last + 1
            placed[index] = (offset, name, attr)
        last = offset
    return placed


class DirectoryHandle:
    """One open directory: a snapshot of its entries, made when it is needed."""

    def __init__(self, listing: Listing | None) -> None:
        """`listing`: made just now; None: the kernel will probably not ask for one."""
        self._listing = listing
        self._fresh = listing is not None

    def listing(self, offset: int, again: Callable[[], Listing]) -> Listing:
        """All entries; taken anew from `again` when listing begins a second time at offset 0, as rewinddir(3) does."""
        if self._listing is None or (offset == 0 and not self._fresh):
            self._listing = again()
        self._fresh = False
        return self._listing


class OpenedFolder(NamedTuple):
    """A new handle number; may the kernel cache what is listed; is what it cached before still true."""

    fh: int
    cacheable: bool
    unchanged: bool


class Listed:
    """Directories that were listed lately, by path. Thread-safe, since single dictionary operations are atomic.

    The kernel lists them again from its own memory, but has to ask for each name whose attributes it has no longer. So
    that is worth it, and bound to be right as everything else is, for half of the time that it keeps those.
    """

    def __init__(self, seconds: float) -> None:
        """`seconds`: for how long the kernel keeps attributes."""
        self._seconds = seconds / 2
        self._seen: dict[str, tuple[float, Attr]] = {}

    def lately(self, path: str) -> bool:
        """Whether it is worth to ask `unchanged`."""
        seen = self._seen.get(path)
        return seen is not None and time.monotonic() < seen[0]

    def unchanged(self, path: str, attr: Attr) -> bool:
        """Whether the directory, which has these attributes now, holds the same names as when it was listed."""
        seen = self._seen.get(path)
        return seen is not None and _state(seen[1]) == _state(attr)

    def note(self, path: str, attr: Attr) -> bool:
        """The directory with these attributes is being listed: whether the kernel may remember its names."""
        self._seen.pop(path, None)
        if not self._seconds or time.time_ns() - max(attr.mtime_ns, attr.ctime_ns) < _TICK_NS:
            return False
        if len(self._seen) >= _MOST:
            self._seen.clear()
        self._seen[path] = (time.monotonic() + self._seconds, attr)
        return True


def _state(attr: Attr) -> tuple[int, ...]:
    return attr.ino, attr.mode, attr.nlink, attr.mtime_ns, attr.ctime_ns
