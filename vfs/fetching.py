"""Fetching what is missing of a local copy: several ranges at once, each in order, repeated after passing errors."""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from vfs.copyfile import CopyFile
from vfs.crashpoints import reach
from vfs.library import ByteStream, Key, RemoteLibrary

STREAMS = 4
# Parts of one response: a new one costs a round trip or two, and what is under way is lost in a crash.
_SPAN = 16
_PAUSES = (1.0, 2.0, 4.0)
"""Seconds between tries that brought nothing."""
# What the drive says, and not the provider: trying again does not help.
OF_THE_DRIVE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Fetch:
    """One file under way. `tell` hears how many more bytes have come."""

    def __init__(
        self, library: RemoteLibrary, key: Key, copy: CopyFile, cancel: threading.Event, tell: Callable[[int], None]
    ) -> None:
        """`cancel`, once set, ends it with ECANCELED, at the latest at the deadline of the library."""
        self._library, self._key, self._copy = library, key, copy
        self._cancel, self._tell = cancel, tell
        self._failed = threading.Event()

    def run(self, missing: Sequence[int]) -> None:
        """Fetch these parts. OSError: the first that stopped it; what came until then stays."""
        with ThreadPoolExecutor(STREAMS, thread_name_prefix="pin") as pool:
            spans = [pool.submit(self._persist, span) for span in _spans(missing)]
        for span in spans:
            if (cause := span.exception()) is not None and getattr(cause, "errno", 0) != errno.ECANCELED:
                raise cause
        self._go_on()

    def _go_on(self) -> None:
        if self._cancel.is_set() or self._failed.is_set():
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))

    def _persist(self, span: range) -> None:
        pauses = iter(_PAUSES)
        while span:
            self._go_on()
            done = 0
            try:
                for part in self._parts(span):
                    done += 1
                    reach("part fetched")
                    self._tell(self._copy.extent(part)[1])
            except OSError as cause:
                pauses = iter(_PAUSES) if done else pauses
                pause = next(pauses, None)
                if pause is None or cause.errno in OF_THE_DRIVE:
                    self._failed.set()
                    raise
                self._cancel.wait(pause)
            span = span[done:]

    def _parts(self, span: range) -> Iterator[int]:
        """Fetch and write these parts by one response, in order."""
        start, stop = self._copy.extent(span[0])[0], sum(self._copy.extent(span[-1]))
        buffer = memoryview(bytearray(self._copy.extent(span[0])[1]))
        with contextlib.closing(self._library.stream(self._key, start, stop - start)) as stream:
            for part in span:
                data = buffer[: self._copy.extent(part)[1]]
                self._fill(stream, data)
                self._copy.write(part, data)
                yield part

    def _fill(self, stream: ByteStream, data: memoryview) -> None:
        while data:
            self._go_on()
            count = stream.readinto(data)
            if not count:
                raise OSError(errno.EIO, "the provider's bytes ended early")
            data = data[count:]


def _spans(parts: Sequence[int]) -> Iterator[range]:
    """The parts in runs of neighbours, none longer than one response shall be."""
    start = 0
    for at in range(1, len(parts) + 1):
        if at == len(parts) or at - start == _SPAN or parts[at] != parts[at - 1] + 1:
            yield range(parts[start], parts[at - 1] + 1)
            start = at


def read_range(library: RemoteLibrary, key: Key, offset: int, length: int) -> bytes:
    """These bytes of the remote file, from the provider itself. OSError."""
    found = bytearray(length)
    with contextlib.closing(library.stream(key, offset, length)) as stream:
        at = 0
        while at < length:
            count = stream.readinto(memoryview(found)[at:])
            if not count:
                raise OSError(errno.EIO, "the provider's bytes ended early")
            at += count
    return bytes(found)
