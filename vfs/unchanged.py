"""Which local files are still what they were when they were opened last, so that the kernel may keep their pages.

Whatever changes a file, here or on the drive, changes its ctime, which nobody can set back. Only a change right after
the last one may fall into the same tick of the filesystem's clock, so a file changed a moment ago is not remembered.
"""

import time

from vfs.attr import Attr

# No filesystem's clock has longer ticks (FAT: 2 s).
_TICK_NS = 2 * 10**9
_MOST = 10_000

# Inode number, size, mtime and ctime in ns.
_Seen = tuple[int, int, int, int]


class Unchanged:
    """Files by path, as they were at their last open: the kernel has one cache for each path. Thread-safe, since
    single dictionary operations are atomic and a lost one only means a cache that is dropped."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def since_last_open(self, path: str, attr: Attr) -> bool:
        """Whether the file with these attributes, being opened, has the same bytes as at the last open of `path`."""
        now = (attr.ino, attr.size, attr.mtime_ns, attr.ctime_ns)
        same = self._seen.pop(path, None) == now
        if time.time_ns() - max(attr.mtime_ns, attr.ctime_ns) > _TICK_NS:
            self._seen[path] = now
        if len(self._seen) > _MOST:
            self._seen.pop(next(iter(self._seen), path), None)
        return same
