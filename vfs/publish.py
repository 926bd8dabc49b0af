"""How torrents come into the tree: hostile names made safe, clashes resolved, everything visible at once."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from vfs.hearing import Heard, unheard
from vfs.library import Key
from vfs.lookup import parent_of
from vfs.names import Names
from vfs.nodes import Directory, Node, RemoteFile
from vfs.planting import NewFile, Owner, make_directories, plant
from vfs.remote import RemoteBranch
from vfs.safenames import safe, safe_path, unclash
from vfs.union import Union

# (raw inner path, content, size in bytes, time in ns) as the provider gives them; plain tuples, since the siblings
# `vfs` and `debrid` share no classes.
Offered = tuple[tuple[str, ...], Key, int, int]


class Publisher:
    """Publishes additions to the account into the tree; `debrid.torrents.Tree` describes what is asked of it."""

    def __init__(self, union: Union, remote: RemoteBranch, owner: Owner) -> None:
        self._union = union
        self._remote = remote
        self._names: Names = remote.names
        self._owner = owner
        self.heard: Heard = unheard

    def published(self, addition: str) -> bool:
        """Whether this addition was ever published; polls never bring back what was removed since."""
        return self._names.published_path(addition) is not None

    def publish(self, addition: str, folder: str, name: str, files: Sequence[Offered]) -> str:
        """Show `files` below `folder`/`name`, and return the path they got; nothing happens a second time.

        An occupied name is never shadowed: the newcomer gets a mark. An addition whose content has names in the
        tree already, such as the same torrent added twice, gets no second set of them. OSError (EIO, ENOSPC) when
        names.db cannot be written.
        """
        known = self._names.published_path(addition)
        if known is not None:
            return known
        if files and all(self._names.file_of(key) for _, key, _, _ in files):
            path = f"{folder}/{safe(name)}"
            with self._names.changing() as change:
                self._names.note_published(change, addition, path)
            return path
        make_directories(self._names, folder, self._owner)
        while True:
            path = f"{folder}/{unclash(safe(name), addition, Taken(self._union, folder))}"
            with self._union.locks(path):
                if self._union.lookup.copies(path):
                    continue  # somebody took the name between the look and the lock
                parent, _, last = path.rpartition("/")
                plant(self._names, addition, parent, last, placed(files), self._owner)
                self.heard(path, unseen=True)
                return path

    def stand_in(self, addition: str, other: str) -> None:
        """`addition` stands in for `other`: published where that was, if it was, with no names of its own."""
        path = self._names.published_path(other)
        if path is not None:
            with self._names.changing() as change:
                self._names.note_published(change, addition, path)

    def files_below(self, path: str) -> list[tuple[str, Key]]:
        """The remote files at or below `path`, by their names in order; ENOENT if no remote name is there."""
        return sorted(_files_below(path, self._names.get(path)))

    def named(self, info_hash: str) -> bool:
        """Whether any file of this torrent has a name in the tree."""
        return bool(self._names.files_of(info_hash))

    def names(self, info_hash: str) -> list[str]:
        """The paths of all names of all files of this torrent."""
        return sorted(self._names.paths_of(self._names.files_of(info_hash)))

    def names_of(self, info_hash: str, file_id: int) -> list[str]:
        """The paths of all names of one file of a torrent, or of those inside it; 0: of what all lie in."""
        files = self._names.files_of(info_hash)
        if file_id:
            files = [each for each in files if each.key[2].split("/")[0] == str(file_id)]
        return sorted(self._names.paths_of(files))

    def withdraw(self, info_hash: str) -> list[str]:
        """Take away all names of all files of this torrent, and folders that are empty then; the paths removed."""
        removed = []
        for path in self.names(info_hash):
            # Somebody else may be quicker.
            with suppress(FileNotFoundError), self._union.locks(path):
                self._remote.unlink(path)
                removed.append(path)
                self._remove_empty(parent_of(path))
        # The folder may be gone with its last name, and then the one above has changed as well.
        self.heard(*map(parent_of, removed), unseen=True)
        return removed

    def _remove_empty(self, folder: str) -> None:
        """Take away remote folders that hold nothing more, up to the ones that hold all publications."""
        while folder.count("/") > 1:
            try:
                self._names.rmdir(folder)
            except OSError:
                return
            folder = parent_of(folder)


def _files_below(path: str, node: Node) -> Iterator[tuple[str, Key]]:
    if isinstance(node, RemoteFile):
        yield path, node.key
    elif isinstance(node, Directory):
        for name, child in node.children.copy().items():
            yield from _files_below(f"{path}/{name}".lstrip("/"), child)


class Taken:
    """The names in a folder of the tree, asked one by one."""

    def __init__(self, union: Union, folder: str) -> None:
        self._union = union
        self._folder = folder

    def __contains__(self, name: object) -> bool:
        return bool(self._union.lookup.copies(f"{self._folder}/{name}"))


def placed(files: Iterable[Offered]) -> list[NewFile]:
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
