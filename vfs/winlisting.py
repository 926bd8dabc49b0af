"""What a folder held when Windows began to list it, in the order in which it goes on listing."""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from placement.windowsnames import shown
from vfs.attr import Attr
from vfs.filesystem import FileSystem
from vfs.winnames import WindowsNames, entries, joined
from vfs.winstatus import file_info


class WindowsListing:
    """The names in a folder as Windows is shown them, sorted.

    WinFsp asks again for each buffer that it fills, and names the last name it has got. To look for that in what the
    folder holds now would take ever longer, and fail if it is gone.
    """

    def __init__(self, filesystem: FileSystem, names: WindowsNames, folder: str) -> None:
        """OSError as `FileSystem.opendir`."""
        found: dict[str, Attr] = {}
        if folder:
            here = filesystem.stat(folder)
            found.update({".": here, "..": here})
        for name, attr in entries(filesystem, folder):
            found[shown(name)] = names.followed(joined(folder, name), attr)
        self._entries = sorted(found.items())
        self._names = [name for name, _ in self._entries]

    def after(self, marker: str | None) -> Iterator[dict[str, Any]]:
        """Each entry behind the name `marker`, None for all, as winfspy wants it."""
        begin = 0 if marker is None else bisect_right(self._names, marker)
        for index in range(begin, len(self._entries)):
            name, attr = self._entries[index]
            yield {"file_name": name, **file_info(attr)}
