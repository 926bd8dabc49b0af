"""`Branch`, one source of the union, and `Handle`, one open file of it.

A path is relative to the root of the tree, without a leading slash; "" is the root. Names are `str` as
`os.fsdecode` gives them. Every method raises OSError with a positive errno and nothing else. Each mutator
answers EROFS unless a branch supports it, so a branch writes only what it can do; the union is itself a Branch.
"""

import errno
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from vfs.attr import Attr, Caller, Space
from vfs.library import Key


def error(code: int, path: str = "") -> OSError:
    """An OSError of this errno about `path`, ready to raise."""
    return OSError(code, os.strerror(code), path)


class Moved(NamedTuple):
    """A rename that was done; `exchanged`: in both directions."""

    source: str
    target: str
    exchanged: bool = False

    def of(self, path: str) -> str:
        """Where the object is now that was at `path`."""
        for old, new in ((self.source, self.target), (self.target, self.source))[: 1 + self.exchanged]:
            if path == old or path.startswith(old + "/"):
                return new + path[len(old) :]
        return path


class Handle:
    """One open file. Methods may be called from several threads at once. Reading and writing name an offset."""

    ino: int
    """The visible inode number."""
    immutable = False
    """Whether the bytes of this file never change while its inode number stays."""
    content: Key | None = None
    """By which its content is known, if it is remote."""
    came, went = 0, 0
    """Bytes that programs read and wrote through it; what the kernel does by itself is not seen."""
    pid, since = 0, 0.0
    """Which process or thread opened it, 0 if that is not known, and when (s, monotonic)."""

    @property
    def file(self) -> object:
        """What is equal for handles of the same bytes, and for no others."""
        return self

    def fix(self, give: Callable[[int], int]) -> int:
        """Have `give` take a descriptor of the local file with these bytes, which is not moved before this is closed.

        What `give` answers; 0 if there is no such file. OSError of `give`.
        """
        return 0

    def room(self) -> int:
        """How many bytes more its drive takes; OSError."""
        return 0

    def stat(self) -> Attr:
        """Attributes of the open file, also after its last name is gone."""
        raise error(errno.EBADF)

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes at `offset`; fewer only at the end of the file."""
        raise error(errno.EBADF)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset` on; how many bytes, fewer than it holds only at the end of the file."""
        data = self.read(len(buffer), offset)
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: bytes | memoryview, offset: int) -> int:
        """Write all of `data` at `offset` (at the end if opened with O_APPEND); how many bytes were written."""
        raise error(errno.EBADF)

    def truncate(self, size: int) -> None:
        raise error(errno.EBADF)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        """As fallocate(2) with the same mode bits."""
        raise error(errno.EOPNOTSUPP)

    def seek(self, offset: int, whence: int) -> int:
        """The offset of the next data (SEEK_DATA) or hole (SEEK_HOLE) at or after `offset`; ENXIO past the end."""
        raise error(errno.EOPNOTSUPP)

    def chmod(self, mode: int) -> None:
        raise error(errno.EROFS)

    def chown(self, uid: int, gid: int) -> None:
        raise error(errno.EROFS)

    def utime(self, atime_ns: int, mtime_ns: int) -> None:
        raise error(errno.EROFS)

    def flush(self) -> None:
        """Called at each close(2) of a descriptor; reports errors of earlier writes where the disk knows any."""

    def fsync(self, data_only: bool) -> None:
        """Return once everything written is on stable storage."""

    def close(self) -> None:
        """Release; called once."""


class Folder(NamedTuple):
    """A directory: its attributes, and the names in it with theirs, without "." and ".."."""

    attr: Attr
    entries: Iterator[tuple[str, Attr]]


class Branch:
    """One source of the tree."""

    def require(self) -> None:
        """EIO if nothing can be changed here now, because the drive is missing."""

    def stat(self, path: str) -> Attr:
        """Attributes of `path`, not following a symbolic link. ENOENT, ENOTDIR, EIO (a drive that is gone)."""
        raise error(errno.ENOENT, path)

    def folder(self, path: str) -> "Folder":
        """The directory `path` and what is in it; ENOENT and ENOTDIR come at the call."""
        raise error(errno.ENOENT, path)

    def entries(self, path: str) -> Iterator[tuple[str, Attr]]:
        """What is in directory `path`, as `folder` says."""
        return self.folder(path).entries

    def open(self, path: str, flags: int) -> Handle:
        """Open an existing file; O_TRUNC is honoured, O_CREAT is not looked at."""
        raise error(errno.ENOENT, path)

    def readlink(self, path: str) -> str:
        raise error(errno.EINVAL, path)

    def space(self) -> Space:
        raise error(errno.ENOSYS)

    def getxattr(self, path: str, name: str) -> bytes:
        raise error(errno.ENODATA, path)

    def listxattr(self, path: str) -> list[str]:
        return []

    def create(self, path: str, flags: int, mode: int, caller: Caller) -> Handle:
        """Create and open a regular file of the caller; with O_EXCL EEXIST if there is one, else open that."""
        raise error(errno.EROFS, path)

    def mknod(self, path: str, mode: int, device: int, caller: Caller) -> None:
        raise error(errno.EROFS, path)

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        raise error(errno.EROFS, path)

    def symlink(self, target: str, path: str, caller: Caller) -> None:
        """Make `path` a symbolic link whose content is `target`."""
        raise error(errno.EROFS, path)

    def link(self, source: str, path: str) -> None:
        """Make `path` another name of the file `source`."""
        raise error(errno.EROFS, path)

    def unlink(self, path: str) -> None:
        raise error(errno.EROFS, path)

    def rmdir(self, path: str) -> None:
        raise error(errno.EROFS, path)

    def rename(self, source: str, target: str, flags: int) -> None:
        """As renameat2(2), with RENAME_NOREPLACE and RENAME_EXCHANGE."""
        raise error(errno.EROFS, source)

    def hide(self, source: str, target: str) -> bool:
        """Keep an open file that loses its name: `target` leads to it, but no directory lists it.

        False if nobody has the file open; then nothing was done. The file goes with its last handle.
        """
        return False

    def follow(self, moved: Moved) -> None:
        """A rename was done: what `hide` keeps below the folder is to be found under its new path."""

    def truncate(self, path: str, size: int) -> None:
        raise error(errno.EROFS, path)

    def chmod(self, path: str, mode: int) -> None:
        raise error(errno.EROFS, path)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Change owner and group of `path` itself; -1 leaves one as it is."""
        raise error(errno.EROFS, path)

    def utime(self, path: str, atime_ns: int, mtime_ns: int) -> None:
        """Set both times in ns; `vfs.attr.NOW` and `OMIT` mean what they mean in utimensat(2)."""
        raise error(errno.EROFS, path)

    def setxattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        raise error(errno.EROFS, path)

    def removexattr(self, path: str, name: str) -> None:
        raise error(errno.EROFS, path)

    def fsyncdir(self, path: str) -> None:
        """Return once the entries of directory `path` are on stable storage."""
