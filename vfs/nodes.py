"""The nodes of the remote tree in memory: directories, and remote files that may have several names.

A node knows where it stands, so its paths are found without walking the tree. A hundred thousand of them have to fit
into memory, hence the slots, and a place of its own for the first name, which is mostly the only one.
"""

from vfs.attr import BLOCK, Attr
from vfs.library import Key
from vfs.namesdb import ROOT


class Node:
    """What directories and remote files have in common; times in ns."""

    __slots__ = ("above", "atime_ns", "ctime_ns", "gid", "ino", "mode", "mtime_ns", "name", "uid", "xattrs")

    def __init__(self, ino: int, mode: int, uid: int, gid: int, times: tuple[int, int, int]) -> None:
        self.ino = ino
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.atime_ns, self.mtime_ns, self.ctime_ns = times
        self.xattrs: dict[str, bytes] | None = None
        # The directory it stands in and its name there; None for the root, and for what has no name.
        self.above: Directory | None = None
        self.name = ""

    def joined(self, above: "Directory", name: str) -> None:
        """It stands there from now on."""
        self.above, self.name = above, name

    def left(self, above: "Directory", name: str) -> None:
        """It stands there no more; nothing happens if it has moved on already."""
        if self.above is above and self.name == name:
            self.above = None

    def attr(self) -> Attr:
        raise AssertionError("a node is a directory or a file")


class RemoteFile(Node):
    """One remote file; `size` counts its bytes, `others` are the places of its names but the first."""

    __slots__ = ("key", "others", "size")

    def __init__(
        self, ino: int, mode: int, uid: int, gid: int, times: tuple[int, int, int], size: int, key: Key
    ) -> None:
        super().__init__(ino, mode, uid, gid, times)
        self.size = size
        self.key = key
        self.others: tuple[tuple[Directory, str], ...] = ()

    @property
    def nlink(self) -> int:
        """How many names it has."""
        return (self.above is not None) + len(self.others)

    def places(self) -> "list[tuple[Directory, str]]":
        """Where it stands."""
        return [] if self.above is None else [(self.above, self.name), *self.others]

    def joined(self, above: "Directory", name: str) -> None:
        if self.above is None:
            super().joined(above, name)
        else:
            self.others += ((above, name),)

    def left(self, above: "Directory", name: str) -> None:
        if self.above is not above or self.name != name:
            index = self.others.index((above, name))
            self.others = self.others[:index] + self.others[index + 1 :]
        elif self.others:
            (self.above, self.name), self.others = self.others[0], self.others[1:]
        else:
            self.above = None

    def attr(self) -> Attr:
        blocks = -(-self.size // BLOCK)
        return Attr(
            self.ino, self.mode, self.nlink, self.uid, self.gid, 0, self.size, blocks,
            self.atime_ns, self.mtime_ns, self.ctime_ns,
        )  # fmt: skip


class Directory(Node):
    """One remote directory and the names in it."""

    __slots__ = ("children", "subdirectories")

    def __init__(self, ino: int, mode: int, uid: int, gid: int, times: tuple[int, int, int]) -> None:
        super().__init__(ino, mode, uid, gid, times)
        self.children: dict[str, Node] = {}
        self.subdirectories = 0

    def attr(self) -> Attr:
        return Attr(
            self.ino, self.mode, 2 + self.subdirectories, self.uid, self.gid, 0, 0, 0,
            self.atime_ns, self.mtime_ns, self.ctime_ns,
        )  # fmt: skip

    def attach(self, name: str, node: Node) -> None:
        """Put `node` under `name` in place of what is there, at no moment with nothing there; count what depends."""
        replaced = self.children.get(name)
        self.children[name] = node
        self.count(name, node)
        if replaced is not None:
            self._discount(name, replaced)

    def detach(self, name: str) -> None:
        """Take the name away if it is there."""
        node = self.children.pop(name, None)
        if node is not None:
            self._discount(name, node)

    def count(self, name: str, node: Node) -> None:
        """Note that `node`, which is among the children, stands here."""
        self.subdirectories += isinstance(node, Directory)
        node.joined(self, name)

    def _discount(self, name: str, node: Node) -> None:
        self.subdirectories -= isinstance(node, Directory)
        node.left(self, name)

    def path(self) -> str | None:
        """Its path, "" for the root; None if it, or a directory above it, was taken out of the tree."""
        parts: list[str] = []
        node = self
        while node.above is not None:
            parts.append(node.name)
            node = node.above
        return "/".join(reversed(parts)) if node.ino == ROOT else None


class Contents:
    """The remote files that have a name, by their content. Single steps are atomic; changed by one at a time."""

    def __init__(self) -> None:
        # Kind of content, then its id, then the part of it: the parts of a torrent are its files.
        self._kinds: dict[str, dict[str, dict[str, RemoteFile]]] = {}

    def __len__(self) -> int:
        return sum(len(parts) for ids in list(self._kinds.values()) for parts in list(ids.values()))

    def get(self, key: Key) -> RemoteFile | None:
        kind, ident, part = key
        return self._kinds.get(kind, {}).get(ident, {}).get(part)

    def of(self, kind: str, ident: str) -> list[RemoteFile]:
        """All parts of one content."""
        return list(self._kinds.get(kind, {}).get(ident, {}).values())

    def add(self, file: RemoteFile) -> None:
        kind, ident, part = file.key
        self._kinds.setdefault(kind, {}).setdefault(ident, {})[part] = file

    def remove(self, file: RemoteFile) -> None:
        kind, ident, part = file.key
        ids = self._kinds.get(kind, {})
        parts = ids.get(ident, {})
        parts.pop(part, None)
        if not parts:
            ids.pop(ident, None)
