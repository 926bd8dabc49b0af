"""The remote files of the mounted tree, for the index: names from names.db, bytes through the mount."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from indexer.probable import END, RemoteFile
from vfs.namesdb import ROOT

_FILES = """
SELECT name.parent, name.name, node.size, content.provider, content.kind, content.id, content.part
FROM name JOIN content USING (ino) JOIN node USING (ino)
"""


class MountedRemoteFiles:
    """An `indexer.probable.RemoteFiles`."""

    def __init__(self, names: Path, mount: str) -> None:
        """`names`: names.db, only read. `mount`: where the tree is."""
        self._names = names
        self._mount = os.fsencode(mount)

    def of_sizes(self, sizes: frozenset[int]) -> Iterator[RemoteFile]:
        """Each content once, by one of its names. OSError EIO where names.db cannot be read."""
        if not self._names.exists():
            return
        with closing(sqlite3.connect(f"file:{self._names}?mode=ro", uri=True)) as db:
            folders = {
                ino: (parent, name)
                for parent, name, ino, mode in db.execute(
                    "SELECT name.parent, name.name, name.ino, node.mode FROM name JOIN node USING (ino)"
                )
                if stat.S_ISDIR(mode)
            }
            rows = [row for row in db.execute(_FILES) if row[2] in sizes]
        seen = set()
        for parent, name, size, *key in rows:
            if tuple(key) not in seen:
                seen.add(tuple(key))
                yield RemoteFile(_path(parent, name, folders), size, (key[0], key[1], key[2], key[3]))

    def ends(self, file: RemoteFile) -> tuple[bytes, bytes]:
        """Read through the mount, which fetches what it does not have. OSError."""
        fd = os.open(os.path.join(self._mount, file.path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(fd, END, 0), os.pread(fd, END, file.size - END)
        finally:
            os.close(fd)


def _path(parent: int, name: bytes, folders: dict[int, tuple[int, bytes]]) -> bytes:
    """The path in the tree, relative to its root."""
    parts = [name]
    while parent != ROOT:
        parent, folder = folders[parent]
        parts.append(folder)
    return b"/".join(reversed(parts))
