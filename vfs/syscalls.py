"""The two system calls that Python does not offer in full: fallocate with a mode, utimensat with omitted times."""

import ctypes
import os

from vfs.attr import NOW, OMIT

# Special values of tv_nsec in utimensat(2), from <sys/stat.h>.
UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2

_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = _libc.fallocate64 if hasattr(_libc, "fallocate64") else _libc.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class _Timespec(ctypes.Structure):
    _fields_ = (("sec", ctypes.c_long), ("nsec", ctypes.c_long))


_utimensat = _libc.utimensat
_utimensat.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_Timespec * 2), ctypes.c_int)


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2) with the mode bits FALLOC_FL_*; OSError as that call."""
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
    times = (_Timespec * 2)(_timespec(atime_ns), _timespec(mtime_ns))
    _check(_utimensat(_AT_FDCWD, os.fsencode(path), ctypes.byref(times), 0))
