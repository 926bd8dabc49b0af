"""Downloads of a client in the tree: shown where they are not finished, moved where they are, taken back.

Unlike what the poller publishes, a client's download always gets names of its own, also of content that has some
already. What is changed here is changed behind the kernel's back, which therefore has to forget it: a name that has
moved must not be found at its old place for `cache_seconds`.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

from vfs.attr import Attr
from vfs.filesystem import FileSystem
from vfs.lookup import parent_of
from vfs.names import Names
from vfs.nodes import Directory, RemoteFile
from vfs.planting import Owner, make_directories, plant
from vfs.publish import Offered, Taken, placed
from vfs.remote import RemoteBranch
from vfs.renaming import RENAME_NOREPLACE
from vfs.safenames import safe, safe_path, unclash
from vfs.union import Union


class Offering:
    """`debrid.downloads.ports.Tree` describes what is asked of it."""

    def __init__(self, union: Union, remote: RemoteBranch, filesystem: FileSystem, owner: Owner) -> None:
        self._union, self._filesystem, self._owner = union, filesystem, owner
        self._names: Names = remote.names

    def folder(self, *parts: str) -> str:
        """A folder of the tree, made if it is not there; a part may hold slashes. OSError."""
        path = "/".join(each for part in parts for each in safe_path(part))
        if not self._union.lookup.copies(path):
            make_directories(self._names, path, self._owner)
            self._forget([parent_of(path)])
        return path

    def show(self, additions: Sequence[str], folder: str, name: str, files: Sequence[Offered], single: bool) -> str:
        """Show the files below `folder`/`name`, or the one file (`single`) by that name; the path it got.

        All at once, and remembered as the publication of `additions`, of which the first is the download's own: what
        was shown of it below `folder` before, and is still there, is not shown again.
        """
        before = self._names.published_path(additions[0])
        if before is not None and parent_of(before) == folder and self._contents(before, files[0][1][1]):
            return before
        make_directories(self._names, folder, self._owner)
        while True:
            path = self.free(folder, name, additions[0])
            with self._union.locks(path):
                if self._union.lookup.copies(path):
                    continue  # somebody took the name between the look and the lock
                parent, _, last = path.rpartition("/")
                plant(
                    self._names,
                    additions[0],
                    parent,
                    last,
                    placed(files),
                    self._owner,
                    single=single,
                    also=additions[1:],
                )
                self._forget([parent])
                self._heard(path)
                return path

    def free(self, folder: str, name: str, owner: str) -> str:
        """A path in `folder` that nothing has: `name`, or that with a mark of its owner."""
        return f"{folder}/{unclash(safe(name), owner, Taken(self._union, folder))}"

    def move(self, source: str, target: str) -> bool:
        """One rename of a file or a folder with all that is in it; False if `source` is not there.

        OSError EEXIST if `target` is taken.
        """
        below = [path for path, _ in self._below(source)]
        folders = self._folders(source)
        try:
            self._filesystem.rename(source, target, RENAME_NOREPLACE)
        except FileNotFoundError:
            if self._union.lookup.copies(source):
                raise
            return False
        self._forget([*below, *folders, source, parent_of(source), parent_of(target)])
        self._heard(source, target)
        return True

    def contents(self, path: str, content: str) -> list[tuple[str, int]]:
        """The files of this content at or below `path`, with their sizes in bytes."""
        return [(found, node.size) for found, node in self._contents(path, content)]

    def unlinked(self, path: str, content: str, local: Collection[tuple[str, int]] = ()) -> list[str]:
        """Those of the files of this content at or below `path` that have no name anywhere else.

        `local`: names and sizes in bytes of files that became local ones, which count as well.
        """
        found = self._contents(path, content)
        inside: dict[int, int] = {}
        for _, node in found:
            inside[node.ino] = inside.get(node.ino, 0) + 1
        alone = [each for each, node in found if node.nlink <= inside[node.ino]]
        return alone + [each for each, attr in self._local(path, local) if attr.nlink < 2]

    def withdraw(self, path: str, content: str, local: Collection[tuple[str, int]] = ()) -> list[str]:
        """Take away the names of this content at or below `path`, and folders that are empty then; what was removed.

        No name anywhere else is touched, nor what others put there. `local`: names and sizes in bytes of files that
        became local ones, which go as well.
        """
        folders = self._folders(path)
        doomed = [found for found, _ in self._contents(path, content)]
        doomed += [found for found, _ in self._local(path, local)]
        removed = []
        for each in doomed:
            # Somebody else may be quicker.
            with suppress(FileNotFoundError):
                self._filesystem.unlink(each)
                removed.append(each)
        for folder in folders:
            with suppress(OSError):
                self._filesystem.rmdir(folder)
        self._forget([*removed, *folders, parent_of(path)])
        self._heard(*map(parent_of, removed))
        return removed

    def _contents(self, path: str, content: str) -> list[tuple[str, RemoteFile]]:
        return [(found, node) for found, node in self._below(path) if node.key[1] == content]

    def _below(self, path: str) -> list[tuple[str, RemoteFile]]:
        node = self._names.find(path) if path else None
        if isinstance(node, RemoteFile):
            return [(path, node)]
        return sorted(_files(path, node), key=lambda each: each[0]) if isinstance(node, Directory) else []

    def _folders(self, path: str) -> list[str]:
        """The remote folders at and below `path`, the deepest first."""
        node = self._names.find(path) if path else None
        return [*_folders(path, node)] if isinstance(node, Directory) else []

    def _local(self, path: str, wanted: Collection[tuple[str, int]]) -> Iterator[tuple[str, Attr]]:
        """The files on drives at or below `path` that have one of these names with its size."""
        if not path or not wanted:
            return
        try:
            attr = self._union.stat(path)
        except FileNotFoundError:
            return
        if attr.is_dir:
            for name, _ in list(self._union.folder(path).entries):
                yield from self._local(f"{path}/{name}", wanted)
        elif self._names.find(path) is None and (path.rpartition("/")[2], attr.size) in wanted:
            yield path, attr

    def _heard(self, *folders: str) -> None:
        self._filesystem.heard(*folders, unseen=True)

    def _forget(self, paths: Sequence[str]) -> None:
        self._filesystem.shown.forget(dict.fromkeys(paths))


def _files(path: str, folder: Directory) -> Iterator[tuple[str, RemoteFile]]:
    for name, node in folder.children.copy().items():
        if isinstance(node, RemoteFile):
            yield f"{path}/{name}", node
        elif isinstance(node, Directory):
            yield from _files(f"{path}/{name}", node)


def _folders(path: str, folder: Directory) -> Iterator[str]:
    for name, node in folder.children.copy().items():
        if isinstance(node, Directory):
            yield from _folders(f"{path}/{name}", node)
    yield path
