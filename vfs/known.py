"""`KnownFiles`: what the filesystem reports of a drive, and asks when the drive is missing.

Declared here, by the side that needs it; `indexer.known.KnownFiles` is one, wired in `cli/app.py`. `LastKnown` shows a
missing drive by it, and `Reported` tells it of a change.
"""

import errno
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from vfs.attr import Attr
from vfs.branch import error
from vfs.inodes import Inodes


class Known(Protocol):
    """What is known of one name, as lstat said it; `birth_ns` is None where that is not known."""

    @property
    def ino(self) -> int: ...
    @property
    def mode(self) -> int: ...
    @property
    def nlink(self) -> int: ...
    @property
    def uid(self) -> int: ...
    @property
    def gid(self) -> int: ...
    @property
    def rdev(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def blocks(self) -> int: ...
    @property
    def atime_ns(self) -> int: ...
    @property
    def mtime_ns(self) -> int: ...
    @property
    def ctime_ns(self) -> int: ...
    @property
    def birth_ns(self) -> int | None: ...


class KnownFiles(Protocol):
    """Last known names and attributes of all drives, by the drive's number and the path on it.

    Each change is reported before it is carried out, as soon as the drive has answered, and again after it, however
    it ended. Reporting never raises and never waits.
    """

    def changed(self, drive_number: int, path: str, file: bool = False) -> None:
        """The name `path` is being changed: made, removed, linked, its attributes or its content; of link(2), both
        names. `file`: it is surely no directory, before and after."""
        ...

    def renamed(self, drive_number: int, old: str, new: str) -> None:
        """`old` is being renamed to `new`, or exchanged with it, and all that is below them."""
        ...

    def writing(self, drive_number: int, path: str, ino: int) -> None:
        """From now on the file with this st_ino may be changed under whatever name, until `written` is called as
        often."""
        ...

    def written(self, drive_number: int, ino: int) -> None: ...

    def stat(self, drive_number: int, path: str) -> Known | None:
        """What is known of `path`; None if it is surely absent; OSError EIO where neither is known."""
        ...

    def entries(self, drive_number: int, path: str) -> Sequence[tuple[str, Known]] | None:
        """All names in directory `path`, None if not all are known; ENOENT and ENOTDIR where that is sure."""
        ...


class NothingKnown:
    """For a pool without a catalog: all that a missing drive holds is unknown."""

    def changed(self, drive_number: int, path: str, file: bool = False) -> None:
        return None

    def renamed(self, drive_number: int, old: str, new: str) -> None:
        return None

    def writing(self, drive_number: int, path: str, ino: int) -> None:
        return None

    def written(self, drive_number: int, ino: int) -> None:
        return None

    def stat(self, drive_number: int, path: str) -> Known | None:
        raise error(errno.EIO, path)

    def entries(self, drive_number: int, path: str) -> None:
        return None


class Reported:
    """Context manager around a change: says so by `tell(*about)` before and after."""

    __slots__ = ("_about", "_tell")

    def __init__(self, tell: Callable[..., None], *about: Any) -> None:
        self._tell = tell
        self._about = about

    def __enter__(self) -> None:
        self._tell(*self._about)

    def __exit__(self, *_: object) -> None:
        self._tell(*self._about)


class LastKnown:
    """A missing drive as it was: the same names, attributes and inode numbers."""

    def __init__(self, known: KnownFiles, number: int, inodes: Inodes) -> None:
        self._known = known
        self._number = number
        self._inodes = inodes

    def stat(self, path: str) -> Attr:
        """ENOENT only where `path` is surely absent, EIO where it is unknown."""
        known = self._known.stat(self._number, path)
        if known is None:
            raise error(errno.ENOENT, path)
        return self._attr(known)

    def entries(self, path: str) -> list[tuple[str, Attr]]:
        """The whole listing, or EIO; ENOENT and ENOTDIR where that is sure."""
        found = self._known.entries(self._number, path)
        if found is None:
            raise error(errno.EIO, path)
        return [(name, self._attr(known)) for name, known in found]

    def _attr(self, known: Known) -> Attr:
        return Attr(
            self._inodes.last_visible(self._number, known.ino, known.birth_ns),
            known.mode,
            known.nlink,
            known.uid,
            known.gid,
            known.rdev,
            known.size,
            known.blocks,
            known.atime_ns,
            known.mtime_ns,
            known.ctime_ns,
        )
