"""One local copy of a remote file on its drive: its bytes, and beside them a checksum of each part that is there.

A part is written before its checksum, and a part whose checksum does not fit counts as not there. So after any
interruption, a power cut included, what was fetched is known by reading it, and nothing else has to be remembered.
"""

import contextlib
import errno
import threading
from collections.abc import Callable, Iterator
from typing import Self

from xxhash import xxh3_128

from placement import system as os
from placement.beneath import Root
from placement.identity import FOLDER as OURS
from placement.linkgroup import sync_folders
from vfs import syscalls
from vfs.pins import FOLDER, SUMS

PART = 4 << 20
"""Bytes that have one checksum."""
_SUM = 16
_NOT_THERE = bytes(_SUM)
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

Tell = Callable[[int], None]


class CopyFile:
    """A copy of `size` bytes, open for writing; made if it is not there. To be used in a `with`."""

    def __init__(self, root: Root, token: str, size: int) -> None:
        """OSError of the drive."""
        self.size = size
        self._root = root
        with root.parent(FOLDER) as (dirfd, name), contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=dirfd)
        with root.parent(f"{FOLDER}/{token}") as (dirfd, name):
            self.fd = os.open(name, _FLAGS, 0o600, dir_fd=dirfd)
            try:
                self._sums = os.open(name + SUMS, _FLAGS, 0o600, dir_fd=dirfd)
            except BaseException:
                os.close(self.fd)
                raise

    def reserve(self) -> None:
        """Have room for all of it on the drive, where its filesystem can promise that; ENOSPC, EDQUOT."""
        if os.fstat(self.fd).st_size > self.size:
            os.ftruncate(self.fd, self.size)
        if self.size:
            with _unless(errno.EOPNOTSUPP, errno.ENOSYS):
                syscalls.fallocate(self.fd, 0, 0, self.size)

    def parts(self) -> range:
        """The numbers of all parts."""
        return range(-(-self.size // PART))

    def extent(self, part: int) -> tuple[int, int]:
        """Offset and length of a part, in bytes."""
        return part * PART, min(PART, self.size - part * PART)

    def missing(self, cancel: threading.Event, tell: Tell) -> list[int]:
        """The parts that are not there, or are damaged. `tell` hears how many bytes are good; ECANCELED."""
        missing, good = [], 0
        for part in self.parts():
            _go_on(cancel)
            if self._sum(part) != _NOT_THERE and self._is_good(part):
                good += self.extent(part)[1]
                tell(good)
            else:
                missing.append(part)
        return missing

    def _sum(self, part: int) -> bytes:
        return os.pread(self._sums, _SUM, part * _SUM).ljust(_SUM, b"\0")

    def _is_good(self, part: int) -> bool:
        return xxh3_128(self.read(part)).digest() == self._sum(part)

    def read(self, part: int) -> bytes:
        """The bytes of a part as they are; OSError."""
        offset, length = self.extent(part)
        return os.pread(self.fd, length, offset)

    def write(self, part: int, data: memoryview) -> None:
        """Write a part, then its checksum. ENOSPC, EDQUOT, EIO."""
        _write(self.fd, data, self.extent(part)[0])
        _write(self._sums, memoryview(xxh3_128(data).digest()), part * _SUM)

    def compare(self, cancel: threading.Event, tell: Tell) -> bytes:
        """Bring all to the disk and read it back from there: the xxh3-128 of the whole.

        OSError EIO if a part is not what was fetched; it counts as not there from then on.
        """
        os.fsync(self.fd)
        os.fsync(self._sums)
        sync_folders(self._root, [FOLDER, OURS])
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        whole, damaged = xxh3_128(), 0
        for part in self.parts():
            _go_on(cancel)
            data = self.read(part)
            whole.update(data)
            if xxh3_128(data).digest() != self._sum(part):
                _write(self._sums, memoryview(_NOT_THERE), part * _SUM)
                damaged += 1
            tell(sum(self.extent(part)))
        if damaged:
            raise OSError(errno.EIO, f"{damaged} parts of the copy, read back, are not what was fetched")
        return whole.digest()

    def stat(self) -> os.stat_result:
        return os.fstat(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        os.close(self._sums)


@contextlib.contextmanager
def _unless(*codes: int) -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        if cause.errno not in codes:
            raise


def _go_on(cancel: threading.Event) -> None:
    if cancel.is_set():
        raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))


def _write(fd: int, data: memoryview, offset: int) -> None:
    while data:
        done = os.pwrite(fd, data, offset)
        data, offset = data[done:], offset + done
