"""The library as the move engine sees it: links are changed where a mounted tree would swap a file."""

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from placement.drive import Drive
from placement.library import Library
from placement.sources import Folder


class LibraryTree:
    """What `placement.moves.LiveTree` asks, answered by a library of links."""

    def __init__(self, library: Library, is_written: Callable[[Folder, int], bool]) -> None:
        self._library = library
        self._is_written = is_written
        # Where links to each file are, once that was asked; for putting files back.
        self._links: dict[str, list[str]] | None = None

    def names_of(self, drive: Drive, ino: int) -> Sequence[str] | None:
        """Unknown: the engine looks for them."""
        return None

    def freeze(self, drive: Drive, ino: int, paths: Sequence[str]) -> AbstractContextManager[None]:
        """Nobody can be kept out here, so look once more whether somebody writes; EBUSY."""
        if isinstance(drive, Folder) and self._is_written(drive, ino):
            raise OSError(errno.EBUSY, "it was opened for writing meanwhile")
        return contextlib.nullcontext()

    def swap(self, drive: Drive, ino: int, target: Drive, new_ino: int, paths: Sequence[str]) -> None:
        """Links to what goes to a drive are made, those to what goes back to a folder removed. OSError."""
        if isinstance(target, Folder):
            for path in paths:
                place = place_on(drive, path)
                for link in {path, *self._to(place)}:
                    self._library.unlink(link, place)
            return
        try:
            for path in paths:
                self._library.link(path, place_on(target, path), drive.require())
        except BaseException:
            for path in paths:
                with contextlib.suppress(OSError):
                    self._library.unlink(path, place_on(target, path))
            raise

    def _to(self, place: str) -> list[str]:
        """Links that somebody renamed still lead to the file."""
        if self._links is None:
            self._links = {}
            for link in self._library.links():
                self._links.setdefault(link.target, []).append(link.path)
        return self._links.get(place, [])


def place_on(drive: Drive, path: str) -> str:
    """Where links to `path` of the drive lead."""
    return os.path.join(drive.path, path)
