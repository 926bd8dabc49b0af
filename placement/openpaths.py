"""What a number of `placement.bypath` stands for: a path, and the drive below whose root it was opened."""

import contextlib
import errno
import itertools
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from placement import winfile
from placement.windowsnames import shown

FIRST = 1 << 30
numbers = itertools.count(FIRST)
_BY_PROC = re.compile(r"/proc/self/fd/(\d+)(?:/(.*))?", re.DOTALL)

Place = int | str | bytes | os.PathLike[str]


class OpenRoot:
    """A directory that was opened by its own path, such as a drive's: all that is opened below it goes with it."""

    __slots__ = ("_key", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._key = self._now()

    def _now(self) -> tuple[int, int]:
        found = os.stat(self._path)
        return found.st_dev, found.st_ino

    def must_be_there(self) -> None:
        """EIO if the path leads elsewhere by now, or nowhere: on Linux what is open could not be reached either."""
        try:
            if self._now() == self._key:
                return
        except OSError:
            pass
        raise error_of(errno.EIO, self._path)


class Opened(NamedTuple):
    """A path that stands for what was opened there, and the root it lies below."""

    path: str
    root: OpenRoot | None


# Number -> what is open. Single dictionary operations are atomic.
opened: dict[int, Opened] = {}


def where_is(place: Place, dir_fd: int | None = None) -> str:
    """The path that is meant."""
    return meant_by(place, dir_fd).path


def is_open_object(path: Place) -> bool:
    """Whether this is a path below /proc that leads to an open object itself."""
    found = _BY_PROC.fullmatch(path) if isinstance(path, str) else None
    return found is not None and found[2] is None


def meant_by(place: Place, dir_fd: int | None = None) -> Opened:
    """What is meant by a path, a number, or a path relative to the directory of that number."""
    if isinstance(place, int):
        return opened.get(place) or Opened(winfile.path_of(place), None)
    path = os.fsdecode(place)
    if dir_fd is not None:
        return _joined(meant_by(dir_fd), path)
    if found := _BY_PROC.fullmatch(path):
        return _joined(meant_by(int(found[1])), found[2] or "")
    return Opened(path, None)


def _joined(folder: Opened, rel: str) -> Opened:
    if rel in ("", "."):
        return folder
    parts = (winfile.name_on_disk(part, shown) for part in rel.split("/") if part)
    return folder._replace(path=os.path.join(folder.path, *parts))


@contextlib.contextmanager
def reaching(place: Place, dir_fd: int | None = None, new: bool = False) -> Iterator[str]:
    """The path that is meant, for a call. A drive that was pulled has no file less: then it is EIO.

    `new`: the call makes a name, which must not come to lie in the bare folder where a drive was mounted.
    """
    path, root = meant_by(place, dir_fd)
    if new and root is not None:
        root.must_be_there()
    try:
        yield path
    except OSError:
        # Windows has many words for a disk that is gone.
        if root is not None:
            root.must_be_there()
        raise


def error_of(code: int, path: str) -> OSError:
    """An OSError of this errno about `path`, ready to raise."""
    return OSError(code, os.strerror(code), path)
