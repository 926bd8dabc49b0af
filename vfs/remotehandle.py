"""An open remote file: its bytes from the provider through the reader, or from a local copy once there is one.

Lock order: `_gate` comes after the lock of `Passthrough`, and before the gate of the copy.
"""

import errno
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from placement import system as os
from vfs.attr import Attr
from vfs.branch import Handle, error
from vfs.localhandle import LocalHandle
from vfs.nodes import RemoteFile
from vfs.reader import RemoteReader

if TYPE_CHECKING:
    from vfs.remote import RemoteBranch

T = TypeVar("T")

log = logging.getLogger(__name__)

# The kernel asks at once a second time, for the one page it needs, when its read-ahead has failed. That read shall not
# wait as long again: within so many seconds of a failure that took longer than this, it fails like the first.
_PATIENCE = 1.0


class RemoteHandle(Handle):
    """One open remote file, which may get a local copy, or become an ordinary local file, while it is open."""

    def __init__(self, branch: "RemoteBranch", node: RemoteFile, reader: RemoteReader) -> None:
        self.ino = node.ino
        self.immutable, self.content = True, node.key
        self._branch = branch
        self._node = node
        self._reader = reader
        self._failed = (0, 0, 0.0)  # bytes [begin, end) that were waited for in vain, and until when that counts
        self._gate = threading.Lock()
        self._copy: LocalHandle | None = None
        self._twin = False  # the copy is that of another file with the same bytes
        self._given_up = False  # the copy could not be read
        self._local: LocalHandle | None = None  # the copy, once it is an ordinary file
        self._closed = False

    @property
    def served(self) -> tuple[int, int]:
        """Bytes that were read of this file, by all that have it open: from the disk cache, from the provider."""
        return self._reader.file.from_cache, self._reader.file.from_provider

    # The local copy.

    @property
    def has_copy(self) -> bool:
        """Whether it reads, or once read, from a local copy."""
        return self._copy is not None

    def use(self, copy: LocalHandle, twin: bool = False) -> bool:
        """Read from this copy from now on, and close it in the end; False, and nothing is done, if there is no need.

        `twin`: it is the copy of another file with the same bytes.
        """
        with self._gate:
            if self._copy is not None or self._closed:
                return False
            self._copy, self._twin = copy, twin
            return True

    def become_local(self, path: str) -> None:
        """The copy is an ordinary file from now on, called `path` for one: all goes to it."""
        with self._gate:
            if self._copy is not None and not self._closed and not self._twin:
                self._copy.named(path)
                self._local, self.immutable = self._copy, False

    @property
    def file(self) -> object:
        copy = self._usable()
        return self if copy is None else copy.file

    def fix(self, give: Callable[[int], int]) -> int:
        with self._gate:
            copy = self._usable()
            return 0 if copy is None or self._closed else copy.fix(give)

    def _usable(self) -> LocalHandle | None:
        return None if self._given_up else self._copy

    def _from_copy(self, buffer: memoryview, offset: int) -> int | None:
        """As `read_into`, from the copy; None if the provider has to be asked."""
        copy = self._usable()
        if copy is None:
            return None
        if self._local is not None:
            return copy.read_into(buffer, offset)
        try:
            count = copy.read_into(buffer, offset)
        except OSError as cause:
            problem = cause.strerror or "it cannot be read"
        else:
            if count == max(0, min(len(buffer), self._node.size - offset)):
                return count
            problem = "it ended early"
        self._given_up = True
        log.warning("the pinned copy of file %d fails (%s); the provider is asked", self.ino, problem)
        return None

    # Reading.

    def read(self, size: int, offset: int) -> bytes:
        if self._copy is None:
            try:
                return self._asked(lambda: self._reader.read(size, offset), size, offset)
            except OSError:
                if not self._has_twin():
                    raise
        buffer = memoryview(bytearray(size))
        return bytes(buffer[: self.read_into(buffer, offset)])

    def read_into(self, buffer: memoryview, offset: int) -> int:
        count = self._from_copy(buffer, offset)
        if count is not None:
            return count
        try:
            return self._asked(lambda: self._reader.read_into(buffer, offset), len(buffer), offset)
        except OSError:
            if not self._has_twin():
                raise
        return self.read_into(buffer, offset)

    def _has_twin(self) -> bool:
        """After the provider failed: whether a copy was found that was not there before.

        Also for what may pass: the bytes are the same, and nobody has to wait for them.
        """
        return self._copy is None and self._branch.use_twin(self._node, self)

    def _asked(self, ask: Callable[[], T], size: int, offset: int) -> T:
        """What `ask` brings from the provider; EIO for whatever goes wrong, at once where it just took long to."""
        begun = time.monotonic()
        begin, end, until = self._failed
        if begun < until and begin <= offset < end:
            raise error(errno.EIO)
        try:
            self._branch.reading(self._node.key, offset, size)
            return ask()
        except OSError as cause:
            if (now := time.monotonic()) > begun + _PATIENCE:
                self._failed = (offset, offset + size, now + _PATIENCE)
            # Programs know what an input/output error is; a time-out or "try again" of a disk they do not expect.
            raise OSError(errno.EIO, cause.strerror) from cause

    def seek(self, offset: int, whence: int) -> int:
        if self._local is not None:
            return self._local.seek(offset, whence)
        if offset >= self._node.size:
            raise error(errno.ENXIO)
        return offset if whence == os.SEEK_DATA else self._node.size

    # Attributes.

    def stat(self) -> Attr:
        return self._node.attr() if self._local is None else self._local.stat()

    def chmod(self, mode: int) -> None:
        if self._local is not None:
            return self._local.chmod(mode)
        return self._branch.names.set_mode(self._node, mode)

    def chown(self, uid: int, gid: int) -> None:
        if self._local is not None:
            return self._local.chown(uid, gid)
        return self._branch.names.set_owner(self._node, uid, gid)

    def utime(self, atime_ns: int, mtime_ns: int) -> None:
        if self._local is not None:
            return self._local.utime(atime_ns, mtime_ns)
        return self._branch.names.set_times(self._node, atime_ns, mtime_ns)

    def fsync(self, data_only: bool) -> None:
        if self._local is not None:
            return self._local.fsync(data_only)
        return self._branch.names.barrier()

    def close(self) -> None:
        self._reader.close()
        with self._gate:
            self._closed = True
            if self._copy is not None:
                self._copy.close()
        self._branch.closed(self._node, self)
