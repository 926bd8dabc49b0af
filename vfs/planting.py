"""Planting a publication into the remote tree: all its folders and files in one transaction, visible at once."""

import errno
import stat
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from vfs.branch import error
from vfs.library import Key
from vfs.names import Change, Names, insert_name, insert_node, new_directory
from vfs.nodes import Directory, RemoteFile

PROVIDER = "realdebrid"


class NewFile(NamedTuple):
    """A file to publish: its safe path below the published folder, content, size in bytes, time in ns.

    `original` is the path as the provider gave it.
    """

    path: tuple[str, ...]
    key: Key
    size: int
    mtime_ns: int
    original: bytes


class Owner(NamedTuple):
    """Who owns newly published files and folders, and the mode bits they do not get."""

    uid: int
    gid: int
    umask: int


def plant(
    names: Names,
    addition: str,
    parent: str,
    name: str,
    files: Iterable[NewFile],
    owner: Owner,
    *,
    single: bool = False,
    also: Iterable[str] = (),
) -> list[RemoteFile]:
    """Make directory `parent`/`name` with these files appear at once; remember that `addition` was published.

    `single`: there is one file, and it gets that name itself; `also`: more additions that count as published by this.
    EEXIST if that name is taken. Content that is in the tree already gets one more name; returned are the files
    that have one for the first time.
    """
    with names.changing() as change:
        above = names.directory(parent)
        if name in above.children:
            raise error(errno.EEXIST, f"{parent}/{name}")
        planter = _Planter(names, change, owner)
        top = planter.only(files) if single else planter.tree(files)
        insert_name(change, above, name, top)
        change.touch(above, content=True)
        for each in (addition, *also):
            names.note_published(change, each, f"{parent}/{name}")
        made = list(planter.made.values())
        change.then(lambda: names.adopt(made))
        if isinstance(top, Directory):
            change.then(partial(_count_names, top))
        change.then(lambda: above.attach(name, top))
    return made


def make_directories(names: Names, path: str, owner: Owner) -> None:
    """As mkdir -p; EEXIST if a file stands in the way."""
    done = ""
    for part in path.split("/"):
        done = f"{done}/{part}".lstrip("/")
        if names.find(done) is None:
            # Poller and download client may both be about to make it.
            with suppress(FileExistsError):
                names.mkdir(done, 0o777 & ~owner.umask, owner.uid, owner.gid)
        if isinstance(names.find(done), RemoteFile):
            raise error(errno.EEXIST, done)


class _Planter:
    """Builds a subtree in memory and in the open transaction; nobody sees it yet."""

    def __init__(self, names: Names, change: Change, owner: Owner) -> None:
        self._names = names
        self._change = change
        self._owner = owner
        self.made: dict[Key, RemoteFile] = {}

    def folder(self) -> Directory:
        owner = self._owner
        return new_directory(self._change, 0o777 & ~owner.umask, owner.uid, owner.gid)

    def tree(self, files: Iterable[NewFile]) -> Directory:
        top = self.folder()
        for new in files:
            self._add(top, new)
        return top

    def only(self, files: Iterable[NewFile]) -> RemoteFile:
        (new,) = files
        return self._file(new)

    def _add(self, top: Directory, new: NewFile) -> None:
        folder = top
        for part in new.path[:-1]:
            below = folder.children.get(part)
            if below is None:
                below = self.folder()
                insert_name(self._change, folder, part, below)
                folder.attach(part, below)
            assert isinstance(below, Directory), "paths were checked for clashes before"
            folder = below
        file = self._file(new)
        insert_name(self._change, folder, new.path[-1], file)
        # Not by `attach`: an old file must not count a name that may still be undone.
        folder.children[new.path[-1]] = file

    def _file(self, new: NewFile) -> RemoteFile:
        known = self._names.file_of(new.key) or self.made.get(new.key)
        if known is not None:
            self._change.touch(known)
            return known
        times = (new.mtime_ns, new.mtime_ns, self._change.now)
        mode = stat.S_IFREG | 0o666 & ~self._owner.umask
        ino = insert_node(self._change, mode, self._owner.uid, self._owner.gid, new.size, times)
        row = (ino, PROVIDER, *new.key, new.original)
        self._change.db.execute("INSERT INTO content VALUES (?, ?, ?, ?, ?, ?)", row)
        file = RemoteFile(ino, mode, self._owner.uid, self._owner.gid, times, new.size, new.key)
        self.made[new.key] = file
        return file


def _count_names(directory: Directory) -> None:
    """Count the names of a subtree that was just committed."""
    for name, node in directory.children.items():
        if isinstance(node, Directory):
            _count_names(node)
        else:
            directory.count(name, node)
