"""A library of remote files made of arithmetic: any byte is known without a network, and every trouble can be had.

`Source` implements `vfs.library.RemoteLibrary`. The content of a file depends on its key and does not repeat at any
multiple of a chunk, so bytes from a wrong place or a wrong file never compare equal.
"""

import contextlib
import errno
import gc
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from vfs.library import Key

PERIOD = 1048583  # a prime just above one chunk

FILM: Key = ("torrent", "c0ffee", "1")
SERIES: Key = ("torrent", "decade", "7/inner/path.mkv")


@lru_cache(maxsize=64)
def _pattern(key: Key) -> bytes:
    return random.Random(repr(key)).randbytes(PERIOD) * 2


def content(key: Key, offset: int, size: int) -> bytes:
    """The true bytes of a file."""
    parts = []
    while size > 0:
        start = offset % PERIOD
        part = _pattern(key)[start : start + min(size, PERIOD)]
        parts.append(part)
        offset, size = offset + len(part), size - len(part)
    return b"".join(parts)


class Source:
    """The library. `latency` (s) comes before each response, `pace` (s) before each portion of at most `most`."""

    def __init__(self, latency: float = 0.0, pace: float = 0.0, most: int = 1 << 20) -> None:
        self.latency = latency
        self.pace = pace
        self.most = most  # bytes per readinto
        self.calls: list[tuple[Key, int, int]] = []
        self.delivered = 0
        self.open = 0
        self.most_open = 0
        self.gate = threading.Event()  # cleared: calls of `stream` hang
        self.flow = threading.Event()  # cleared: bodies give no bytes
        self.gate.set()
        self.flow.set()
        self.fail: Callable[[Key, int], OSError | None] = lambda key, offset: None
        self.lock = threading.Lock()

    def stream(self, key: Key, offset: int, length: int) -> "Response":
        with self.lock:
            self.calls.append((key, offset, length))
        time.sleep(self.latency)
        self.gate.wait()
        if error := self.fail(key, offset):
            raise error
        with self.lock:
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        return Response(self, key, offset, length)

    @property
    def asked(self) -> int:
        """Bytes of all ranges that were asked for."""
        return sum(length for _, _, length in self.calls)

    def release(self) -> None:
        """Let everything that hangs go on."""
        self.gate.set()
        self.flow.set()


class Response:
    """One body; reading from a closed one is an error, also for a thread that waits in it."""

    def __init__(self, source: Source, key: Key, offset: int, length: int) -> None:
        self.source = source
        self.key = key
        self.position = offset
        self.stop = offset + length
        self.closed = False

    def readinto(self, buffer: memoryview) -> int:
        while not self.source.flow.wait(0.005):
            if self.closed:
                break
        if self.closed:
            raise OSError(errno.EIO, "read of a closed response")
        if error := self.source.fail(self.key, self.position):
            raise error
        time.sleep(self.source.pace)
        size = min(len(buffer), self.stop - self.position, self.source.most)
        buffer[:size] = content(self.key, self.position, size)
        self.position += size
        with self.source.lock:
            self.source.delivered += size
        return size

    def close(self) -> None:
        with self.source.lock:
            self.source.open -= not self.closed
            self.closed = True


def eventually(holds: Callable[[], bool], within: float = 20.0) -> None:
    """Wait until a condition holds; what waits for other threads may take long on a busy machine."""
    until = time.monotonic() + within
    while not holds():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.002)


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """No thread and no descriptor that was not there before."""
    gc.collect()
    threads, descriptors = set(threading.enumerate()), _descriptors()
    yield
    eventually(lambda: set(threading.enumerate()) <= threads)
    gc.collect()
    assert _descriptors() <= descriptors


def _descriptors() -> set[str]:
    found = set()
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(f"{fd.name} {os.readlink(fd)}")
    return found


def file_bytes(folder: Path) -> int:
    """Bytes of all chunk files below a cache's folder, whatever its database says."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            if "-" in name and not name.startswith("cache.db"):
                with contextlib.suppress(FileNotFoundError):
                    total += os.stat(os.path.join(place, name)).st_size
    return total
