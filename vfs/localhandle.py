"""An open file of a drive."""

import os
from typing import TYPE_CHECKING

from vfs import syscalls
from vfs.attr import Attr
from vfs.branch import Handle

if TYPE_CHECKING:
    from vfs.local import LocalBranch


def by_proc(fd: int) -> str:
    """A path that leads to an open file."""
    return f"/proc/self/fd/{fd}"


class LocalHandle(Handle):
    """One open file of a drive."""

    def __init__(self, branch: "LocalBranch", fd: int) -> None:
        self.branch = branch
        self.fd = fd
        st = os.fstat(fd)
        self._ino = st.st_ino
        self.ino = branch.attr_of(st, fd, "").ino
        branch.open_count.opened(self._ino)

    def stat(self) -> Attr:
        return self.branch.attr_of(os.fstat(self.fd), self.fd, "")

    def read(self, size: int, offset: int) -> bytes:
        return os.pread(self.fd, size, offset)

    def write(self, data: bytes | memoryview, offset: int) -> int:
        view = memoryview(data)
        done = os.pwrite(self.fd, view, offset)
        while done < len(view):
            # A short write is a full disk or a signal; the next one says which.
            done += os.pwrite(self.fd, view[done:], offset + done)
        return done

    def truncate(self, size: int) -> None:
        os.ftruncate(self.fd, size)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        syscalls.fallocate(self.fd, mode, offset, length)

    def seek(self, offset: int, whence: int) -> int:
        return os.lseek(self.fd, offset, whence)

    def chmod(self, mode: int) -> None:
        os.fchmod(self.fd, mode)

    def chown(self, uid: int, gid: int) -> None:
        os.fchown(self.fd, uid, gid)

    def utime(self, atime_ns: int, mtime_ns: int) -> None:
        syscalls.utimens(by_proc(self.fd), atime_ns, mtime_ns)

    def flush(self) -> None:
        # Network filesystems report delayed write errors at close(2), and only there.
        os.close(os.dup(self.fd))

    def fsync(self, data_only: bool) -> None:
        (os.fdatasync if data_only else os.fsync)(self.fd)

    def close(self) -> None:
        os.close(self.fd)
        self.branch.closed(self._ino)
