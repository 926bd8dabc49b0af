"""Open files of a drive that lost a name, under the paths that libfuse gave them."""

import threading
from collections.abc import Callable

from placement import system as os
from vfs.branch import Moved
from vfs.known import KnownFiles
from vfs.localhandle import LocalHandle
from vfs.openfiles import OpenFiles


class HiddenFiles:
    """`paths`: path -> (st_ino, O_PATH descriptor), for looking up without a lock.

    `lock` guards changes; who hides a file holds it from the look whether it is open until `add`.
    """

    def __init__(self, drive_number: int, known: KnownFiles) -> None:
        self.paths: dict[str, tuple[int, int]] = {}
        self.lock = threading.Lock()
        self._number = drive_number
        self._known = known

    def hide(
        self, source: str, target: str, fd: int, unlink: Callable[[], None], open_files: OpenFiles[LocalHandle]
    ) -> bool:
        """`unlink` the name `source` of the file `fd` if it is open; then `target` stands for it. Takes over `fd`.

        Whether that was done.
        """
        keep = False
        try:
            with self.lock:
                ino = os.fstat(fd).st_ino
                if not open_files.was_open_lately(ino):
                    return False
                unlink()
                keep = open_files.is_open(ino)
                if keep:
                    self.add(target, ino, fd, source)
                return True
        finally:
            if not keep:
                os.close(fd)

    def add(self, path: str, ino: int, fd: int, name: str) -> None:
        """`path` stands for the open file `fd`, whose name was or is `name`. The lock is held."""
        # What is done to it from now on shows under the names that it still has.
        self._known.writing(self._number, name, ino)
        self.paths[path] = (ino, fd)

    def follow(self, moved: Moved) -> None:
        """Find them under the new path of the folder that was renamed."""
        if self.paths:
            with self.lock:
                self.paths = {moved.of(path): kept for path, kept in self.paths.items()}

    def forget(self, which: Callable[[str, int], bool]) -> None:
        """Close those for whose path and st_ino `which` says so."""
        with self.lock:
            gone = {path: kept for path, kept in self.paths.items() if which(path, kept[0])}
            self.paths = {path: kept for path, kept in self.paths.items() if path not in gone}
        for ino, fd in gone.values():
            self._known.written(self._number, ino)
            os.close(fd)

    def names(self, ino: int) -> list[str]:
        """The paths that stand for this st_ino."""
        return [path for path, (hidden, _) in list(self.paths.items()) if hidden == ino]
