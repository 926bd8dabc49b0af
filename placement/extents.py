"""Where a file has data, where it has holes, and where space was only reserved for it."""

import errno
import struct
import sys
from collections.abc import Iterator

from placement import system as os

# FS_IOC_FIEMAP, its request and one extent of its answer, from <linux/fiemap.h>.
_FIEMAP = 0xC020660B
_REQUEST = struct.Struct("=QQIIII")
_EXTENT = struct.Struct("=QQQQQIIII")
_AT_ONCE = 128
_LAST = 0x1
_UNWRITTEN = 0x800
# Not known, not yet allocated, or inside the inode: there is no place on the device.
_NOWHERE = 0x2 | 0x4 | 0x200


def runs(fd: int, size: int) -> Iterator[tuple[int, int, bool]]:
    """Start, end and whether it is data of each run of data or hole below `size`, in order. OSError.

    Reserved space reads as zeros and counts as a hole.
    """
    offset = 0
    while offset < size:
        data = min(_seek(fd, offset, os.SEEK_DATA, size), size)
        if data > offset:
            yield offset, data, False
        if data < size:
            offset = min(_seek(fd, data, os.SEEK_HOLE, size), size)
            yield data, offset, True
        else:
            offset = size


def _seek(fd: int, offset: int, whence: int, size: int) -> int:
    try:
        return os.lseek(fd, offset, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole from there on
            return size
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):  # no such question here: all of it is data
            return offset if whence == os.SEEK_DATA else size
        raise


def reserved(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and end of each run below `size` whose space is allocated but was never written.

    Whoever reserved it was promised that writing there will not fail for want of space. Nothing where the
    filesystem cannot tell.
    """
    for start, end, flags in _extents(fd, size):
        if flags & _UNWRITTEN:
            yield start, min(end, size)


def first_byte(fd: int) -> int | None:
    """Where on its device the data of a file begins, in bytes; None for empty files, and where that is not told."""
    answer = _asked(fd, 0, 1 << 62, 1)
    if not answer or answer[0][5] & _NOWHERE:
        return None
    return int(answer[0][1])


def _extents(fd: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Start, end and flags of each allocated extent that begins below `size`."""
    offset = 0
    while offset < size:
        found = _extents_from(fd, offset, size)
        yield from found
        # An answer may be short without being the end, while the file is being written to the disk.
        if not found or found[-1][2] & _LAST:
            return
        offset = found[-1][1]


def _extents_from(fd: int, offset: int, size: int) -> list[tuple[int, int, int]]:
    return [(one[0], one[0] + one[2], one[5]) for one in _asked(fd, offset, size - offset, _AT_ONCE)]


def _asked(fd: int, offset: int, length: int, most: int) -> list[tuple[int, ...]]:
    """Logical and physical start, length, two reserved, and flags of extents; empty where the filesystem tells none."""
    if sys.platform == "win32":
        return []
    import fcntl

    answer = bytearray(_REQUEST.size + most * _EXTENT.size)
    _REQUEST.pack_into(answer, 0, offset, length, 0, 0, most, 0)
    try:
        fcntl.ioctl(fd, _FIEMAP, answer)
    except OSError:
        return []
    count = _REQUEST.unpack_from(answer)[3]
    return [_EXTENT.unpack_from(answer, _REQUEST.size + number * _EXTENT.size) for number in range(count)]
