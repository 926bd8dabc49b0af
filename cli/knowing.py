"""`placement.rules.Knowledge` of a pool: what the remote names and the files on the drives tell about a new file."""

import threading
import time
from collections.abc import Iterator, Sequence

from placement.drive import Drive
from placement.siblings import bytes_in, ending_of, largest_sibling
from vfs.names import Names
from vfs.nodes import Directory, RemoteFile

# Seconds between two readings of all remote names; they are read by a thread of their own.
_EVERY = 60.0
# Seconds for which a look at a folder holds.
_FRESH = 1.0


class PoolKnowledge:
    """Thread-safe. Asking never waits for the remote names to be read."""

    def __init__(self, drives: Sequence[Drive], names: Names) -> None:
        """`drives`: the list of the pool, which may change."""
        self._drives = drives
        self._names = names
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()
        self._due = 0.0
        # (folder, ending) -> (monotonic seconds until which it holds, bytes).
        self._likes: dict[tuple[str, str], tuple[float, int | None]] = {}

    def expected_size(self, path: str) -> int | None:
        """That of a remote file with the same name, as when it is copied from there; else of the largest beside it."""
        folder, _, name = path.rpartition("/")
        self._read_if_due()
        size = self._sizes.get(name)
        ending = ending_of(name)
        return size if size or not ending else self._like(folder, ending, path)

    def _like(self, folder: str, ending: str, path: str) -> int | None:
        """The size of the files beside it, which are not looked at for each of many that are made at once."""
        now = time.monotonic()
        until, size = self._likes.get((folder, ending), (0.0, None))
        if now >= until:
            size = largest_sibling(self._drives, path)
            with self._lock:
                self._likes = {key: one for key, one in self._likes.items() if one[0] > now}
                self._likes[folder, ending] = (now + _FRESH, size)
        return size

    def together(self, drive: Drive, folder: str) -> int:
        return bytes_in(drive, folder)

    def read(self) -> None:
        """Learn the sizes of all remote files by their names; of several alike the largest."""
        sizes: dict[str, int] = {}
        for name, size in _files(self._names.root):
            sizes[name] = max(size, sizes.get(name, 0))
        self._sizes = sizes

    def _read_if_due(self) -> None:
        now = time.monotonic()
        with self._lock:
            if now < self._due:
                return
            self._due = now + _EVERY
        if self._names.count():
            threading.Thread(target=self.read, name="remote-sizes", daemon=True).start()


def _files(folder: Directory) -> Iterator[tuple[str, int]]:
    for name, node in list(folder.children.items()):
        if isinstance(node, Directory):
            yield from _files(node)
        elif isinstance(node, RemoteFile):
            yield name, node.size
