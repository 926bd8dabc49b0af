"""Paths of Windows in the tree: names it forbids, names in another case, and symbolic links.

The tree knows names exactly, as Linux does; Windows does not care for their case. So a name that is there as it is
written is that one, and else the one that differs only in case; of several the first in the order of the alphabet.
winfspy cannot pass symbolic links on, so they are followed here, inside the tree only.

Nothing waits for the network. Lock order: `_lock`, a leaf.
"""

import errno
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from placement.windowsnames import folded, meant
from vfs.attr import Attr
from vfs.branch import error
from vfs.filesystem import FileSystem

# As many links one after the other as Linux follows.
_MOST_LINKS = 40
# A folder changed less than this ago (ns) may change again at the same time by its clock.
_TICK_NS = 2 * 10**9
_MOST_FOLDERS = 256
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


class Found(NamedTuple):
    """What a path of Windows leads to: the name itself, and behind symbolic links the path in the tree.

    `through_link`: one of the folders above is a symbolic link, which Windows takes for an ordinary folder.
    """

    name: str
    path: str
    attr: Attr
    through_link: bool = False


def parts_of(path: str) -> list[str]:
    r"""The names in the tree that `\one\two` is about; EILSEQ if one of them cannot be."""
    try:
        path.encode()  # half a character of UTF-16 is no text
        return [meant(part) for part in path.split("\\") if part]
    except ValueError:
        raise error(errno.EILSEQ, path) from None


def joined(folder: str, name: str) -> str:
    """The path in the tree of a name in a folder."""
    return f"{folder}/{name}" if folder else name


class WindowsNames:
    """Looks paths up. Thread-safe."""

    def __init__(self, filesystem: FileSystem) -> None:
        self._fs = filesystem
        self._lock = threading.Lock()
        # Folder -> its state, and its names by what is equal for all cases; the folder used last at the end.
        self._folders: OrderedDict[str, tuple[tuple[int, ...], dict[str, str]]] = OrderedDict()

    def find(self, path: str) -> Found:
        """What is at this path of Windows. ENOENT, ENOTDIR, EILSEQ for a name that cannot be."""
        parts = parts_of(path)
        exact = "/".join(parts)
        try:
            attr = self._fs.stat(exact)
        except OSError as cause:
            if cause.errno not in _ABSENT:
                raise
        else:
            if not stat.S_ISLNK(attr.mode):
                return Found(exact, exact, attr)
        return self._walk(parts, _MOST_LINKS)

    def place(self, path: str) -> tuple[str, Found | None]:
        """Where in the tree a new name belongs that Windows calls so, and what is there already, in any case.

        As `find`; ENOENT and ENOTDIR are about the folder.
        """
        *above, name = parts_of(path) or [""]
        if not name:
            raise error(errno.EEXIST, path)
        folder = self._walk(above, _MOST_LINKS)
        if not folder.attr.is_dir:
            raise error(errno.ENOTDIR, path)
        wanted = joined(folder.path, name)
        there = self._named(folder.path, name)
        return wanted, None if there is None else Found(there[0], there[0], there[1])

    def followed(self, path: str, attr: Attr) -> Attr:
        """`attr` of this path in the tree; of what it leads to, if it is a symbolic link."""
        return self._ends_at(path, attr, _MOST_LINKS).attr

    def _walk(self, parts: list[str], links: int) -> Found:
        """Name for name from the root on."""
        found = Found("", "", self._fs.stat(""))
        for part in parts:
            if not found.attr.is_dir:
                raise error(errno.ENOTDIR, found.path)
            there = self._named(found.path, part)
            if there is None:
                raise error(errno.ENOENT, joined(found.path, part))
            through = found.through_link or found.path != found.name
            found = self._ends_at(*there, links)._replace(through_link=through)
        return found

    def _ends_at(self, path: str, attr: Attr, links: int) -> Found:
        """What is at `path`, which has these attributes; a symbolic link that leads to nothing is shown as a file."""
        if stat.S_ISLNK(attr.mode) and links:
            try:
                return self._behind(path, links)._replace(name=path)
            except OSError as cause:
                if cause.errno not in (*_ABSENT, errno.ELOOP):
                    raise
        return Found(path, path, attr)

    def _behind(self, link: str, links: int) -> Found:
        """Where this symbolic link leads."""
        target = self._fs.readlink(link).replace("\\", "/")
        if target.startswith("/"):
            raise error(errno.ENOENT, link)
        parts = link.split("/")[:-1]
        for part in target.split("/"):
            if part == ".." and not parts:
                raise error(errno.ENOENT, link)
            if part == "..":
                parts.pop()
            elif part not in ("", "."):
                parts.append(part)
        return self._walk(parts, links - 1)

    def _named(self, folder: str, name: str) -> tuple[str, Attr] | None:
        """The path and attributes of what `folder` holds under this name or, if it holds none, in another case."""
        path = joined(folder, name)
        try:
            return path, self._fs.stat(path)
        except OSError as cause:
            if cause.errno not in _ABSENT:
                raise
        other = self._names(folder).get(folded(name))
        if other is None or other == name:
            return None
        try:
            return joined(folder, other), self._fs.stat(joined(folder, other))
        except OSError as cause:
            if cause.errno not in _ABSENT:
                raise
            return None

    def _names(self, folder: str) -> dict[str, str]:
        """The names in a folder by what is equal for all cases."""
        attr = self._fs.stat(folder)
        state = (attr.ino, attr.mtime_ns, attr.ctime_ns, attr.nlink)
        with self._lock:
            known = self._folders.get(folder)
            if known is not None and known[0] == state:
                self._folders.move_to_end(folder)
                return known[1]
        names = {folded(name): name for name in sorted((name for name, _ in entries(self._fs, folder)), reverse=True)}
        if time.time_ns() - max(attr.mtime_ns, attr.ctime_ns) >= _TICK_NS:
            self._keep(folder, state, names)
        return names

    def _keep(self, folder: str, state: tuple[int, ...], names: dict[str, str]) -> None:
        with self._lock:
            self._folders[folder] = (state, names)
            if len(self._folders) > _MOST_FOLDERS:
                self._folders.popitem(last=False)


def entries(filesystem: FileSystem, folder: str) -> Iterator[tuple[str, Attr]]:
    """What a folder of the tree holds, without "." and ".."."""
    fh = filesystem.opendir(folder).fh
    try:
        for _offset, name, attr in filesystem.readdir(fh, 0):
            if name not in (".", ".."):
                yield name, attr
    finally:
        filesystem.releasedir(fh)
