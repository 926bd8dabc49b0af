"""Work below an open root directory: paths are resolved beneath it and through no symbolic link.

`Root` holds the directory open, so a path keeps meaning the same directory when something else is mounted
over it, and a drive that is gone answers an error instead of its bare mount point. All of the package's
ctypes stand here. Paths are relative, names are `str` as `os.fsdecode` gives them; every error is an
OSError.

A `Root` closes its descriptor when nobody refers to it any more. That is on purpose: whoever replaces a
root only drops it, and a thread in the middle of `with root.parent(...)` keeps the old one open until it
leaves the block. For the same reason the bare descriptor is not handed out.
"""

import ctypes
import errno
import functools
import struct
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from placement import system as os
from placement.kinds import Kind, kind_of
from placement.mounttable import Mount, mounts

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

# The kernel's PATH_MAX, with the closing NUL; a longer path is resolved in pieces.
PATH_MAX = 4096

# openat2 has this number on every architecture that Python runs media servers on.
_SYS_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800
_STATX_SIZE = 256
_STATX_BTIME_AT = 80

# Absent on Windows, where this module can be imported but not used.
_DIRECTORY = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_PATH_ONLY = _DIRECTORY | getattr(os, "O_PATH", 0)

# Whether a directory that is open is only a path, as on Windows.
_BY_PATH = sys.platform == "win32"

# (descriptor of a directory, relative path) -> descriptor (O_PATH) of the directory the path names.
Resolver = Callable[[int, bytes], int]


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


# Only read by the kernel, so all threads share them.
_HOW = ctypes.byref(_OpenHow(_PATH_ONLY, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS))
_HOW_TO_LIST = ctypes.byref(_OpenHow(_DIRECTORY | os.O_RDONLY, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS))
_HOW_SIZE = ctypes.sizeof(_OpenHow)


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _function(name: str, *arguments: Any) -> Any:
    """The C library's function `name`; None where the library or the platform has none."""
    function = getattr(_libc(), name, None)
    if function is not None:
        function.argtypes = arguments
    return function


_syscall = _function("syscall", ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
_renameat2 = _function("renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_statx = _function("statx", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p)


def _error(code: int, path: str | bytes) -> OSError:
    return OSError(code, os.strerror(code), os.fsdecode(path))


def _encoded(name: str) -> bytes:
    """The bytes of `name`; EINVAL for a NUL, at which C would silently cut the name off."""
    if "\0" in name:
        raise _error(errno.EINVAL, name)
    return os.fsencode(name)


def openat2(dirfd: int, path: bytes, how: Any = _HOW) -> int:
    """A `Resolver` by openat2(2), Linux 5.6: the kernel refuses to leave `dirfd` or to follow a link."""
    while True:
        fd: int = _syscall(_SYS_OPENAT2, dirfd, path, how, _HOW_SIZE)
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code == errno.ELOOP:
            # The kernel above us has followed its links already: one met here is simply no directory.
            code = errno.ENOTDIR
        if code != errno.EINTR:
            raise _error(code, path)


def walk(dirfd: int, path: bytes) -> int:
    """A `Resolver` by one O_NOFOLLOW open per component, for kernels and sandboxes without openat2(2)."""
    if path.startswith(b"/"):
        raise _error(errno.EXDEV, path)
    fd = os.open(".", _PATH_ONLY, dir_fd=dirfd)
    for component in path.split(b"/"):
        if not component:
            continue
        try:
            below = os.open(component, _PATH_ONLY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


@functools.cache
def resolver() -> Resolver:
    """`openat2` where this kernel has it, else `walk`."""
    if _syscall is None:
        return walk
    here = os.open("/", _PATH_ONLY)
    try:
        os.close(openat2(here, b"."))
    except OSError as error:
        # Old sandboxes answer EPERM to a call they do not know.
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        return walk
    finally:
        os.close(here)
    return openat2


class Parent:
    """What `Root.parent` gives: resolves when entered, closes when left, keeps its root open meanwhile."""

    __slots__ = ("_owned", "_rel", "_root")

    def __init__(self, root: "Root", rel: str) -> None:
        self._root = root
        self._rel = rel
        self._owned = -1

    def __enter__(self) -> tuple[int, str]:
        rel = self._rel
        if "/" not in rel and rel != ".." and "\0" not in rel:
            return self._root._fd, rel or "."
        head, name = split(rel)
        self._owned = self._root._directory(head)
        return self._owned, name

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owned >= 0:
            os.close(self._owned)
            self._owned = -1


def split(rel: str) -> tuple[str, str]:
    """Directory and last name of a path; EXDEV for one that could leave the root, EINVAL for a malformed one.

    ".." is refused wherever it stands: no lookup of a kernel contains it, and beneath two roots of one union
    it would mean two different directories.
    """
    if rel.startswith("/") or (".." in rel and ".." in rel.split("/")):
        raise _error(errno.EXDEV, rel)
    head, _, name = rel.rpartition("/")
    if not name or "\0" in rel:
        raise _error(errno.EINVAL, rel)
    return head, name


class Root:
    """An open directory below which all work happens. Thread-safe; `close` is for its last user."""

    __slots__ = ("__weakref__", "_fd", "_resolve", "_whole", "key", "path")

    def __init__(self, path: str | os.PathLike[str], resolve: Resolver | None = None) -> None:
        """Open the directory `path`; links in `path` itself are followed. ENOENT, ENOTDIR, EACCES."""
        self._fd = -1
        self._whole: bool | None = None
        self._resolve = resolve or resolver()
        self.path = os.fspath(path)
        self._fd = os.open(path, _PATH_ONLY & ~getattr(os, "O_NOFOLLOW", 0))
        found = os.fstat(self._fd)
        # Device and inode number: whether some path still leads to this directory.
        self.key = (found.st_dev, found.st_ino)

    def parent(self, rel: str) -> Parent:
        """`with root.parent("a/b/c") as (dirfd, name)`: the open directory holding `rel`, and its last name.

        "" gives the root and ".". A path without "/" costs no system call. The last name is not looked at:
        use it with dir_fd and follow_symlinks=False. Paths may be longer than PATH_MAX. Raises, when
        entered, ENOENT, ENOTDIR (also for a symbolic link on the way), ENAMETOOLONG, EACCES; EXDEV for an
        absolute path or one with "..", EINVAL for a NUL or a slash at the end.
        """
        return Parent(self, rel)

    def must_exist(self, rel: str) -> None:
        """Raise ENOENT or ENOTDIR, as `parent` and a look at the last name would, where that is certain at once.

        Most questions of a union are about names that one drive does not have, and this answers them by one system
        call. No answer says nothing: a symbolic link on the way may have led anywhere.
        """
        try:
            os.stat(rel, dir_fd=self._fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            if ".." not in rel:
                raise
        except (OSError, ValueError):
            return

    def open_dir(self, rel: str) -> int:
        """A descriptor of directory `rel` to list or fsync; the caller closes it. Raises as `parent` does."""
        if rel and self._resolve is openat2 and len(path := os.fsencode(rel)) < PATH_MAX:
            # In one step, since scans are made of this.
            split(rel)
            return openat2(self._fd, path, _HOW_TO_LIST)
        with self.parent(rel) as (dirfd, name):
            return os.open(name, _DIRECTORY | os.O_RDONLY, dir_fd=dirfd)

    def real_path(self) -> str:
        """Where the root is now, links resolved, as the kernel says it."""
        return os.readlink(f"/proc/self/fd/{self._fd}")

    def statvfs(self) -> "os.statvfs_result":
        """Room of the filesystem that holds the root."""
        return os.fstatvfs(self._fd)

    def is_whole_filesystem(self) -> bool:
        """Whether the root is the top of its filesystem, not a folder in it. False where unknown."""
        if self._whole is None:
            self._whole = _is_mounted_whole(self._fd)
        return self._whole

    def filesystem_type(self) -> str:
        """The kind of filesystem, as mount(8) calls it; "" where unknown."""
        mount = _mount_of(self._fd)
        return mount.kind if mount else ""

    def kind(self) -> Kind | None:
        """The kind of drive that the root lies on; None where unknown."""
        mount = _mount_of(self._fd)
        return None if mount is None else kind_of(mount.kind, mount.source, self.key[0])

    def close(self) -> None:
        """Close now, for a caller that knows itself alone; harmless when repeated."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _directory(self, rel: str) -> int:
        """A descriptor (O_PATH) of directory `rel`, owned by the caller."""
        path = os.fsencode(rel)
        if len(path) < PATH_MAX:
            return self._resolve(self._fd, path)
        return self._directory_in_pieces(path)

    def _directory_in_pieces(self, path: bytes) -> int:
        fd = self._fd
        while True:
            piece, path = _first_piece(path)
            try:
                below = self._resolve(fd, piece)
            finally:
                if fd != self._fd:
                    os.close(fd)
            if not path:
                return below
            fd = below


def _first_piece(path: bytes) -> tuple[bytes, bytes]:
    """The longest head of `path` that one call takes, and the rest, which must not begin with a slash."""
    if len(path) < PATH_MAX:
        return path, b""
    cut = path.rfind(b"/", 0, PATH_MAX)
    if cut <= 0:
        raise _error(errno.ENAMETOOLONG, path)
    return path[:cut], path[cut:].lstrip(b"/")


def _is_mounted_whole(fd: int) -> bool:
    mount = _mount_of(fd)
    return mount is not None and mount.root == "/" and mount.point == os.readlink(f"/proc/self/fd/{fd}")


def _mount_of(fd: int) -> Mount | None:
    """The mount of `fd`; None where unknown. By its id, as st_dev cannot tell a filesystem's top from a bind mount."""
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
            mount_id = next(int(line.split()[1]) for line in info if line.startswith("mnt_id:"))
        return next((mount for mount in mounts() if mount.id == mount_id), None)
    except (OSError, StopIteration):
        return None


def renameat2(olddirfd: int, old: str, newdirfd: int, new: str, flags: int = 0) -> None:
    """renameat2(2) with RENAME_NOREPLACE or RENAME_EXCHANGE; EINVAL where the filesystem knows no flags."""
    if not flags:
        os.rename(_encoded(old), _encoded(new), src_dir_fd=olddirfd, dst_dir_fd=newdirfd)
        return
    if _renameat2 is None:
        _rename_new(olddirfd, old, newdirfd, new, flags)
        return
    while _renameat2(olddirfd, _encoded(old), newdirfd, _encoded(new), flags):
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code), old, None, new)


def _rename_new(olddirfd: int, old: str, newdirfd: int, new: str, flags: int) -> None:
    """RENAME_NOREPLACE where the system has no such thing: by a look before."""
    if flags != RENAME_NOREPLACE:
        raise _error(errno.EINVAL, old)
    try:
        os.stat(new, dir_fd=newdirfd, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(old, new, src_dir_fd=olddirfd, dst_dir_fd=newdirfd)
    else:
        raise _error(errno.EEXIST, new)


def below(dirfd: int, name: str) -> str:
    """A path that leads to `name` in an open directory, for those who know no descriptors."""
    folder = f"/proc/self/fd/{dirfd}"
    return os.path.join(os.readlink(folder) if _BY_PATH else folder, name)


def birth_time_ns(dirfd: int, name: str) -> int | None:
    """When the file was made, in ns since 1970; None where the filesystem does not record it.

    Links are not followed. "" asks for the open file `dirfd` itself. ENOENT and the other errors of statx(2).
    """
    if sys.platform == "win32":
        return int((os.stat(name, dir_fd=dirfd, follow_symlinks=False) if name else os.fstat(dirfd)).st_ctime_ns)
    if _statx is None:
        return None
    answer = ctypes.create_string_buffer(_STATX_SIZE)
    while _statx(dirfd, _encoded(name), _AT_SYMLINK_NOFOLLOW | _AT_EMPTY_PATH, _STATX_BTIME, answer):
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise _error(code, name)
    (mask,) = struct.unpack_from("=I", answer)
    if not mask & _STATX_BTIME:
        return None
    seconds, nanoseconds = struct.unpack_from("=qI", answer, _STATX_BTIME_AT)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)
