"""What is shown of a file while it changes drives: the attributes it had before.

For a moment both drives have its names, and the copy one link more. And who looks through the drives one after the
other can look at the new one before the name is there and at the old one after it is gone; so whatever was looked
for while a move began or ended is looked for again.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from vfs.attr import Attr

# So many paths are remembered; what was found before the oldest of them counts as outdated.
_MOST = 10_000


class Still:
    """Files that are just changing drives. Thread-safe; the lock is a leaf, and looking takes none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, Attr] = {}
        self._folders: dict[str, int] = {}
        # Path of a file or of the folder around it -> number of the last begin or end of a move.
        self._changes: dict[str, int] = {}
        self._count = self._oldest = 0

    @contextmanager
    def hold(self, files: Mapping[str, Attr], folders: Mapping[str, int]) -> Iterator[None]:
        """Show these files with these attributes, and the folders above them with these inode numbers."""
        with self._lock:
            self._files |= files
            self._folders |= folders
            self._changed(files)
        try:
            yield
        finally:
            with self._lock:
                self._files = {path: attr for path, attr in self._files.items() if path not in files}
                self._folders = {path: ino for path, ino in self._folders.items() if path not in folders}
                self._changed(files)

    def _changed(self, files: Mapping[str, Attr]) -> None:
        self._count += 1
        if len(self._changes) > _MOST:
            self._changes = {}
            self._oldest = self._count
        for path in files:
            self._changes[path] = self._changes[path.rpartition("/")[0]] = self._count

    def mark(self) -> int:
        """The present; ask before looking, and `outdated` after it."""
        return self._count

    def outdated(self, mark: int, path: str) -> bool:
        """Whether a move of `path`, or of a name in it, began or ended since `mark`."""
        return mark != self._count and (mark < self._oldest or self._changes.get(path, 0) > mark)

    def shown(self, path: str, attr: Attr) -> Attr:
        """`attr`, found at `path`, as it is to be shown."""
        if not self._files:
            return attr
        if path in self._folders and attr.is_dir:
            return attr._replace(ino=self._folders[path])
        return self._files.get(path, attr)

    def shown_in(self, folder: str, entries: dict[str, Attr]) -> dict[str, Attr]:
        """The same for what is in a folder."""
        if not self._files:
            return entries
        prefix = f"{folder}/" if folder else ""
        return {name: self.shown(prefix + name, attr) for name, attr in entries.items()}
