"""What is open, for whom, and how many bytes went through it: for people to watch, asked every some seconds.

Each handle counts its own bytes without a lock; here they are added up. What the kernel reads and writes by itself
(`Passthrough`) is not seen.
"""

import threading
from typing import Literal, NamedTuple

from vfs.branch import Handle
from vfs.handles import Handles
from vfs.library import Key
from vfs.localhandle import LocalHandle
from vfs.passthrough import Passthrough
from vfs.remotehandle import RemoteHandle

Source = Literal["drive", "copy", "remote"]


class Totals(NamedTuple):
    """Bytes since the start: read from drives, of pinned copies, of remote files; and written."""

    drives: int = 0
    copies: int = 0
    remote: int = 0
    written: int = 0


class OpenNow(NamedTuple):
    """An open file. `source`: a drive, called `drive`, the pinned copy of a remote file, or the provider and the cache.

    `pid` opened it `since` (s, monotonic). Bytes: `came` and `went` through this handle, `cached` and `fetched` of a
    remote file through all its handles, by where they came from. `passed`: the kernel reads it by itself.
    """

    fh: int
    path: str
    source: Source
    drive: str
    pid: int
    since: float
    came: int
    went: int
    cached: int
    fetched: int
    passed: bool
    content: Key | None


class Traffic:
    """Thread-safe; `_lock` is a leaf."""

    def __init__(self, handles: Handles, passthrough: Passthrough) -> None:
        self._handles, self._passthrough = handles, passthrough
        self._lock = threading.Lock()
        self._closed = Totals()

    def closing(self, fh: int) -> None:
        """The handle of this number is about to be closed; EBADF."""
        handle = self._handles.file(fh)
        with self._lock:
            self._closed = _sum(self._closed, _of(handle))
            handle.came = handle.went = 0

    def totals(self) -> Totals:
        """All bytes so far."""
        with self._lock:
            total = self._closed
            for _, _, handle in self._handles.files():
                total = _sum(total, _of(handle))
            return total

    def now(self) -> list[OpenNow]:
        """The files that are open."""
        return [self._open(fh, path, handle) for fh, path, handle in self._handles.files()]

    def _open(self, fh: int, path: str, handle: Handle) -> OpenNow:
        drive = handle.branch.drive.name if isinstance(handle, LocalHandle) else ""
        cached, fetched = handle.served if isinstance(handle, RemoteHandle) else (0, 0)
        return OpenNow(
            fh, path, _source(handle), drive, handle.pid, handle.since, handle.came, handle.went, cached, fetched,
            self._passthrough.is_passed(fh), handle.content,
        )  # fmt: skip


def _source(handle: Handle) -> Source:
    if isinstance(handle, RemoteHandle):
        return "copy" if handle.has_copy else "remote"
    return "drive"


def _of(handle: Handle) -> Totals:
    source = _source(handle)
    drive, copy, remote = (handle.came if source == each else 0 for each in ("drive", "copy", "remote"))
    return Totals(drive, copy, remote, handle.went)


def _sum(one: Totals, other: Totals) -> Totals:
    return Totals(*(left + right for left, right in zip(one, other, strict=True)))
