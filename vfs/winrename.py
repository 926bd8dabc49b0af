"""Renaming as Windows understands it: by names in any case, and replacing only where that is asked for."""

import errno
import uuid

from placement.windowsnames import folded
from vfs.branch import error
from vfs.filesystem import FileSystem
from vfs.renaming import RENAME_NOREPLACE
from vfs.winnames import Found, WindowsNames


class WindowsRename:
    """Renames in the tree, for paths of Windows."""

    def __init__(self, filesystem: FileSystem, names: WindowsNames) -> None:
        self._fs = filesystem
        self._names = names

    def rename(self, source: str, new: str, replace: bool) -> str:
        r"""Rename `source` of the tree to `\folder\name`; its path in the tree then.

        EEXIST if there is another file by that name and it shall not be replaced, EACCES if there is a folder.
        """
        target, there = self._names.place(new)
        if there is None:
            self._fs.rename(source, target, RENAME_NOREPLACE)
        elif there.name == source:
            self._fs.rename(source, target, 0)
        elif there.name == target and self._is_itself(source, target):
            self._by_another_name(source, target)
        else:
            self._must_give_way(there, replace)
            self._fs.rename(source, there.name, 0)
            if there.name != target:
                # It was replaced in one step; now it is only spelt otherwise.
                self._fs.rename(there.name, target, RENAME_NOREPLACE)
        return target

    def _must_give_way(self, there: Found, replace: bool) -> None:
        if not replace:
            raise error(errno.EEXIST, there.name)
        if there.attr.is_dir:
            raise error(errno.EACCES, there.name)

    def _is_itself(self, source: str, target: str) -> bool:
        """Whether the drive takes both spellings for one name, as drives of Windows do."""
        if folded(source) != folded(target):
            return False
        first, second = self._fs.stat(source), self._fs.stat(target)
        return first.ino == second.ino and (first.is_dir or first.nlink == 1)

    def _by_another_name(self, source: str, target: str) -> None:
        """Where two spellings are one name, a rename from one to the other does nothing."""
        between = f"{target.rpartition('/')[0]}/.mediapool-{uuid.uuid4().hex}".lstrip("/")
        self._fs.rename(source, between, RENAME_NOREPLACE)
        self._fs.rename(between, target, RENAME_NOREPLACE)
