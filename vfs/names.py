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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from vfs.attr import NOW, OMIT
from vfs.branch import error
from vfs.library import Key
from vfs.namesdb import ROOT, NamesDamaged, NamesDb
from vfs.nodes import Contents, Directory, Node, RemoteFile


class Change:
    """One transaction under way: what it writes, and what becomes of memory once it is committed."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.now = time.time_ns()
        self._effects: list[Callable[[], object]] = []

    def then(self, *effects: Callable[[], object]) -> None:
        """Run these after the commit, in their order; they must not fail."""
        self._effects += effects

    def committed(self) -> None:
        for effect in self._effects:
            effect()

    def touch(self, node: Node, content: bool = False) -> None:
        """Give `node` a new ctime, and a new mtime if what it holds has changed."""
        column = "mtime_ns = ?1, ctime_ns = ?1" if content else "ctime_ns = ?1"
        self.db.execute(f"UPDATE node SET {column} WHERE ino = ?2", (self.now, node.ino))
        times = {"ctime_ns": self.now, "mtime_ns": self.now} if content else {"ctime_ns": self.now}
        self.then(partial(_assign, node, **times))


class Names:
    """The tree of remote names over one names.db."""

    def __init__(self, db: NamesDb) -> None:
        self._db = db
        self._lock = threading.RLock()
        self._contents = Contents()
        self._published: dict[str, str] = {}
        try:
            self.root = self._load()
        except (LookupError, TypeError, AssertionError) as cause:
            # The file is whole, but what it says makes no tree.
            raise NamesDamaged(
                f"{db.path}, which holds the names of all remote files, is damaged: {cause!r}."
            ) from cause

    def _load(self) -> Directory:
        nodes: dict[int, Node] = {}
        db = self._db.db
        # Most rows repeat what stands in others; kept once, it takes a third less memory.
        once: dict[str | int, Any] = {}
        keys = {
            ino: (once.setdefault(kind, kind), once.setdefault(id_, id_), once.setdefault(part, part))
            for ino, kind, id_, part in db.execute("SELECT ino, kind, id, part FROM content")
        }
        for ino, mode, uid, gid, size, *times in db.execute("SELECT * FROM node"):
            whose = (once.setdefault(mode, mode), once.setdefault(uid, uid), once.setdefault(gid, gid))
            atime, mtime, ctime = times
            moments = (mtime if atime == mtime else atime, mtime, mtime if ctime == mtime else ctime)
            if stat.S_ISDIR(mode):
                nodes[ino] = Directory(ino, *whose, moments)
            else:
                nodes[ino] = file = RemoteFile(ino, *whose, moments, size, keys[ino])
                self._contents.add(file)
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
        """The node at `path`; ENOENT if there is none."""
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

    def ever_held(self) -> bool:
        """Whether anything was ever published, so that losing this would be a loss."""
        return bool(self._published) or self.count() > 0

    def count(self) -> int:
        """How many remote files there are."""
        return len(self._contents)

    def file_of(self, key: Key) -> RemoteFile | None:
        """The remote file of this content, if it has a name in the tree."""
        return self._contents.get(key)

    def paths_of(self, files: Iterable[RemoteFile]) -> list[str]:
        """The paths of all names of these files."""
        found: list[str] = []
        # A rename meanwhile would show a name at neither of its places.
        with self._lock:
            for file in files:
                for above, name in file.places():
                    folder = above.path()
                    if folder is not None:
                        found.append(f"{folder}/{name}" if folder else name)
        return found

    def files_of(self, info_hash: str) -> list[RemoteFile]:
        """The remote files of one torrent that have a name."""
        return self._contents.of("torrent", info_hash)

    def published_path(self, addition: str) -> str | None:
        """Where an addition was put when it was published; None if it never was."""
        return self._published.get(addition)

    def intents(self, kind: str) -> list[tuple[int, str]]:
        """The intents of one kind that were not ended, oldest first."""
        with self._lock:
            rows = self._db.db.execute("SELECT id, record FROM intent WHERE kind = ? ORDER BY id", (kind,))
            return list(rows)

    # Changing: under the lock, the database first.

    @contextmanager
    def changing(self, durable: bool = False) -> Iterator[Change]:
        """One transaction; memory follows when it is committed. `durable`: on stable storage before that.

        OSError ENOSPC or EIO when it cannot be written; then nothing has changed.
        """
        with self._lock:
            with self._db.write(durable) as db:
                change = Change(db)
                yield change
            change.committed()

    def barrier(self) -> None:
        """Return when all that was changed so far is on stable storage."""
        with self._db.write(durable=True) as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('barrier', ?)", (str(time.time_ns()),))

    def mkdir(self, path: str, mode: int, uid: int, gid: int) -> None:
        """Make an empty directory; EEXIST, ENOENT, ENOTDIR."""
        with self.changing() as change:
            above, name = self._parent(path)
            if name in above.children:
                raise error(errno.EEXIST, path)
            made = new_directory(change, mode, uid, gid)
            self._attach(change, above, name, made)

    def link(self, source: str, path: str) -> None:
        """Give the remote file `source` one more name; EEXIST, ENOENT, EPERM for a directory."""
        with self.changing() as change:
            node = self.get(source)
            if isinstance(node, Directory):
                raise error(errno.EPERM, source)
            above, name = self._parent(path)
            if name in above.children:
                raise error(errno.EEXIST, path)
            self._attach(change, above, name, node)
            change.touch(node)

    def unlink(self, path: str, change: Change | None = None) -> RemoteFile:
        """Take the name away, and the file from the database if it was the last; EISDIR, ENOENT."""
        if change is None:
            with self.changing() as change:
                return self.unlink(path, change)
        node = self.get(path)
        if not isinstance(node, RemoteFile):
            raise error(errno.EISDIR, path)
        self._remove_name(change, *self._parent(path), node)
        return node

    def rmdir(self, path: str, change: Change | None = None) -> None:
        """Take an empty directory away; ENOTEMPTY, ENOTDIR, ENOENT, EBUSY for the root."""
        if change is None:
            with self.changing() as change:
                return self.rmdir(path, change)
        node = self.directory(path)
        if node is self.root:
            raise error(errno.EBUSY, path)
        self._remove_directory(change, path, node)
        return None

    def rename(self, source: str, target: str, change: Change | None = None) -> None:
        """Move a name over whatever file or empty directory is there; errors as rename(2)."""
        if change is None:
            with self.changing() as change:
                return self.rename(source, target, change)
        node, replaced = self.get(source), self.find(target)
        (old_above, old_name), (new_above, new_name) = self._parent(source), self._parent(target)
        if node is replaced:
            return None
        if isinstance(replaced, RemoteFile):
            if isinstance(node, Directory):
                raise error(errno.ENOTDIR, target)
            self._remove_name(change, new_above, new_name, replaced, detach=False)
        elif isinstance(replaced, Directory):
            if not isinstance(node, Directory):
                raise error(errno.EISDIR, target)
            self._remove_directory(change, target, replaced, detach=False)
        self._move(change, node, (old_above, old_name), (new_above, new_name))
        return None

    def exchange(self, source: str, target: str) -> None:
        """Swap two names; ENOENT."""
        with self.changing() as change:
            one, other = self.get(source), self.get(target)
            first, second = self._parent(source), self._parent(target)
            for (above, name), node in ((first, other), (second, one)):
                change.db.execute(
                    "UPDATE name SET ino = ? WHERE parent = ? AND name = ?", (node.ino, above.ino, os.fsencode(name))
                )
                change.touch(above, content=True)
                change.touch(node)
            change.then(partial(first[0].attach, first[1], other), partial(second[0].attach, second[1], one))

    def set_mode(self, node: Node, mode: int) -> None:
        """Set the permission bits."""
        whole = stat.S_IFMT(node.mode) | mode & 0o7777
        with self.changing() as change:
            change.db.execute("UPDATE node SET mode = ? WHERE ino = ?", (whole, node.ino))
            change.touch(node)
            change.then(partial(_assign, node, mode=whole))

    def set_owner(self, node: Node, uid: int, gid: int) -> None:
        """Set owner and group; -1 leaves one as it is."""
        owner, group = (node.uid if uid < 0 else uid), (node.gid if gid < 0 else gid)
        with self.changing() as change:
            change.db.execute("UPDATE node SET uid = ?, gid = ? WHERE ino = ?", (owner, group, node.ino))
            change.touch(node)
            change.then(partial(_assign, node, uid=owner, gid=group))

    def set_times(self, node: Node, atime_ns: int, mtime_ns: int) -> None:
        """Set both times in ns, or NOW, or OMIT."""
        with self.changing() as change:
            meant = {NOW: change.now}
            atime = node.atime_ns if atime_ns == OMIT else meant.get(atime_ns, atime_ns)
            mtime = node.mtime_ns if mtime_ns == OMIT else meant.get(mtime_ns, mtime_ns)
            change.db.execute("UPDATE node SET atime_ns = ?, mtime_ns = ? WHERE ino = ?", (atime, mtime, node.ino))
            change.touch(node)
            change.then(partial(_assign, node, atime_ns=atime, mtime_ns=mtime))

    def set_xattr(self, node: Node, name: str, value: bytes | None) -> None:
        """Set an extended attribute, or remove it with None."""
        kept = {key: old for key, old in (node.xattrs or {}).items() if key != name}
        if value is not None:
            kept[name] = value
        with self.changing() as change:
            change.db.execute("DELETE FROM xattr WHERE ino = ? AND name = ?", (node.ino, os.fsencode(name)))
            if value is not None:
                # An open file that lost its last name keeps its attributes in memory alone.
                row = (node.ino, os.fsencode(name), value, node.ino)
                change.db.execute(
                    "INSERT INTO xattr SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM node WHERE ino = ?)", row
                )
            change.touch(node)
            change.then(partial(_assign, node, xattrs=kept or None))

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # What the changes above are made of; all inside a transaction.

    def _parent(self, path: str) -> tuple[Directory, str]:
        above, _, name = path.rpartition("/")
        return self.directory(above), name

    def _attach(self, change: Change, above: Directory, name: str, node: Node) -> None:
        insert_name(change, above, name, node)
        change.touch(above, content=True)
        change.then(partial(above.attach, name, node))

    def _remove_name(self, change: Change, above: Directory, name: str, node: RemoteFile, detach: bool = True) -> None:
        """`detach`: not when another node takes its place in memory, since there must always be one."""
        change.db.execute("DELETE FROM name WHERE parent = ? AND name = ?", (above.ino, os.fsencode(name)))
        change.touch(above, content=True)
        if detach:
            change.then(partial(above.detach, name))
        # Counted in the file, since names taken away earlier in this transaction still stand in memory.
        (left,) = change.db.execute("SELECT count(*) FROM name WHERE ino = ?", (node.ino,)).fetchone()
        if left:
            change.touch(node)
            return
        _delete_node(change, node)
        change.then(partial(self._contents.remove, node))

    def _remove_directory(self, change: Change, path: str, node: Directory, detach: bool = True) -> None:
        if node.children:
            raise error(errno.ENOTEMPTY, path)
        above, name = self._parent(path)
        change.db.execute("DELETE FROM name WHERE parent = ? AND name = ?", (above.ino, os.fsencode(name)))
        _delete_node(change, node)
        change.touch(above, content=True)
        if detach:
            change.then(partial(above.detach, name))

    def _move(self, change: Change, node: Node, old: tuple[Directory, str], new: tuple[Directory, str]) -> None:
        row = (new[0].ino, os.fsencode(new[1]), old[0].ino, os.fsencode(old[1]))
        change.db.execute("UPDATE name SET parent = ?, name = ? WHERE parent = ? AND name = ?", row)
        change.touch(old[0], content=True)
        change.touch(new[0], content=True)
        change.touch(node)
        # First there, then away: a reader may see both names for a moment, but never none.
        change.then(partial(new[0].attach, new[1], node), partial(old[0].detach, old[1]))

    def adopt(self, files: list[RemoteFile]) -> None:
        """Count new files in, once the transaction that made them is committed."""
        for file in files:
            self._contents.add(file)

    def note_published(self, change: Change, addition: str, path: str) -> None:
        """Remember in this transaction that an addition was published at `path`."""
        row = (addition, os.fsencode(path), change.now)
        change.db.execute("INSERT OR REPLACE INTO publication VALUES (?, ?, ?)", row)
        change.then(partial(self._published.update, {addition: path}))


def new_directory(change: Change, mode: int, uid: int, gid: int) -> Directory:
    """An empty directory without a name yet."""
    mode, times = stat.S_IFDIR | mode & 0o7777, (change.now,) * 3
    return Directory(insert_node(change, mode, uid, gid, 0, times), mode, uid, gid, times)


def insert_node(change: Change, mode: int, uid: int, gid: int, size: int, times: tuple[int, int, int]) -> int:
    """Record a node and return its number."""
    cursor = change.db.execute(
        "INSERT INTO node (mode, uid, gid, size, atime_ns, mtime_ns, ctime_ns) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (mode, uid, gid, size, *times),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def insert_name(change: Change, above: Directory, name: str, node: Node) -> None:
    """Record a name."""
    change.db.execute("INSERT INTO name VALUES (?, ?, ?)", (above.ino, os.fsencode(name), node.ino))


def _delete_node(change: Change, node: Node) -> None:
    for table in ("xattr", "content", "digest", "node"):
        change.db.execute(f"DELETE FROM {table} WHERE ino = ?", (node.ino,))


def _assign(node: Node, **values: object) -> None:
    for name, value in values.items():
        setattr(node, name, value)
