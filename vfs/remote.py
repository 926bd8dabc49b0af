"""The remote names as a branch of the union: attributes and listings from memory, bytes through the reader."""

import errno
import logging
import threading
from collections.abc import Callable
from typing import Protocol

from placement import system as os
from vfs.attr import Attr, Caller
from vfs.branch import Branch, Folder, Moved, error
from vfs.library import ByteStream, Key
from vfs.localhandle import LocalHandle
from vfs.names import Names
from vfs.nodes import Node, RemoteFile
from vfs.openfiles import OpenFiles
from vfs.reader import Reader
from vfs.remotehandle import RemoteHandle

log = logging.getLogger(__name__)

RENAME_EXCHANGE = 2


class Copies(Protocol):
    """Local copies of remote files; `vfs.pins.Pins` has them."""

    def open(self, node: RemoteFile) -> LocalHandle | None:
        """The whole copy of the file, open for reading; None if there is none that can be used now."""
        ...

    def twin(self, node: RemoteFile) -> LocalHandle | None:
        """A whole copy of another file that surely has the same bytes; None if there is none."""
        ...

    def forget(self, node: RemoteFile) -> None:
        """The last name of the file is gone, and its last handle closed."""
        ...


class NoCopies:
    """For a tree that keeps none."""

    def open(self, node: RemoteFile) -> LocalHandle | None:
        return None

    def twin(self, node: RemoteFile) -> LocalHandle | None:
        return None

    def forget(self, node: RemoteFile) -> None:
        return None


class RemoteBranch(Branch):
    """The remote part of the tree. stat, list and open never wait: not for the network, not for SQLite.

    Lock order: `_lock` guards what is open and hidden; only that of `OpenFiles` comes after it.
    """

    def __init__(self, names: Names, reader: Reader, released: Callable[[Key], None] = lambda key: None) -> None:
        """`released` is told of each content whose last name is gone and whose last handle is closed."""
        self.names = names
        self._reader = reader
        self._released = released
        self.copies: Copies = NoCopies()
        # Told of each read of remote content, its offset and size, in the thread that does it; EIO, and it is not done.
        self.reading: Callable[[Key, int, int], None] = lambda key, offset, size: None
        self._lock = threading.Lock()
        self._open: OpenFiles[RemoteHandle] = OpenFiles()
        self._nodes: dict[int, RemoteFile] = {}  # those that are open
        self._hidden: dict[str, RemoteFile] = {}

    def __repr__(self) -> str:
        return "<remote names>"

    def _node(self, path: str) -> Node:
        return self._hidden.get(path) or self.names.get(path)

    # Reading.

    def stat(self, path: str) -> Attr:
        return self._node(path).attr()

    def folder(self, path: str) -> Folder:
        directory = self.names.directory(path)
        # Copied in one step, since a publication may add names meanwhile.
        children = list(directory.children.items())
        return Folder(directory.attr(), ((name, node.attr()) for name, node in children))

    def open(self, path: str, flags: int) -> RemoteHandle:
        node = self._node(path)
        if not isinstance(node, RemoteFile):
            raise error(errno.EISDIR, path)
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            raise self._not_writable(path)
        handle = RemoteHandle(self, node, self._reader.open(node.key, node.size))
        with self._lock:
            self._nodes[node.ino] = node
            self._open.opened(node.ino, handle)
        # Only now, so that a copy that is whole from this moment on is found here or finds this handle.
        self.use_copy(node, handle)
        return handle

    def use_copy(self, node: RemoteFile, handle: RemoteHandle) -> None:
        """Let an open handle read from the local copy from now on, if there is one."""
        copy = None if handle.has_copy else self.copies.open(node)
        if copy is not None and not handle.use(copy):
            copy.close()

    def use_twin(self, node: RemoteFile, handle: RemoteHandle) -> bool:
        """The provider failed: let the handle read from an identical copy from now on, if there is one."""
        copy = self.copies.twin(node)
        if copy is None:
            return False
        if not handle.use(copy, twin=True):
            copy.close()
            return False
        log.warning("file %d cannot be had from the provider; an identical local copy is read instead", node.ino)
        return True

    def handles(self, node: RemoteFile) -> list[RemoteHandle]:
        """Those of the file that are open now."""
        return self._open.handles(node.ino)

    def _not_writable(self, path: str) -> OSError:
        log.warning("%s lies at the provider and cannot be written to; write a new file beside it", path)
        return error(errno.EROFS, path)

    def getxattr(self, path: str, name: str) -> bytes:
        value = (self._node(path).xattrs or {}).get(name)
        if value is None:
            raise error(errno.ENODATA, path)
        return value

    def listxattr(self, path: str) -> list[str]:
        return list(self._node(path).xattrs or ())

    # Names.

    def link(self, source: str, path: str) -> None:
        self.names.link(source, path)

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        self.names.mkdir(path, mode, caller.uid, caller.gid)

    def rmdir(self, path: str) -> None:
        self.names.rmdir(path)

    def rename(self, source: str, target: str, flags: int) -> None:
        if flags == RENAME_EXCHANGE:
            self.names.exchange(source, target)
            return
        replaced = self.names.find(target)
        self.names.rename(source, target)
        if isinstance(replaced, RemoteFile):
            self.settle(replaced)

    def unlink(self, path: str) -> None:
        if path in self._hidden:
            with self._lock:
                self._hidden.pop(path, None)
            return
        self.settle(self.names.unlink(path))

    def hide(self, source: str, target: str) -> bool:
        node = self.names.get(source)
        if not isinstance(node, RemoteFile) or not self._open.was_open_lately(node.ino):
            return False
        self.names.unlink(source)
        with self._lock:
            if self._open.is_open(node.ino):
                self._hidden[target] = node
        self.settle(node)
        return True

    def follow(self, moved: Moved) -> None:
        if self._hidden:
            with self._lock:
                self._hidden = {moved.of(path): node for path, node in self._hidden.items()}

    # Attributes.

    def truncate(self, path: str, size: int) -> None:
        raise self._not_writable(path)

    def chmod(self, path: str, mode: int) -> None:
        self.names.set_mode(self._node(path), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        self.names.set_owner(self._node(path), uid, gid)

    def utime(self, path: str, atime_ns: int, mtime_ns: int) -> None:
        self.names.set_times(self._node(path), atime_ns, mtime_ns)

    def setxattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        node = self._node(path)
        if not name.startswith(("user.", "trusted.", "security.")):
            raise error(errno.EOPNOTSUPP, path)
        exists = name in (node.xattrs or {})
        if flags & os.XATTR_CREATE and exists:
            raise error(errno.EEXIST, path)
        if flags & os.XATTR_REPLACE and not exists:
            raise error(errno.ENODATA, path)
        self.names.set_xattr(node, name, value)

    def removexattr(self, path: str, name: str) -> None:
        node = self._node(path)
        if name not in (node.xattrs or {}):
            raise error(errno.ENODATA, path)
        self.names.set_xattr(node, name, None)

    def fsyncdir(self, path: str) -> None:
        self.names.directory(path)
        self.names.barrier()

    # What is open, and what is let go.

    def closed(self, node: RemoteFile, handle: RemoteHandle) -> None:
        """One handle of the file is closed."""
        with self._lock:
            if not self._open.closed(node.ino, handle):
                return
            del self._nodes[node.ino]
            self._hidden = {path: kept for path, kept in self._hidden.items() if kept is not node}
        self.settle(node)

    def is_open(self, info_hash: str) -> bool:
        """Whether somebody has a file of this torrent open."""
        return any(node.key[1] == info_hash for node in list(self._nodes.values()))

    def settle(self, node: RemoteFile) -> None:
        """Let the content go if no name and no handle is left of it."""
        if node.nlink == 0 and not self._open.is_open(node.ino):
            self.copies.forget(node)
            self.let_go(node.key)

    def let_go(self, key: Key) -> None:
        """Tell that this content has neither a name nor an open handle; may be repeated."""
        self._released(key)


class NoLibrary:
    """Stands in when no token is configured: names of earlier days stay listed, their bytes cannot be had."""

    def stream(self, key: Key, offset: int, length: int) -> ByteStream:
        raise OSError(errno.EIO, "no Real-Debrid token is configured, so remote files cannot be read")
