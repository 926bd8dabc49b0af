"""The table of what is open: numbers the kernel holds, and the handles they stand for."""

import errno
import itertools
from collections.abc import Callable
from typing import TypeVar

from vfs.branch import Handle, error
from vfs.folders import DirectoryHandle

H = TypeVar("H", bound=object)


class Handles:
    """Numbers for handles. Single dictionary operations are atomic, so no lock is needed."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[int, Handle | DirectoryHandle] = {}
        self._paths: dict[int, str] = {}

    def add(self, path: str, handle: Handle | DirectoryHandle) -> int:
        number = next(self._numbers)
        self._open[number] = handle
        self._paths[number] = path
        return number

    def path(self, number: int) -> str:
        """Where the file was opened, or was renamed to since."""
        return self._paths.get(number, "")

    def renamed(self, new_path: Callable[[str], str]) -> None:
        """Follow a rename of what is open, or of a folder above it: `new_path` says what each path is called now."""
        for number, path in list(self._paths.items()):
            self._paths[number] = new_path(path)

    def file(self, number: int) -> Handle:
        """The open file; EBADF if there is none of this number."""
        return self._of(number, Handle)

    def directory(self, number: int) -> DirectoryHandle:
        """The open directory; EBADF if there is none of this number."""
        return self._of(number, DirectoryHandle)

    def _of(self, number: int, kind: type[H]) -> H:
        handle = self._open.get(number)
        if not isinstance(handle, kind):
            raise error(errno.EBADF)
        return handle

    def files(self) -> list[tuple[int, str, Handle]]:
        """What files are open: number, path, handle."""
        found = list(self._open.items())
        return [(number, self.path(number), one) for number, one in found if isinstance(one, Handle)]

    def remove(self, number: int) -> None:
        """Forget the number and close its file."""
        handle = self._open.pop(number, None)
        self._paths.pop(number, None)
        if isinstance(handle, Handle):
            handle.close()

    def close_all(self) -> None:
        for number in list(self._open):
            self.remove(number)

    def __len__(self) -> int:
        return len(self._open)
