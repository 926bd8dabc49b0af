"""The remote names as a branch of the union: attributes and listings from memory, bytes through the reader."""

import errno
import logging
import os
from collections.abc import Iterator

from vfs.attr import Attr
from vfs.branch import Branch, Handle, error
from vfs.library import ByteStream, Key
from vfs.names import Directory, Names, RemoteFile
from vfs.reader import Reader, RemoteReader

log = logging.getLogger(__name__)


class RemoteBranch(Branch):
    """The remote part of the tree. stat, list and open never wait: not for the network, not for SQLite."""

    def __init__(self, names: Names, reader: Reader) -> None:
        self.names = names
        self._reader = reader

    def __repr__(self) -> str:
        return "<remote names>"

    def stat(self, path: str) -> Attr:
        return self.names.get(path).attr()

    def entries(self, path: str) -> Iterator[tuple[str, Attr]]:
        # Copied in one step, since a publication may add names meanwhile.
        children = list(self.names.directory(path).children.items())
        return ((name, node.attr()) for name, node in children)

    def open(self, path: str, flags: int) -> Handle:
        node = self.names.get(path)
        if isinstance(node, Directory):
            raise error(errno.EISDIR, path)
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            log.warning("%s lies at the provider and cannot be written to; write a new file beside it", path)
            raise error(errno.EROFS, path)
        assert isinstance(node, RemoteFile)
        return RemoteHandle(node, self._reader.open(node.key, node.size))

    def getxattr(self, path: str, name: str) -> bytes:
        value = (self.names.get(path).xattrs or {}).get(name)
        if value is None:
            raise error(errno.ENODATA, path)
        return value

    def listxattr(self, path: str) -> list[str]:
        return list(self.names.get(path).xattrs or ())


class RemoteHandle(Handle):
    """One open remote file."""

    immutable = True

    def __init__(self, node: RemoteFile, reader: RemoteReader) -> None:
        self.ino = node.ino
        self._node = node
        self._reader = reader

    def stat(self) -> Attr:
        return self._node.attr()

    def read(self, size: int, offset: int) -> bytes:
        try:
            return self._reader.read(size, offset)
        except OSError as cause:
            # Programs know what an input/output error is; a time-out or "try again" of a disk they do not expect.
            raise OSError(errno.EIO, cause.strerror) from cause

    def seek(self, offset: int, whence: int) -> int:
        if offset >= self._node.size:
            raise error(errno.ENXIO)
        return offset if whence == os.SEEK_DATA else self._node.size

    def close(self) -> None:
        self._reader.close()


class NoLibrary:
    """Stands in when no token is configured: names of earlier days stay listed, their bytes cannot be had."""

    def stream(self, key: Key, offset: int, length: int) -> ByteStream:
        raise OSError(errno.EIO, "no Real-Debrid token is configured, so remote files cannot be read")
