"""Bytes that lie in several places, read as if they were one."""

import errno
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from debrid.store import Segment


class Stream(Protocol):
    """Bytes in order, as `vfs.library.ByteStream`."""

    def readinto(self, buffer: memoryview) -> int: ...

    def close(self) -> None: ...


class JoinedStream:
    """Opens one piece after the other; one thread reads at a time, any thread may close.

    Raises OSError, as its pieces do.
    """

    def __init__(self, first: Stream, others: Sequence[Callable[[], Stream]]) -> None:
        self._lock = threading.Lock()
        self._current = first
        self._others = list(others)
        self._closed = False

    def readinto(self, buffer: memoryview) -> int:
        """As the pieces; 0 only after the last one's end."""
        while buffer:
            if count := self._current.readinto(buffer):
                return count
            if not self._others:
                break
            self._go_on(self._others.pop(0)())
        return 0

    def _go_on(self, opened: Stream) -> None:
        with self._lock:
            done, self._current, closed = self._current, opened, self._closed
        done.close()
        if closed:
            opened.close()
            raise OSError(errno.EIO, "ended by another thread")

    def close(self) -> None:
        """End the stream and a readinto that waits in another thread. May be repeated."""
        with self._lock:
            self._closed = True
            current = self._current
        current.close()


def cut(segments: Sequence[Segment], offset: int, length: int) -> list[Segment]:
    """Bytes [offset, offset + length) of what `segments` make together."""
    found, at = [], 0
    for segment in segments:
        start, stop = max(offset, at), min(offset + length, at + segment.length)
        if start < stop:
            found.append(Segment(segment.file, segment.start + start - at, stop - start))
        at += segment.length
    return found
