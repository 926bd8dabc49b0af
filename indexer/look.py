"""One look at one directory of a drive: every name in it, by lstat.

All work happens below the drive's open root, follows no symbolic link and never leaves the drive; filesystems
mounted inside are looked at as they show in its tree, `.mediapool` at the root is not. The bytes of files are never
read.
"""

import contextlib
import threading
import time
from collections.abc import Callable

from indexer.catalog import Known
from indexer.tree import Listing
from placement import system as os
from placement.beneath import Root, birth_time_ns
from placement.identity import FOLDER as HIDDEN

# Asked for the st_ino of a file: whether its birth time is worth one more system call.
WantsBirth = Callable[[int], bool]

# A look hears `stop` after so many names.
_LISTEN = 1024


def wide(ino: int) -> bool:
    """Whether a number is too large for the 48 bits it has in the tree, so that its file is told by its birth."""
    return ino >= 1 << 48


def look(root: Root, path: str, stop: threading.Event | None = None, wants_birth: WantsBirth = wide) -> Listing | None:
    """Everything in directory `path`, each name by lstat; None if `stop` was set meanwhile.

    OSError if the directory, or a name in it, cannot be read: a listing is whole or none.
    """
    began = time.time_ns()
    fd = root.open_dir(path)
    try:
        top = os.fstat(fd)
        directories: dict[bytes, Known] = {}
        files: dict[bytes, Known] = {}
        mounts = set[bytes]()
        with os.scandir(fd) as found:
            # Disks keep inodes in the order of their numbers, but hand out names in the order of a hash.
            entries = sorted(found, key=os.DirEntry.inode)
        for count, entry in enumerate(entries):
            if stop is not None and not count % _LISTEN and stop.is_set():
                return None
            if not path and entry.name == HIDDEN:
                continue
            # What vanished since the kernel listed it is simply not there any more.
            with contextlib.suppress(FileNotFoundError):
                st = entry.stat(follow_symlinks=False)
                name = os.fsencode(entry.name)
                known = Known.of(st)
                if known.is_dir:
                    directories[name] = known
                    if st.st_dev != top.st_dev:
                        mounts.add(name)
                elif wants_birth(st.st_ino):
                    files[name] = known._replace(birth_ns=birth_time_ns(fd, entry.name))
                else:
                    files[name] = known
        own = Known.of(top, birth_time_ns(fd, ""))
    finally:
        os.close(fd)
    return Listing(path, began, own, directories, files, frozenset(mounts))
