"""An open file of a drive, which may go on on another drive while it is open.

Lock order: path locks, then `LocalHandle._gate`, then the lock of `OpenFiles`. Reading takes none of them: the number
of the descriptor stays the same for the life of a handle, and what it stands for is replaced by dup2(2), atomically.
"""

import contextlib
import errno
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, NoReturn, TypeVar

from placement import system as os
from vfs import syscalls
from vfs.attr import BLOCK, Attr
from vfs.branch import Handle

if TYPE_CHECKING:
    from vfs.local import LocalBranch

T = TypeVar("T")
# (the handle, the branch that turned out to be full, bytes wanted, the error): returns when another attempt is worth
# it, or raises the error.
MakeRoom = Callable[["LocalHandle", "LocalBranch", int, OSError], None]

_ATTEMPTS = 100
_FULL = (errno.ENOSPC, errno.EDQUOT)
# What of the flags of open(2) is asked for again when the file goes on elsewhere.
_KEPT = os.O_ACCMODE | os.O_APPEND | os.O_SYNC | os.O_DSYNC | os.O_NOATIME


def by_proc(fd: int) -> str:
    """A path that leads to an open file."""
    return f"/proc/self/fd/{fd}"


def no_room(handle: "LocalHandle", full: "LocalBranch", wanted: int, cause: OSError) -> NoReturn:
    """A `MakeRoom` for a tree that moves nothing."""
    raise cause


class Growing:
    """The handles of one drive that are open for writing. Thread-safe; the lock is a leaf."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: set[LocalHandle] = set()

    def add(self, handle: "LocalHandle") -> None:
        with self._lock:
            self._handles.add(handle)

    def discard(self, handle: "LocalHandle") -> None:
        """Harmless when repeated. To be called before its descriptor is closed."""
        with self._lock:
            self._handles.discard(handle)

    def bytes(self) -> int:
        """What all these files will still want of the drive; a file with several handles counts once."""
        if not self._handles:
            return 0
        with self._lock:
            wanted: dict[int, int] = {}
            for handle in self._handles:
                wanted[handle.ino] = max(wanted.get(handle.ino, 0), handle.wanted())
            return sum(wanted.values())


class LocalHandle(Handle):
    """One open file of a drive. Writing when the drive is full moves the file, and goes on."""

    def __init__(self, branch: "LocalBranch", fd: int, path: str, writes: bool) -> None:
        """`path`: where it was opened; `writes`: it was opened for writing."""
        self.branch = branch
        self.fd = fd
        self.writes = writes
        # Bytes that the file will probably have once it is written.
        self.expected = 0
        self._path = path
        self._gate = threading.Lock()
        self._held: Attr | None = None
        self._closed = False
        self.fixed = False
        """Whether the kernel uses the file by itself, so that it cannot be moved."""
        st = os.fstat(fd)
        self._ino = st.st_ino
        self.ino = branch.attr_of(st, fd, "").ino
        branch.opened(self._ino, self, path)

    @property
    def file(self) -> object:
        return self.branch, self._ino

    def fix(self, give: Callable[[int], int]) -> int:
        with self._gate:
            number = give(self.fd)
            self.fixed = number > 0
            return number

    def room(self) -> int:
        space = os.fstatvfs(self.fd)
        return space.f_bavail * space.f_frsize

    def stat(self) -> Attr:
        return self._held or self.branch.attr_of(os.fstat(self.fd), self.fd, "")

    def read(self, size: int, offset: int) -> bytes:
        return os.pread(self.fd, size, offset)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        return os.preadv(self.fd, [buffer], offset)

    def write(self, data: bytes | memoryview, offset: int) -> int:
        view = memoryview(data)
        done = 0
        while done < len(view):
            # A short write is a full disk or a signal; the next one says which.
            done += self._with_room(len(view) - done, partial(os.pwrite, self.fd, view[done:], offset + done))
        return done

    def _with_room(self, wanted: int, call: Callable[[], T]) -> T:
        """The result of `call`, made again once there is room for `wanted` more bytes, mostly on another drive."""
        for attempt in count():
            branch = self.branch
            try:
                with self._gate:
                    return call()
            except OSError as cause:
                # Drives may count as free what they do not give: somewhere it must end.
                if cause.errno not in _FULL or attempt > _ATTEMPTS:
                    raise
                branch.make_room(self, branch, wanted, cause)
        raise AssertionError

    def truncate(self, size: int) -> None:
        with self._gate:
            os.ftruncate(self.fd, size)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        self._with_room(length, partial(syscalls.fallocate, self.fd, mode, offset, length))

    def seek(self, offset: int, whence: int) -> int:
        return os.lseek(self.fd, offset, whence)

    def chmod(self, mode: int) -> None:
        with self._gate, self.branch.reported(self._path, file=True):
            os.fchmod(self.fd, mode)

    def chown(self, uid: int, gid: int) -> None:
        with self._gate, self.branch.reported(self._path, file=True):
            os.fchown(self.fd, uid, gid)

    def utime(self, atime_ns: int, mtime_ns: int) -> None:
        with self._gate, self.branch.reported(self._path, file=True):
            syscalls.utimens(by_proc(self.fd), atime_ns, mtime_ns)

    def flush(self) -> None:
        # Network filesystems report delayed write errors at close(2), and only there.
        os.close(os.dup(self.fd))

    def fsync(self, data_only: bool) -> None:
        (os.fdatasync if data_only else os.fsync)(self.fd)

    def close(self) -> None:
        with self._gate:
            self._closed = True
            self.branch.growing.discard(self)
            os.close(self.fd)
            self.branch.closed(self._ino, self)

    def wanted(self) -> int:
        """Bytes that its drive will still have to give: what is expected, or was made room for by making it longer."""
        st = os.fstat(self.fd)
        return max(0, max(self.expected, st.st_size) - st.st_blocks * BLOCK)

    def named(self, path: str) -> None:
        """From now on its changes are reported of this name."""
        self._path = path

    # While the file moves to another drive.

    @contextlib.contextmanager
    def held_still(self) -> Iterator[None]:
        """Let nobody change or close the file through this handle; it shows the attributes it has now."""
        with self._gate:
            if not self._closed:
                self._held = self.stat()
            try:
                yield
            finally:
                self._held = None

    def flags(self) -> int:
        """How to open the file once more for this handle."""
        if sys.platform == "win32":
            return os.O_RDWR if self.writes else os.O_RDONLY
        import fcntl

        return fcntl.fcntl(self.fd, fcntl.F_GETFL) & _KEPT

    def moves_to(self, branch: "LocalBranch", ino: int, fd: int, path: str) -> None:
        """Go on with the open file `fd` of another drive, of which a copy is kept, and which lies there at `path`.

        Only while held still.
        """
        os.dup2(fd, self.fd, inheritable=False)
        branch.opened(ino, self, path)
        self.branch.left(self._ino, self)
        self.branch, self._ino = branch, ino
