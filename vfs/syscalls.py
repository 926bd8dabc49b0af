"""The two system calls that Python does not offer in full: fallocate with a mode, utimensat with omitted times."""

import ctypes
import errno
import sys
import time
from typing import Any

from placement import system as os
from vfs.attr import NOW, OMIT

# Special values of tv_nsec in utimensat(2), from <sys/stat.h>.
UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2

_AT_FDCWD = -100


class _Timespec(ctypes.Structure):
    _fields_ = (("sec", ctypes.c_long), ("nsec", ctypes.c_long))


def _functions() -> tuple[Any, Any]:
    """fallocate(2) and utimensat(2) of the C library; on Windows there are none."""
    if sys.platform == "win32":
        return None, None
    libc = ctypes.CDLL(None, use_errno=True)
    allocate, set_times = libc.fallocate64 if hasattr(libc, "fallocate64") else libc.fallocate, libc.utimensat
    allocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    set_times.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_Timespec * 2), ctypes.c_int)
    return allocate, set_times


_fallocate, _utimensat = _functions()


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2) with the mode bits FALLOC_FL_*; OSError as that call."""
    if _fallocate is None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    _check(_fallocate(fd, mode, offset, length))


def _timespec(time_ns: int) -> _Timespec:
    if time_ns == NOW:
        return _Timespec(0, UTIME_NOW)
    if time_ns == OMIT:
        return _Timespec(0, UTIME_OMIT)
    return _Timespec(*divmod(time_ns, 10**9))


def time_from(seconds: int, nanoseconds: int) -> int:
    """A timespec as one number of ns; UTIME_NOW and UTIME_OMIT as `NOW` and `OMIT`."""
    if nanoseconds == UTIME_NOW:
        return NOW
    return OMIT if nanoseconds == UTIME_OMIT else seconds * 10**9 + nanoseconds


def utimens(path: str, atime_ns: int, mtime_ns: int) -> None:
    """Set both times of `path`, following a link at its end as the paths below /proc/self/fd are; OSError."""
    if _utimensat is None:
        found, now = os.stat(path), time.time_ns()
        old = (found.st_atime_ns, found.st_mtime_ns)
        wanted = ({NOW: now, OMIT: was}.get(new, new) for new, was in zip((atime_ns, mtime_ns), old, strict=True))
        os.utime(path, ns=(next(wanted), next(wanted)))
        return
    times = (_Timespec * 2)(_timespec(atime_ns), _timespec(mtime_ns))
    _check(_utimensat(_AT_FDCWD, os.fsencode(path), ctypes.byref(times), 0))
