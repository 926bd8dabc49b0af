"""The nodes of the remote tree in memory: directories, and remote files that may have several names."""

from vfs.attr import BLOCK, Attr
from vfs.library import Key


class Node:
    """What directories and remote files have in common; times in ns."""

    __slots__ = ("atime_ns", "ctime_ns", "gid", "ino", "mode", "mtime_ns", "uid", "xattrs")

    def __init__(self, ino: int, mode: int, uid: int, gid: int, times: tuple[int, int, int]) -> None:
        self.ino = ino
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.atime_ns, self.mtime_ns, self.ctime_ns = times
        self.xattrs: dict[str, bytes] | None = None

    def attr(self) -> Attr:
        raise AssertionError("a node is a directory or a file")


class RemoteFile(Node):
    """One remote file; `nlink` counts its names, `size` its bytes."""

    __slots__ = ("key", "nlink", "size")

    def __init__(
        self, ino: int, mode: int, uid: int, gid: int, times: tuple[int, int, int], size: int, key: Key
    ) -> None:
        super().__init__(ino, mode, uid, gid, times)
        self.size = size
        self.key = key
        self.nlink = 0

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
        self._count(node, 1)
        if replaced is not None:
            self._count(replaced, -1)

    def detach(self, name: str) -> None:
        """Take the name away if it is there."""
        node = self.children.pop(name, None)
        if node is not None:
            self._count(node, -1)

    def _count(self, node: Node, change: int) -> None:
        if isinstance(node, Directory):
            self.subdirectories += change
        elif isinstance(node, RemoteFile):
            node.nlink += change
