"""Which open files the kernel reads from their drive by itself, without asking us: *passthrough*.

The kernel wants one answer for each of its inodes, which libfuse has one of for each path: the first open decides, and
all others follow until the last is closed. So the rules (measured facts 6 and 12 in docs/design.md):

* While its drive has plenty of room, or who opens it first only reads, the kernel gets the file itself; then it is not
  moved to another drive before all are closed.
* Who opens it for writing later, with less room, does so past the kernel's cache, and its writes reach us.
* A writer first and little room: everything goes through us, and the file moves to another drive when its own is full.

A file with several names is never written to by the kernel alone: we would not know when to have the kernel forget the
attributes it holds of its other names.
"""

import logging
import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol

from vfs.branch import Handle

log = logging.getLogger(__name__)


class Kernel(Protocol):
    """What a mount offers that can do passthrough; `vfs.fuse` has one."""

    def open(self, fd: int) -> int:
        """The kernel's number, above 0, for the file behind `fd`. OSError."""
        ...

    def close(self, number: int) -> None:
        """The kernel may forget the number."""
        ...


class Way(NamedTuple):
    """How the kernel shall treat an open file: `backing` is 0 or its number of the file it reads and writes itself.

    `direct`: with a backing, reads and writes come to us all the same; only mappings go to the file.
    """

    backing: int = 0
    direct: bool = False


ASK_US = Way()


class _Node:
    """One inode of the kernel: a path with open handles. `file` is what tells its bytes from others."""

    __slots__ = ("backing", "file", "opens", "path")

    def __init__(self, path: str, backing: int, file: object) -> None:
        self.path = path
        self.backing = backing
        self.file = file
        self.opens = 0


class Passthrough:
    """Decides for each open. Thread-safe; `_lock` comes before the gates of handles."""

    def __init__(self, room: int) -> None:
        """`room`: bytes that a drive must have left for a file on it to be written to by the kernel itself."""
        self._room = room
        self._lock = threading.Lock()
        self._kernel: Kernel | None = None
        self._nodes: dict[str, _Node] = {}
        self._of: dict[int, _Node] = {}
        self.refusal = "not mounted"
        """Why nothing is passed through; "" while it is."""

    def offer(self, kernel: Kernel | None, refusal: str = "") -> None:
        """The mount can do it, or cannot and says why."""
        self._kernel, self.refusal = kernel, refusal

    def opened(self, fh: int, path: str, handle: Handle, writes: bool) -> Way:
        """How the new handle number `fh` of `path` is to be opened."""
        if self._kernel is None:
            return ASK_US
        with self._lock:
            node = self._nodes.get(path)
            if node is None:
                backing = 0 if writes and not self._may_write(handle) else self._try(handle)
                node = self._nodes[path] = _Node(path, backing, handle.file)
            elif node.backing and handle.file == node.file:
                handle.fix(lambda fd: node.backing)
            node.opens += 1
            self._of[fh] = node
            # Somebody may have replaced the file past the tree: the kernel must not show the old one's bytes.
            if not node.backing:
                return ASK_US
            return Way(node.backing, handle.file != node.file or (writes and not self._may_write(handle)))

    def _may_write(self, handle: Handle) -> bool:
        try:
            return handle.room() >= self._room and handle.stat().nlink == 1
        except OSError:
            return False

    def _try(self, handle: Handle) -> int:
        assert self._kernel is not None
        try:
            return handle.fix(self._kernel.open)
        except PermissionError as cause:
            self.refusal = f"the kernel does not allow it ({cause.strerror}): it needs root (CAP_SYS_ADMIN)"
            log.warning("no passthrough: %s", self.refusal)
            self._kernel = None
        except OSError as cause:
            # Of a filesystem that is itself stacked, for one.
            log.debug("no passthrough for one file: %s", cause)
        return 0

    def is_passed(self, fh: int) -> bool:
        """Whether the kernel reads this open file by itself."""
        node = self._of.get(fh)
        return node is not None and bool(node.backing)

    def closed(self, fh: int) -> None:
        """The handle is released."""
        with self._lock:
            node = self._of.pop(fh, None)
            if node is None:
                return
            node.opens -= 1
            if node.opens:
                return
            if self._nodes.get(node.path) is node:
                del self._nodes[node.path]
            if node.backing and self._kernel is not None:
                self._kernel.close(node.backing)

    def renamed(self, new_path: Callable[[str], str]) -> None:
        """Names changed: `new_path` says what each path is called now."""
        if not self._nodes:
            return
        with self._lock:
            self._nodes = {}
            for node in set(self._of.values()):
                node.path = new_path(node.path)
                self._nodes[node.path] = node
