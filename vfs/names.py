"""The remote names: an in-memory tree of directories and remote files, written to names.db before it changes.

A *remote file* is content at a provider; a *name* is a place in the tree that refers to it. One remote file may
have many names, which is what a hard link is. `Names` knows nothing of drives, networks or open files.

Threading: `_lock` is held by whoever changes the tree, from the first check to the last assignment. Readers take
no lock and never wait for SQLite: they follow `children` dictionaries, whose single operations are atomic, and see
a new subtree whole or not at all, since it is attached by one assignment after the commit.
"""

import errno
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vfs.attr import BLOCK, Attr
from vfs.branch import error
from vfs.library import Key
from vfs.namesdb import ROOT, NamesDb

PROVIDER = "realdebrid"


class Node:
    """What directories and remote files have in common; times in ns."""

    __slots__ = ("atime_ns", "ctime_ns", "gid", "ino", "mode", "mtime_ns", "uid", "xattrs")

    def __init__(self, ino: int, mode: int, uid: int, gid: int, times: tuple[int, int, int]) -> None:
        self.ino = ino
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.atime_ns, self.mtime_ns, self.ctime_ns = times
        self.xattrs: dict[str, bytes] | None = None

    def attr(self) -> Attr:
        raise AssertionError("a node is a directory or a file")


class RemoteFile(Node):
    """One remote file; `nlink` counts its names, `size` its bytes."""

    __slots__ = ("key", "nlink", "size")

    def __init__(
        self, ino: int, mode: int, uid: int, gid: int, times: tuple[int, int, int], size: int, key: Key
    ) -> None:
        super().__init__(ino, mode, uid, gid, times)
        self.size = size
        self.key = key
        self.nlink = 0

    def attr(self) -> Attr:
        blocks = -(-self.size // BLOCK)
        return Attr(
            self.ino, self.mode, self.nlink, self.uid, self.gid, 0, self.size, blocks,
            self.atime_ns, self.mtime_ns, self.ctime_ns,
        )  # fmt: skip


class Directory(Node):
    """One remote directory and the names in it."""

    __slots__ = ("children", "subdirectories")

    def __init__(self, ino: int, mode: int, uid: int, gid: int, times: tuple[int, int, int]) -> None:
        super().__init__(ino, mode, uid, gid, times)
        self.children: dict[str, Node] = {}
        self.subdirectories = 0

    def attr(self) -> Attr:
        return Attr(
            self.ino, self.mode, 2 + self.subdirectories, self.uid, self.gid, 0, 0, 0,
            self.atime_ns, self.mtime_ns, self.ctime_ns,
        )  # fmt: skip

    def attach(self, name: str, node: Node) -> None:
        """Put `node` under `name`, counting what depends on it."""
        self.detach(name)
        self.children[name] = node
        if isinstance(node, Directory):
            self.subdirectories += 1
        elif isinstance(node, RemoteFile):
            node.nlink += 1

    def detach(self, name: str) -> None:
        """Take the name away if it is there."""
        node = self.children.pop(name, None)
        if isinstance(node, Directory):
            self.subdirectories -= 1
        elif isinstance(node, RemoteFile):
            node.nlink -= 1


class NewFile(NamedTuple):
    """A file to publish: its safe path below the published folder, content, size in bytes, time in ns."""

    path: tuple[str, ...]
    key: Key
    size: int
    mtime_ns: int
    original: bytes


class Owner(NamedTuple):
    """Who owns newly published files and folders, and the mode bits they do not get."""

    uid: int
    gid: int
    umask: int


class Names:
    """The tree of remote names over one names.db."""

    def __init__(self, db: NamesDb) -> None:
        self._db = db
        self._lock = threading.RLock()
        self._by_key: dict[Key, RemoteFile] = {}
        self._published: dict[str, str] = {}
        self.root = self._load()

    def _load(self) -> Directory:
        nodes: dict[int, Node] = {}
        db = self._db.db
        keys = {
            ino: (kind, id_, part) for ino, kind, id_, part in db.execute("SELECT ino, kind, id, part FROM content")
        }
        for ino, mode, uid, gid, size, *times in db.execute("SELECT * FROM node"):
            moments = (times[0], times[1], times[2])
            if stat.S_ISDIR(mode):
                nodes[ino] = Directory(ino, mode, uid, gid, moments)
            else:
                file = RemoteFile(ino, mode, uid, gid, moments, size, keys[ino])
                nodes[ino] = self._by_key[file.key] = file
        for parent, name, ino in db.execute("SELECT parent, name, ino FROM name"):
            directory = nodes[parent]
            assert isinstance(directory, Directory)
            directory.attach(os.fsdecode(name), nodes[ino])
        for ino, name, value in db.execute("SELECT ino, name, value FROM xattr"):
            node = nodes[ino]
            node.xattrs = {**(node.xattrs or {}), os.fsdecode(name): value}
        published = db.execute("SELECT addition, path FROM publication")
        self._published = {addition: os.fsdecode(path) for addition, path in published}
        root = nodes[ROOT]
        assert isinstance(root, Directory)
        return root

    # Reading: no locks.

    def find(self, path: str) -> Node | None:
        """The node at `path`, or None."""
        node: Node = self.root
        if path:
            for part in path.split("/"):
                if not isinstance(node, Directory):
                    return None
                child = node.children.get(part)
                if child is None:
                    return None
                node = child
        return node

    def get(self, path: str) -> Node:
        """The node at `path`; ENOENT if there is none, ENOTDIR if a file stands in the way."""
        node = self.find(path)
        if node is None:
            raise error(errno.ENOENT, path)
        return node

    def directory(self, path: str) -> Directory:
        """The directory at `path`; ENOENT or ENOTDIR."""
        node = self.get(path)
        if not isinstance(node, Directory):
            raise error(errno.ENOTDIR, path)
        return node

    def count(self) -> int:
        """How many remote files there are."""
        return len(self._by_key)

    def was_published(self, addition: str) -> bool:
        return addition in self._published

    def published_path(self, addition: str) -> str | None:
        """Where an addition was put when it was published; None if it never was."""
        return self._published.get(addition)

    def files(self) -> Iterator[RemoteFile]:
        """All remote files, as they were when asked."""
        return iter(list(self._by_key.values()))

    # Changing: under the lock, the database first.

    def publish(self, addition: str, parent: str, name: str, files: Iterable[NewFile], owner: Owner) -> None:
        """Make directory `parent`/`name` with these files appear at once; remember that `addition` was published.

        EEXIST if that name is taken. Content that is already in the tree gets one more name.
        """
        with self._lock:
            above = self.directory(parent)
            if name in above.children:
                raise error(errno.EEXIST, f"{parent}/{name}")
            made: dict[Key, RemoteFile] = {}
            with self._db.write() as db:
                top = self._plant(db, files, owner, made)
                _insert_name(db, above, name, top)
                self._record(db, addition, f"{parent}/{name}")
            # Names counted while planting belong to new files only: old ones are counted below, after the commit.
            self._by_key.update(made)
            _count_names(top)
            above.attach(name, top)
            above.mtime_ns = above.ctime_ns = top.ctime_ns
            self._published[addition] = f"{parent}/{name}"

    def note_published(self, addition: str, path: str) -> None:
        """Remember that this addition needs no names of its own, since its content already has them."""
        with self._lock:
            with self._db.write() as db:
                self._record(db, addition, path)
            self._published[addition] = path

    def make_directories(self, path: str, owner: Owner) -> None:
        """As mkdir -p; EEXIST if a file stands in the way."""
        with self._lock:
            above, done = self.root, ""
            for part in path.split("/"):
                done = f"{done}/{part}".lstrip("/")
                child = above.children.get(part)
                if child is None:
                    with self._db.write() as db:
                        child = self._new_directory(db, owner)
                        _insert_name(db, above, part, child)
                    above.attach(part, child)
                    above.mtime_ns = above.ctime_ns = child.ctime_ns
                if not isinstance(child, Directory):
                    raise error(errno.EEXIST, done)
                above = child

    def named_by(self, key: Key) -> RemoteFile | None:
        """The remote file of this content, if it has a name in the tree."""
        return self._by_key.get(key)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # Helpers of publish; all inside its transaction.

    def _plant(
        self, db: sqlite3.Connection, files: Iterable[NewFile], owner: Owner, made: dict[Key, RemoteFile]
    ) -> Directory:
        top = self._new_directory(db, owner)
        for new in files:
            folder = top
            for part in new.path[:-1]:
                below = folder.children.get(part)
                if below is None:
                    below = self._new_directory(db, owner)
                    _insert_name(db, folder, part, below)
                    folder.attach(part, below)
                    folder.mtime_ns = folder.ctime_ns = below.ctime_ns
                assert isinstance(below, Directory), "paths were checked for clashes before"
                folder = below
            file = self._by_key.get(new.key) or made.get(new.key) or self._new_file(db, new, owner)
            if new.key not in self._by_key:
                made[new.key] = file
            _insert_name(db, folder, new.path[-1], file)
            folder.children[new.path[-1]] = file
            folder.mtime_ns = folder.ctime_ns = file.ctime_ns
        return top

    def _new_directory(self, db: sqlite3.Connection, owner: Owner) -> Directory:
        now = time.time_ns()
        mode = stat.S_IFDIR | (0o777 & ~owner.umask)
        ino = _insert_node(db, mode, owner, 0, (now, now, now))
        return Directory(ino, mode, owner.uid, owner.gid, (now, now, now))

    def _new_file(self, db: sqlite3.Connection, new: NewFile, owner: Owner) -> RemoteFile:
        times = (new.mtime_ns, new.mtime_ns, time.time_ns())
        mode = stat.S_IFREG | (0o666 & ~owner.umask)
        ino = _insert_node(db, mode, owner, new.size, times)
        db.execute("INSERT INTO content VALUES (?, ?, ?, ?, ?, ?)", (ino, PROVIDER, *new.key, new.original))
        return RemoteFile(ino, mode, owner.uid, owner.gid, times, new.size, new.key)

    def _record(self, db: sqlite3.Connection, addition: str, path: str) -> None:
        row = (addition, os.fsencode(path), time.time_ns())
        db.execute("INSERT OR REPLACE INTO publication VALUES (?, ?, ?)", row)


def _insert_node(db: sqlite3.Connection, mode: int, owner: Owner, size: int, times: tuple[int, int, int]) -> int:
    row = (mode, owner.uid, owner.gid, size, *times)
    cursor = db.execute(
        "INSERT INTO node (mode, uid, gid, size, atime_ns, mtime_ns, ctime_ns) VALUES (?, ?, ?, ?, ?, ?, ?)",
        row,
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _insert_name(db: sqlite3.Connection, directory: Directory, name: str, node: Node) -> None:
    """Record a name in a directory, whose times are from then on those of the node's last change."""
    db.execute("INSERT INTO name VALUES (?, ?, ?)", (directory.ino, os.fsencode(name), node.ino))
    db.execute("UPDATE node SET mtime_ns = ?1, ctime_ns = ?1 WHERE ino = ?2", (node.ctime_ns, directory.ino))


def _count_names(directory: Directory) -> None:
    """Count the names planted below a directory that was just committed."""
    for node in directory.children.values():
        if isinstance(node, Directory):
            _count_names(node)
        elif isinstance(node, RemoteFile):
            node.nlink += 1
