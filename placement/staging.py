"""The two ends of a copy: the file as it is on its drive, and its copy below `.mediapool/moving/`."""

import contextlib
import errno
import stat
import time
from typing import NamedTuple, Protocol, Self

from placement import system as os
from placement.beneath import Root
from placement.copying import Allowance, ChangedError, Content, Tell, copy_content, read_content
from placement.identity import FOLDER, IDENTITY
from placement.linkgroup import STAGING, lstat, sync_folders
from placement.metadata import by_proc, copy_attributes, is_fixed, is_same_special, recreate

_NODE = getattr(os, "O_PATH", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
# Reading a file to copy or compare it is no access that its times should show.
_UNNOTICED = getattr(os, "O_NOATIME", 0)
# Older kernels stamp changes by a clock that ticks every 4 to 10 ms; two changes in one tick look like one.
_TICK_NS = 20_000_000


class Stamp(NamedTuple):
    """By which a change of a file is noticed: bytes, ns, ns."""

    size: int
    mtime_ns: int
    ctime_ns: int


class Rooted(Protocol):
    """A drive, or any other folder below which files are moved."""

    def require(self) -> Root:
        """The open root; OSError if it is not there."""
        ...


class Original:
    """The file to be moved, held open. To be used in a `with`."""

    def __init__(self, drive: Rooted, path: str) -> None:
        """Open `path` itself, following no link; ENOENT, EISDIR, EPERM (must stay where it is), EXDEV, EACCES."""
        self.path = path
        self._open: list[int] = []
        if path == IDENTITY or path.startswith(STAGING + "/"):
            raise OSError(errno.EPERM, "belongs to the drive", path)
        root = drive.require()
        with root.parent(path) as (dirfd, name):
            self.fd = os.open(name, _NODE, dir_fd=dirfd)
        self._open.append(self.fd)
        try:
            self.found = os.fstat(self.fd)
            self.ino = self.found.st_ino
            self.is_regular = stat.S_ISREG(self.found.st_mode)
            self._refuse(root.key[0])
        except BaseException:
            self.close()
            raise

    def _refuse(self, device: int) -> None:
        if stat.S_ISDIR(self.found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.path)
        if self.found.st_dev != device:
            raise OSError(errno.EXDEV, "another filesystem is mounted there inside the drive", self.path)
        if self.is_regular:
            # Only now is it known that opening it does not wait for somebody, as a FIFO would.
            self.fd = _reopened(self.fd)
            self._open.append(self.fd)
            if is_fixed(self.fd):
                raise OSError(errno.EPERM, "it is immutable or append-only", self.path)

    def stamp(self) -> Stamp:
        """The file's state now, also renewing `found`."""
        self.found = os.fstat(self.fd)
        return Stamp(self.found.st_size, self.found.st_mtime_ns, self.found.st_ctime_ns)

    def settle(self) -> None:
        """Make every change from now on show as another stamp than the last one taken. OSError.

        Stores through mmap to a page that is dirty already leave no trace, so no page may be. And a change
        right after the stamp might carry the same time, so let that time pass.
        """
        if self.is_regular:
            os.fsync(self.fd)
        age = time.time_ns() - self.found.st_ctime_ns
        if 0 <= age < _TICK_NS:
            time.sleep((_TICK_NS - age) / 1e9)

    def close(self) -> None:
        """Let go of the file."""
        while self._open:
            os.close(self._open.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _reopened(fd: int) -> int:
    """The same file open for reading; OSError."""
    flags = os.O_RDONLY | os.O_CLOEXEC
    try:
        return os.open(by_proc(fd), flags | _UNNOTICED)
    except PermissionError:
        # Somebody else's file.
        return os.open(by_proc(fd), flags)


class Staged:
    """The copy while it has only its temporary name. To be used in a `with`, which leaves that name."""

    def __init__(self, target: Rooted, token: str) -> None:
        self._target = target
        self._path = f"{STAGING}/{token}"
        self._fd = -1
        self._content = Content(0, b"")

    def write(self, original: Original, allowance: Allowance, tell: Tell, *, running: bool) -> Stamp:
        """Copy content and attributes, anew if done before; the stamp of what was copied.

        `running`: others may change the file meanwhile and later. `ChangedError` if it did change meanwhile;
        ENOSPC, ECANCELED and other OSErrors.
        """
        before = original.stamp()
        found = original.found
        if running:
            original.settle()
        if original.is_regular:
            if self._fd < 0:
                self._create()
            self._content = copy_content(original.fd, self._fd, allowance, tell)
        else:
            self._recreate(original.fd)
        copy_attributes(original.fd, self._fd, found)
        if original.stamp() != before:
            raise ChangedError(original.path)
        return before

    def _create(self) -> None:
        self._prepare()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | _UNNOTICED
        with self._target.require().parent(self._path) as (dirfd, name):
            self._fd = os.open(name, flags, 0o600, dir_fd=dirfd)

    def _recreate(self, source: int) -> None:
        self.close()
        self._prepare()
        root = self._target.require()
        with root.parent(self._path) as (dirfd, name):
            if lstat(root, self._path) is not None:
                os.unlink(name, dir_fd=dirfd)
            recreate(source, dirfd, name)
            self._fd = os.open(name, _NODE, dir_fd=dirfd)

    def _prepare(self) -> None:
        """Make the folder for copies, closed to others: what lies there has the mode it will have."""
        with self._target.require().parent(STAGING) as (dirfd, name), contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=dirfd)

    def sync(self, original: Original) -> None:
        """Bring the copy and its temporary name to stable storage. OSError."""
        if original.is_regular:
            os.fsync(self._fd)
        sync_folders(self._target.require(), [STAGING, FOLDER])

    def compare(self, original: Original, allowance: Allowance, tell: Tell) -> None:
        """Read the copy back from its drive; OSError EIO if it is not what was copied."""
        if original.is_regular:
            same = read_content(self._fd, allowance, tell) == self._content
        else:
            same = is_same_special(original.fd, self._fd)
        if not same:
            raise OSError(errno.EIO, "the copy, read back, differs from the source", original.path)

    @property
    def content(self) -> Content:
        """What was copied."""
        return self._content

    def stat(self) -> os.stat_result:
        """What the target's filesystem says of the copy."""
        return os.fstat(self._fd)

    def blocks(self) -> int:
        """How many blocks of 512 bytes it has so far; asked by other threads."""
        try:
            with self._target.require().parent(self._path) as (dirfd, name):
                return os.stat(name, dir_fd=dirfd, follow_symlinks=False).st_blocks
        except OSError:
            return 0

    def close(self) -> None:
        """Close the copy; harmless when repeated."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
