"""For Windows: the calls on open directories, by paths, and others that Python has on Linux only.

What is opened with O_PATH or O_DIRECTORY gets a number that stands for its path and is no descriptor of the system;
`dir_fd`, and the paths below /proc/self/fd that lead to an open object, mean that path then. So between a look and
the call after it somebody else may exchange what is there, which Linux excludes; nobody but mediapool should change
a drive of the pool meanwhile. Nothing is followed that leads elsewhere (symbolic links, junctions): opening with
O_NOFOLLOW refuses it, component by component.

It works on Linux too, where the tests of the drives run over it. What it says of files is in `placement.winfile`.
"""

import errno
import os
import shutil
import stat as modes
import sys
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, NoReturn, Self

from placement import winfile
from placement.openpaths import (
    FIRST,
    Opened,
    OpenRoot,
    Place,
    error_of,
    is_open_object,
    meant_by,
    numbers,
    opened,
    reaching,
    where_is,
)
from placement.windowsnames import meant

_ON_WINDOWS = sys.platform == "win32"
# Where Windows has no such flag they are bits that it does not use, or nothing.
O_PATH: int = getattr(os, "O_PATH", 1 << 24)
O_DIRECTORY: int = getattr(os, "O_DIRECTORY", 1 << 25)
O_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 1 << 26)
O_CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)
O_NONBLOCK: int = getattr(os, "O_NONBLOCK", 0)
O_NOCTTY: int = getattr(os, "O_NOCTTY", 0)
O_NOATIME: int = getattr(os, "O_NOATIME", 0)
O_DIRECT: int = getattr(os, "O_DIRECT", 0)
O_SYNC: int = getattr(os, "O_SYNC", 0)
O_DSYNC: int = getattr(os, "O_DSYNC", 0)
O_ACCMODE = 3
SEEK_DATA, SEEK_HOLE = 3, 4
ST_RDONLY = 1
POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED = 3, 4
XATTR_CREATE, XATTR_REPLACE = 1, 2


# Opening and closing.


def open(path: Place, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    """As os.open."""
    with reaching(path, dir_fd, new=bool(flags & os.O_CREAT)) as where:
        if flags & (O_PATH | O_DIRECTORY):
            return _stand_for(where, flags, meant_by(path, dir_fd).root)
        if flags & O_NOFOLLOW and _leads_elsewhere(where):
            raise error_of(errno.ELOOP, where)
        return winfile.open_file(where, flags & ~O_NOFOLLOW, mode)


def _stand_for(where: str, flags: int, root: OpenRoot | None) -> int:
    """A number for what is there."""
    if not flags & O_NOFOLLOW:
        where = os.path.realpath(where, strict=True)
    found = os.lstat(where)
    if flags & O_DIRECTORY and (not modes.S_ISDIR(found.st_mode) or winfile.is_junction(found)):
        raise error_of(errno.ENOTDIR, where)
    where, number = winfile.whole(where), next(numbers)
    opened[number] = Opened(where, root if root is not None or flags & O_NOFOLLOW else OpenRoot(where))
    return number


def _leads_elsewhere(path: str) -> bool:
    try:
        return modes.S_ISLNK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def close(fd: int) -> None:
    """As os.close."""
    if fd < FIRST:
        os.close(fd)
    elif opened.pop(fd, None) is None:
        raise error_of(errno.EBADF, "")


# Looking.


def fstat(fd: int) -> Any:
    """As os.fstat."""
    if fd not in opened:
        return winfile.told(os.fstat(fd))
    with reaching(fd) as path:
        return winfile.told(os.lstat(path))


def stat(path: Place, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> Any:
    """As os.stat."""
    if isinstance(path, int):
        return fstat(path)
    with reaching(path, dir_fd) as where:
        return winfile.told(os.stat(where, follow_symlinks=follow_symlinks))


def lstat(path: Place, *, dir_fd: int | None = None) -> Any:
    """As os.lstat."""
    return stat(path, dir_fd=dir_fd, follow_symlinks=False)


class DirEntry:
    """As os.DirEntry, which knows no inode number on Windows."""

    __slots__ = ("name", "path")

    def __init__(self, name: str, path: str) -> None:
        self.name, self.path = name, path

    def stat(self, *, follow_symlinks: bool = True) -> Any:
        return stat(self.path, follow_symlinks=follow_symlinks)

    def inode(self) -> int:
        return int(self.stat(follow_symlinks=False).st_ino)

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return modes.S_ISDIR(self.stat(follow_symlinks=follow_symlinks).st_mode)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return modes.S_ISREG(self.stat(follow_symlinks=follow_symlinks).st_mode)

    def is_symlink(self) -> bool:
        return modes.S_ISLNK(self.stat(follow_symlinks=False).st_mode)


class _Entries:
    """What `scandir` gives: an iterator that is closed at the end of its block."""

    def __init__(self, folder: str) -> None:
        self._found = os.scandir(folder)

    def __iter__(self) -> Iterator[DirEntry]:
        for entry in self._found:
            # A name that nothing in the tree is shown as was made by somebody else, and cannot be spoken of.
            try:
                yield DirEntry(winfile.name_in_tree(entry.name, meant), entry.path)
            except ValueError:
                continue

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._found.close()


def scandir(path: Place = ".") -> Any:
    """As os.scandir."""
    with reaching(path) as where:
        return _Entries(where)


def listdir(path: Place = ".") -> list[str]:
    """As os.listdir."""
    with scandir(path) as entries:
        return [entry.name for entry in entries]


def readlink(path: Place, *, dir_fd: int | None = None) -> str:
    """As os.readlink; of a path to an open object where that is."""
    if dir_fd is None and is_open_object(path):
        return where_is(path)
    with reaching(path, dir_fd) as where:
        return winfile.link_text(os.readlink(where))


class statvfs_result(tuple[int, ...]):
    """As os.statvfs_result: ten numbers."""

    f_bsize = property(lambda self: self[0])
    f_frsize = property(lambda self: self[1])
    f_blocks = property(lambda self: self[2])
    f_bfree = property(lambda self: self[3])
    f_bavail = property(lambda self: self[4])
    f_files = property(lambda self: self[5])
    f_ffree = property(lambda self: self[6])
    f_favail = property(lambda self: self[7])
    f_flag = property(lambda self: self[8])
    f_namemax = property(lambda self: self[9])


def statvfs(path: Place) -> statvfs_result:
    """As os.statvfs; Windows counts no inodes."""
    room = shutil.disk_usage(where_is(path))
    return statvfs_result((4096, 4096, room.total // 4096, room.free // 4096, room.free // 4096, 0, 0, 0, 0, 255))


fstatvfs = statvfs

# Changing.


def mkdir(path: Place, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
    """As os.mkdir."""
    with reaching(path, dir_fd, new=True) as where:
        os.mkdir(where, mode)


def rmdir(path: Place, *, dir_fd: int | None = None) -> None:
    """As os.rmdir."""
    with reaching(path, dir_fd) as where:
        os.rmdir(where)


def unlink(path: Place, *, dir_fd: int | None = None) -> None:
    """As os.unlink."""
    with reaching(path, dir_fd) as where:
        os.unlink(where)


def rename(src: Place, dst: Place, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
    """As rename(2): a file takes the place of another, a directory that of an empty one."""
    with reaching(src, src_dir_fd) as source, reaching(dst, dst_dir_fd, new=True) as target:
        if _ON_WINDOWS and os.path.isdir(source) and os.path.isdir(target) and not os.path.samefile(source, target):
            os.rmdir(target)
        os.replace(source, target)


def link(
    src: Place,
    dst: Place,
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
    follow_symlinks: bool = True,
) -> None:
    """As os.link."""
    with reaching(src, src_dir_fd) as source, reaching(dst, dst_dir_fd, new=True) as target:
        os.link(source, target, follow_symlinks=follow_symlinks)


def symlink(src: str, dst: Place, *, dir_fd: int | None = None) -> None:
    """As os.symlink."""
    with reaching(dst, dir_fd, new=True) as where:
        os.symlink(src, where)


def truncate(path: Place, length: int) -> None:
    """As os.truncate."""
    if isinstance(path, int):
        os.ftruncate(path, length)
        return
    with reaching(path) as where:
        os.truncate(where, length)


def chmod(path: Place, mode: int, *, dir_fd: int | None = None) -> None:
    """As os.chmod; Windows keeps whether the owner may write."""
    with reaching(path, dir_fd) as where:
        os.chmod(where, mode)


def fchmod(fd: int, mode: int) -> None:
    """As os.fchmod."""
    chmod(fd, mode)


def chown(path: Place, uid: int, gid: int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
    """As os.chown; Windows has no such owners, so there nothing is done."""
    if sys.platform != "win32":
        with reaching(path, dir_fd) as where:
            os.chown(where, uid, gid, follow_symlinks=follow_symlinks)


def fchown(fd: int, uid: int, gid: int) -> None:
    """As os.fchown."""
    chown(fd, uid, gid)


def utime(path: Place, *, ns: tuple[int, int]) -> None:
    """As os.utime."""
    with reaching(path) as where:
        os.utime(where, ns=ns)


def fsync(fd: int) -> None:
    """As os.fsync; Windows writes the names in a directory by itself."""
    if fd not in opened:
        os.fsync(fd)


fdatasync = fsync


def mknod(path: Place, mode: int = 0o600, device: int = 0, *, dir_fd: int | None = None) -> None:
    """As os.mknod, of regular files; Windows has no others."""
    if not modes.S_ISREG(mode):
        raise error_of(errno.EOPNOTSUPP, where_is(path, dir_fd))
    close(open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, modes.S_IMODE(mode), dir_fd=dir_fd))


def _no_xattrs(path: Place) -> NoReturn:
    raise error_of(errno.EOPNOTSUPP, str(path))


def getxattr(path: Place, name: str, *, follow_symlinks: bool = True) -> bytes:
    """Drives of Windows keep no extended attributes."""
    _no_xattrs(path)


def setxattr(path: Place, name: str, value: bytes, flags: int = 0, *, follow_symlinks: bool = True) -> None:
    """As `getxattr`."""
    _no_xattrs(path)


def removexattr(path: Place, name: str, *, follow_symlinks: bool = True) -> None:
    """As `getxattr`."""
    _no_xattrs(path)


def listxattr(path: Place, *, follow_symlinks: bool = True) -> list[str]:
    """There are none."""
    return []


# Bytes, and who we are.


def pread(fd: int, length: int, offset: int) -> bytes:
    """As os.pread."""
    buffer = bytearray(length)
    return bytes(buffer[: winfile.read_at(fd, memoryview(buffer), offset)])


def preadv(fd: int, buffers: Iterable[Any], offset: int) -> int:
    """As os.preadv."""
    done = 0
    for buffer in buffers:
        view = memoryview(buffer)
        count = winfile.read_at(fd, view, offset + done)
        done += count
        if count < len(view):
            break
    return done


def pwrite(fd: int, data: Any, offset: int) -> int:
    """As os.pwrite."""
    return winfile.write_at(fd, memoryview(data), offset)


def posix_fadvise(fd: int, offset: int, length: int, advice: int) -> None:
    """Windows takes no such advice."""


def geteuid() -> int:
    """Not root: nothing is given to others."""
    return 1
