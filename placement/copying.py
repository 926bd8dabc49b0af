"""The content of one regular file: copied with its holes, and read back to compare.

Both directions go in pieces, between which the work can be slowed down and cancelled. Content is summed up
by xxh3-128 of the bytes as read(2) gives them, so a hole and zeros on the disk count the same: the target
may well have blocks of another size.
"""

import errno
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from xxhash import xxh3_128

from placement import system as os
from placement.extents import reserved, runs

# Bytes handled at a time: cancelling waits for one piece at most.
PIECE = 1 << 20
_ZEROS = memoryview(bytes(PIECE))
# What copy_file_range(2) answers where it cannot copy between these two files, though write(2) can.
_NOT_BY_KERNEL = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF)

# Hears how many bytes, counted from the start of the file, are done.
Tell = Callable[[int], None]


class ChangedError(OSError):
    """The source changed while it was copied; errno EBUSY."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.EBUSY, "it changed while it was copied", path)


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds: its size in bytes and the xxh3-128 of them."""

    size: int
    digest: bytes


class Allowance:
    """Permission to go on: at most `rate` bytes a second (None: any), until `cancel` is set."""

    def __init__(self, rate: int | None = None, cancel: threading.Event | None = None) -> None:
        self._rate = rate
        self._cancel = cancel or threading.Event()
        self._due = 0.0

    def in_a_hurry(self) -> "Allowance":
        """The same without a rate."""
        return Allowance(None, self._cancel)

    def spend(self, count: int = 0) -> None:
        """Account for `count` bytes and wait until they are due. OSError ECANCELED, also while waiting."""
        delay = 0.0
        if self._rate:
            now = time.monotonic()
            # Time that passed unused is not saved up: a pause is not followed by a burst.
            self._due = max(self._due, now) + count / self._rate
            delay = self._due - now
        if self._cancel.wait(delay) if delay else self._cancel.is_set():
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))


def copy_content(source: int, target: int, allowance: Allowance, tell: Tell) -> Content:
    """Make `target` (open for reading and writing) hold what `source` holds; holes stay holes.

    Space that was allocated ahead of the content stays allocated. OSError of the calls, ECANCELED,
    and `ChangedError` if the source became shorter.
    """
    found = os.fstat(source)
    os.ftruncate(target, 0)
    os.ftruncate(target, found.st_size)
    for start, end in reserved(source, found.st_size):
        os.posix_fallocate(target, start, end - start)
    copier = _Copier(source, target)
    hashed = xxh3_128()
    for offset, length, holds_data in _pieces(source, found.st_size):
        hashed.update(copier.copy(offset, length) if holds_data else _ZEROS[:length])
        # A hole costs the drives nothing.
        allowance.spend(length if holds_data else 0)
        tell(offset + length)
    return Content(found.st_size, hashed.digest())


def read_content(fd: int, allowance: Allowance, tell: Tell) -> Content:
    """What the file holds according to the drive: its clean pages are dropped from memory first.

    Sync before, dirty pages stay. OSError as for `copy_content`.
    """
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    size = os.fstat(fd).st_size
    hashed = xxh3_128()
    buffer = memoryview(bytearray(PIECE))
    for offset, length, holds_data in _pieces(fd, size):
        hashed.update(_read(fd, buffer[:length], offset) if holds_data else _ZEROS[:length])
        allowance.spend(length if holds_data else 0)
        tell(offset + length)
    return Content(size, hashed.digest())


class _Copier:
    """Copies pieces, by the kernel for as long as that works."""

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target
        self._by_kernel = hasattr(os, "copy_file_range")
        self._buffer = memoryview(bytearray(PIECE))

    def copy(self, offset: int, length: int) -> memoryview:
        """Copy one piece; its bytes as the source has them."""
        done = self._by_kernel and self._copy_by_kernel(offset, length)
        data = _read(self._source, self._buffer[:length], offset)
        if not done:
            _write(self._target, data, offset)
        return data

    def _copy_by_kernel(self, offset: int, length: int) -> bool:
        """Whether the kernel copied all of it: then blocks may be shared, or a server may have done it."""
        end = offset + length
        while offset < end:
            try:
                count = os.copy_file_range(self._source, self._target, end - offset, offset, offset)
            except OSError as error:
                if error.errno not in _NOT_BY_KERNEL:
                    raise
                count = 0
            if not count:
                # Some filesystems answer 0 where they hold data; write(2) is right everywhere.
                self._by_kernel = False
                return False
            offset += count
        return True


def _read(fd: int, into: memoryview, offset: int) -> memoryview:
    done = 0
    while done < len(into):
        count = os.preadv(fd, [into[done:]], offset + done)
        if not count:
            raise ChangedError(f"/proc/self/fd/{fd}")
        done += count
    return into


def _write(fd: int, data: memoryview, offset: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], offset + done)


def _pieces(fd: int, size: int) -> Iterator[tuple[int, int, bool]]:
    """Offset, length up to PIECE and whether it is data, for all of the file in order."""
    for start, end, holds_data in runs(fd, size):
        for offset in range(start, end, PIECE):
            yield offset, min(PIECE, end - offset), holds_data
