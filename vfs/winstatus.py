"""The one table of errno -> NTSTATUS, and what Windows calls attributes and times.

winfspy has a table too, but without half of the errnos that come up here; those it answers with a KeyError.
Numbers: "NTSTATUS Values" ([MS-ERREF] 2.3.1) and "File Attribute Constants", Microsoft Learn.
"""

import errno
import stat
from typing import Any

from vfs.attr import OMIT, Attr

SUCCESS = 0
OBJECT_NAME_INVALID = 0xC0000033
OBJECT_NAME_NOT_FOUND = 0xC0000034
OBJECT_NAME_COLLISION = 0xC0000035
ACCESS_DENIED = 0xC0000022
END_OF_FILE = 0xC0000011
NOT_SUPPORTED = 0xC00000BB
IO_DEVICE_ERROR = 0xC0000185

_STATUS = {
    errno.EPERM: ACCESS_DENIED,
    errno.ENOENT: OBJECT_NAME_NOT_FOUND,
    errno.EINTR: 0xC0000120,  # CANCELLED
    errno.EIO: IO_DEVICE_ERROR,
    errno.ENXIO: 0xC000000E,  # NO_SUCH_DEVICE
    errno.EBADF: 0xC0000008,  # INVALID_HANDLE
    errno.ENOMEM: 0xC000009A,  # INSUFFICIENT_RESOURCES
    errno.EAGAIN: 0xC000009A,
    errno.EACCES: ACCESS_DENIED,
    errno.EBUSY: 0xC0000043,  # SHARING_VIOLATION
    errno.EEXIST: OBJECT_NAME_COLLISION,
    errno.EXDEV: 0xC00000D4,  # NOT_SAME_DEVICE
    errno.ENODEV: 0xC000000E,
    errno.ENOTDIR: 0xC0000103,  # NOT_A_DIRECTORY
    errno.EISDIR: 0xC00000BA,  # FILE_IS_A_DIRECTORY
    errno.EINVAL: 0xC000000D,  # INVALID_PARAMETER
    errno.ENFILE: 0xC000011F,  # TOO_MANY_OPENED_FILES
    errno.EMFILE: 0xC000011F,
    errno.EFBIG: 0xC0000904,  # FILE_TOO_LARGE
    errno.ENOSPC: 0xC000007F,  # DISK_FULL
    errno.EDQUOT: 0xC0000044,  # QUOTA_EXCEEDED
    errno.EROFS: 0xC00000A2,  # MEDIA_WRITE_PROTECTED
    errno.EMLINK: 0xC0000265,  # TOO_MANY_LINKS
    errno.EILSEQ: OBJECT_NAME_INVALID,
    errno.ENAMETOOLONG: 0xC0000106,  # NAME_TOO_LONG
    errno.ENOTEMPTY: 0xC0000101,  # DIRECTORY_NOT_EMPTY
    errno.ELOOP: 0xC0000280,  # REPARSE_POINT_NOT_RESOLVED
    errno.ENOSYS: NOT_SUPPORTED,
    errno.EOPNOTSUPP: NOT_SUPPORTED,
    errno.ETIMEDOUT: 0xC00000B5,  # IO_TIMEOUT
    errno.ESTALE: 0xC0000056,  # DELETE_PENDING
}

READ_ONLY = 0x1
DIRECTORY = 0x10
ARCHIVE = 0x20
# Instead of attributes: leave them as they are.
UNCHANGED = 0xFFFFFFFF

ALLOCATION_UNIT = 4096  # bytes
# 1601, with which Windows begins to count, until 1970, in its unit of 100 ns.
_EPOCH = 116_444_736_000_000_000
_UNIT_NS = 100


def status_of(cause: OSError) -> int:
    """The NTSTATUS that says what `cause` says."""
    return _STATUS.get(cause.errno or errno.EIO, IO_DEVICE_ERROR)


def filetime(time_ns: int) -> int:
    """A time in ns since 1970 as Windows counts it; 0 for what is before 1601."""
    return max(0, time_ns // _UNIT_NS + _EPOCH)


def time_of(filetime: int) -> int:
    """A FILETIME as ns since 1970; `OMIT` for those that mean "leave it": 0, -1 and -2."""
    if filetime == 0 or filetime >= (1 << 64) - 2:
        return OMIT
    return (filetime - _EPOCH) * _UNIT_NS


def attributes(attr: Attr) -> int:
    """The file attributes that Windows is shown."""
    kind = DIRECTORY if attr.is_dir else ARCHIVE
    return kind if attr.mode & stat.S_IWUSR else kind | READ_ONLY


def file_info(attr: Attr) -> dict[str, Any]:
    """What winfspy wants to know of a file. Nothing in it changes with the time at which it is asked."""
    size = 0 if attr.is_dir else attr.size
    return {
        "file_attributes": attributes(attr),
        "allocation_size": -(-size // ALLOCATION_UNIT) * ALLOCATION_UNIT,
        "file_size": size,
        # The tree knows no time of birth.
        "creation_time": filetime(min(attr.mtime_ns, attr.ctime_ns)),
        "last_access_time": filetime(attr.atime_ns),
        "last_write_time": filetime(attr.mtime_ns),
        "change_time": filetime(attr.ctime_ns),
        "index_number": attr.ino,
    }
