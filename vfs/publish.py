"""How torrents come into the tree: hostile names made safe, clashes resolved, everything visible at once."""

import os
from collections.abc import Iterable, Sequence

from vfs.library import Key
from vfs.names import Names, NewFile, Owner
from vfs.safenames import safe, safe_path, unclash
from vfs.union import Union

# (raw inner path, content, size in bytes, time in ns) as the provider gives them; plain tuples, since the siblings
# `vfs` and `debrid` share no classes.
Offered = tuple[tuple[str, ...], Key, int, int]


class Publisher:
    """Publishes additions to the account into the tree; `debrid.torrents.Tree` describes what is asked of it."""

    def __init__(self, union: Union, names: Names, owner: Owner) -> None:
        self._union = union
        self._names = names
        self._owner = owner

    def published(self, addition: str) -> bool:
        """Whether this addition was ever published; polls never bring back what was removed since."""
        return self._names.was_published(addition)

    def publish(self, addition: str, folder: str, name: str, files: Sequence[Offered]) -> str:
        """Show `files` below `folder`/`name`, and return the path they got; nothing happens a second time.

        An occupied name is never shadowed: the newcomer gets a mark. An addition whose content has names in the
        tree already, such as the same torrent added twice, gets no second set of them. OSError (EIO, ENOSPC) when
        names.db cannot be written.
        """
        known = self._names.published_path(addition)
        if known is not None:
            return known
        if files and all(self._names.named_by(key) for _, key, _, _ in files):
            path = f"{folder}/{safe(name)}"
            self._names.note_published(addition, path)
            return path
        self._names.make_directories(folder, self._owner)
        while True:
            path = f"{folder}/{unclash(safe(name), addition, _Taken(self._union, folder))}"
            with self._union.locks(path):
                if self._union.copies(path):
                    continue  # somebody took the name between the look and the lock
                parent, _, last = path.rpartition("/")
                self._names.publish(addition, parent, last, _placed(files), self._owner)
                return path


class _Taken:
    """The names in a folder of the tree, asked one by one."""

    def __init__(self, union: Union, folder: str) -> None:
        self._union = union
        self._folder = folder

    def __contains__(self, name: object) -> bool:
        return bool(self._union.copies(f"{self._folder}/{name}"))


def _placed(files: Iterable[Offered]) -> list[NewFile]:
    """Safe paths for the files of one torrent, no two alike and none inside another file."""
    taken_files: set[tuple[str, ...]] = set()
    folders: set[tuple[str, ...]] = set()
    placed = []
    # Deepest first: a name that is a folder for one file cannot be a file itself.
    for raw, key, size, mtime_ns in sorted(files, key=lambda offered: -len(offered[0])):
        path = safe_path("/".join(raw)) or (safe(""),)
        above = path[:-1]
        while any(above[:depth] in taken_files for depth in range(1, len(above) + 1)):
            above = tuple(part + "%+" for part in above)
        occupied = {entry[-1] for entry in taken_files | folders if entry[:-1] == above}
        path = (*above, unclash(path[-1], "/".join(key), occupied))
        taken_files.add(path)
        folders.update(path[:depth] for depth in range(1, len(path)))
        placed.append(NewFile(path, key, size, mtime_ns, os.fsencode("/".join(raw))))
    return placed
