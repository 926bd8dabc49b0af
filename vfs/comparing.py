"""Whether two files of two drives hold the same: by their sizes, by samples, or by every byte."""

import errno
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from placement import system as os
from placement.beneath import Root
from placement.copying import PIECE, Allowance

# "alike": of one size, and equal where looked at.
Same = Literal["identical", "alike", "different"]

_SAMPLE = 64 * 1024
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Stamp(NamedTuple):
    """By which a change of a file is noticed; times in ns."""

    device: int
    ino: int
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Compared(NamedTuple):
    """What was found, and of what: as long as both stamps are the same it is still so."""

    same: Same
    stamps: tuple[Stamp, Stamp]


def stamp(root: Root, path: str) -> Stamp:
    """The stamp of what stands at `path`, following no link; OSError."""
    with root.parent(path) as (dirfd, name):
        return _stamp(os.stat(name, dir_fd=dirfd, follow_symlinks=False))


def _stamp(st: os.stat_result) -> Stamp:
    return Stamp(st.st_dev, st.st_ino, st.st_mode, st.st_size, st.st_mtime_ns, st.st_ctime_ns)


def compare(one: Root, other: Root, path: str, allowance: Allowance, whole: bool) -> Compared:
    """Compare what stands at `path` below two roots; `whole`: every byte, brought to the disk before.

    OSError; ECANCELED by the allowance, EBUSY when one changed meanwhile.
    """
    stamps = stamp(one, path), stamp(other, path)
    kinds = {stat.S_IFMT(each.mode) for each in stamps}
    if kinds == {stat.S_IFLNK}:
        same: Same = "identical" if _text(one, path) == _text(other, path) else "different"
    elif kinds != {stat.S_IFREG} or stamps[0].size != stamps[1].size:
        same = "different"
    else:
        with _opened(one, path) as first, _opened(other, path) as second:
            if whole:
                # What is not on the disk yet could change without a trace, and must not be all there is.
                os.fsync(first)
                os.fsync(second)
            stamps = _stamp(os.fstat(first)), _stamp(os.fstat(second))
            same = _same_bytes(first, second, stamps[0].size, allowance, whole)
    if (stamp(one, path), stamp(other, path)) != stamps:
        raise OSError(errno.EBUSY, "it changed while it was compared", path)
    return Compared(same, stamps)


def _same_bytes(first: int, second: int, size: int, allowance: Allowance, whole: bool) -> Same:
    for offset, length in _all(size) if whole else _samples(size):
        allowance.spend(2 * length)
        if os.pread(first, length, offset) != os.pread(second, length, offset):
            return "different"
    return "identical" if whole else "alike"


def _all(size: int) -> Iterator[tuple[int, int]]:
    return ((offset, min(PIECE, size - offset)) for offset in range(0, size, PIECE))


def _samples(size: int) -> Iterator[tuple[int, int]]:
    """The head, the middle and the tail."""
    for offset in sorted({0, max(0, size // 2), max(0, size - _SAMPLE)}):
        yield offset, min(_SAMPLE, size - offset)


@contextmanager
def _opened(root: Root, path: str) -> Iterator[int]:
    with root.parent(path) as (dirfd, name):
        try:
            fd = os.open(name, _LOOK | os.O_NOATIME, dir_fd=dirfd)
        except PermissionError:
            # Somebody else's file.
            fd = os.open(name, _LOOK, dir_fd=dirfd)
    try:
        yield fd
    finally:
        os.close(fd)


def _text(root: Root, path: str) -> str:
    with root.parent(path) as (dirfd, name):
        return os.readlink(name, dir_fd=dirfd)
