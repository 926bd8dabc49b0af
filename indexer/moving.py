"""Moving one file to a name that nothing has, journaled, so that no kill loses a byte and each move can be undone.

The file is held open and hashed first; it is moved only if it is what it was found as. On one filesystem that is
renameat2 with RENAME_NOREPLACE, or link and unlink where that is unknown. Between two: a copy under a temporary name,
read back from the disk and compared, linked to its name, and only then the source is removed. Paths are real, and a
symbolic link that stands on the way by now is an error. STEPS are the points at which a test may kill.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import signal
import stat
from collections.abc import Callable, Iterator

from indexer.finding import TEMPORARY, Found
from indexer.hashing import Changed, hash_all, new_buffer
from indexer.reading import open_unnoticed
from indexer.runs import Moving, Run
from placement.beneath import RENAME_NOREPLACE, Root, renameat2
from placement.copying import Allowance, copy_content, read_content
from placement.metadata import copy_attributes

STEPS = ("journaled", "copied", "compared", "named", "source removed", "done")
_NO_FLAGS = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_TRIES = 1000

OnStep = Callable[[str], None]


def _no_step(_name: str) -> None:
    return None


class Mover:
    """Moves files of one run. For one thread; to be closed."""

    def __init__(self, run: Run, on_step: OnStep = _no_step, allowance: Allowance | None = None) -> None:
        """`allowance`: bounds copies between filesystems, and cancels them."""
        self._run = run
        self._on_step = on_step
        self._allowance = allowance or Allowance()
        self._root = Root("/")
        self._buffer = new_buffer()

    def close(self) -> None:
        """Let go of the root directory."""
        self._root.close()

    def move(self, found: Found, target: bytes, digest: bytes, *, exactly: bool = False) -> Found:
        """Move `found`, which holds what `digest` says, to `target`; the file at its new name.

        Where something stands there it gets a number before its suffix, or with `exactly` that is FileExistsError.
        OSError; then the file is where it was. `Changed` if it is not what was found.
        """
        with self._held(found, digest) as fd:
            self._make_folders(os.path.dirname(target))
            for name in [target] if exactly else _numbered(target):
                with contextlib.suppress(FileExistsError):
                    return self._move_to(fd, found, name, digest)
        raise FileExistsError(errno.EEXIST, "something stands there", os.fsdecode(target))

    @contextlib.contextmanager
    def _held(self, found: Found, digest: bytes) -> Iterator[int]:
        """The file open, proven to be what was found."""
        with self._root.parent(_relative(found.path)) as (dirfd, name):
            fd = open_unnoticed(os.fsencode(name), dirfd)
        try:
            if not _is(os.fstat(fd), found) or hash_all(fd, found.size, self._buffer) != digest:
                raise Changed
            yield fd
        finally:
            os.close(fd)

    def _make_folders(self, folder: bytes) -> None:
        missing = []
        while not os.path.lexists(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for one in reversed(missing):
            with self._root.parent(_relative(one)) as (dirfd, name), contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=dirfd)

    def _move_to(self, fd: int, found: Found, target: bytes, digest: bytes) -> Found:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "something stands there", os.fsdecode(target))
        folder = os.path.dirname(target)
        apart = os.stat(folder).st_dev != found.dev
        temporary = folder + b"/" + TEMPORARY + secrets.token_hex(8).encode() if apart else None
        moving = Moving(0, found.path, target, *found[1:5], digest, temporary)
        moving = self._run.intend(moving)
        self._on_step("journaled")
        try:
            if temporary is None:
                self._rename(found.path, target)
                self._on_step("named")
                self._return_changed(fd, found, target)
            else:
                self._copy(fd, found, moving)
        except OSError:
            self._run.given_up(moving.number)
            raise
        self._on_step("done")
        return found_at(target)

    def _return_changed(self, fd: int, found: Found, target: bytes) -> None:
        """Give a file its old name back that was written to, or exchanged, since it was hashed."""
        now = os.fstat(fd)
        there = os.lstat(target)
        if (there.st_dev, there.st_ino) == found[1:3] and (now.st_size, now.st_mtime_ns) == found[3:5]:
            return
        self._rename(target, found.path)
        raise Changed

    def _rename(self, source: bytes, target: bytes) -> None:
        """OSError; FileExistsError for a target that exists, whatever the filesystem."""
        with (
            self._root.parent(_relative(source)) as (olddir, old),
            self._root.parent(_relative(target)) as (newdir, new),
        ):
            try:
                renameat2(olddir, old, newdir, new, RENAME_NOREPLACE)
            except OSError as error:
                if error.errno not in _NO_FLAGS:
                    raise
                os.link(old, new, src_dir_fd=olddir, dst_dir_fd=newdir, follow_symlinks=False)
                os.unlink(old, dir_fd=olddir)

    def _copy(self, fd: int, found: Found, moving: Moving) -> None:
        """Make the target by a compared copy, then remove the source."""
        assert moving.temporary is not None
        if found.nlink > 1:
            raise OSError(errno.EXDEV, "it has other hard links, which a copy would part from it")
        try:
            self._write_copy(fd, moving)
            self._rename(moving.temporary, moving.target)
        finally:
            self._drop(moving.temporary)
        self._sync(os.path.dirname(moving.target))
        self._on_step("named")
        self._remove_source(fd, found)
        self._on_step("source removed")

    def _write_copy(self, fd: int, moving: Moving) -> None:
        with self._root.parent(_relative(moving.temporary or b"")) as (dirfd, name):
            copy = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=dirfd)
        try:
            copied = copy_content(fd, copy, self._allowance, _nobody)
            copy_attributes(fd, copy, os.fstat(fd))
            os.fsync(copy)
            self._on_step("copied")
            if copied.digest != moving.hash:
                raise Changed
            if read_content(copy, self._allowance, _nobody) != copied:
                raise OSError(errno.EIO, "the copy, read back, differs from the source")
            self._on_step("compared")
        finally:
            os.close(copy)

    def _remove_source(self, fd: int, found: Found) -> None:
        with self._root.parent(_relative(found.path)) as (dirfd, name):
            there = os.stat(name, dir_fd=dirfd, follow_symlinks=False)
            if not _is(there, found) or is_written(fd):
                # Both stay: the copy is whole, and what was written since is in the source.
                raise Changed
            os.unlink(name, dir_fd=dirfd)

    def _drop(self, temporary: bytes) -> None:
        with self._root.parent(_relative(temporary)) as (dirfd, name), contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=dirfd)

    def _sync(self, folder: bytes) -> None:
        fd = self._root.open_dir(_relative(folder))
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def found_at(path: bytes) -> Found:
    """The regular file at `path` now; OSError, EINVAL for anything else."""
    st = os.lstat(path)
    if not stat.S_ISREG(st.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", os.fsdecode(path))
    return Found(path, st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_nlink)


def is_written(fd: int) -> bool:
    """Whether somebody has the file open for writing; False where the system does not tell.

    A read lease is granted only where nobody has, and given back at once. Source: fcntl(2), "Leases".
    """
    try:
        # Should somebody open it in this moment, the notice must not be the signal that ends a program.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EBUSY)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _is(st: os.stat_result, found: Found) -> bool:
    return (st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns) == found[1:5] and stat.S_ISREG(st.st_mode)


def _relative(path: bytes) -> str:
    return os.fsdecode(path.lstrip(b"/"))


def _numbered(target: bytes) -> Iterator[bytes]:
    """The name itself, then "name (2).jpg" and so on; cut where the name would become too long."""
    yield target
    folder, _, name = target.rpartition(b"/")
    stem, suffix = os.path.splitext(name)
    for number in range(2, _TRIES):
        end = b" (%d)%s" % (number, suffix)
        yield folder + b"/" + stem[: 255 - len(end)] + end


def _nobody(_done: int) -> None:
    return None
