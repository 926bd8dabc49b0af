"""Bytes of a drive that are spoken for, though its filesystem still counts them as free.

Three things speak for them: a new file whose size is known before its first byte (`promise`, until the file is made),
a copy under way (`held`), and files that are open for writing and have still to grow (`growing`). Each counts only
what the filesystem does not count yet, so nothing is counted twice while the bytes arrive.

Lock order: `Reserved._lock` is a leaf, but what is asked for its bytes may take a leaf of its own.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Bytes, as far as they are not allocated yet; of what is held, less than 0 counts as 0. Raises nothing.
Wanted = Callable[[], int]

# Between the choice of a drive and the making of the file there are milliseconds; longer means that it failed.
PROMISED_SECONDS = 10.0


class Reserved:
    """What is reserved on one drive. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._promises: dict[str, tuple[int, float]] = {}
        self._held: dict[int, Wanted] = {}
        self._count = 0
        # Who tells how much the open files of this drive will still grow.
        self.growing: list[Wanted] = []

    def bytes(self) -> int:
        """All that is reserved, in bytes."""
        if not self._promises and not self._held:
            return sum(ask() for ask in self.growing)
        with self._lock:
            now = self._clock()
            self._promises = {path: one for path, one in self._promises.items() if one[1] > now}
            promised = sum(size for size, _ in self._promises.values())
            wanted = [*self._held.values(), *self.growing]
        return promised + sum(max(0, ask()) for ask in wanted)

    def promise(self, path: str, size: int) -> None:
        """`size` bytes for the file that is about to be made at `path`."""
        with self._lock:
            self._promises[path] = (size, self._clock() + PROMISED_SECONDS)

    def take(self, path: str) -> int:
        """The file is made: the bytes promised to it, 0 if none; who asks reserves them from now on."""
        if path not in self._promises:
            return 0
        with self._lock:
            size, until = self._promises.pop(path, (0, 0.0))
            return size if until > self._clock() else 0

    @contextmanager
    def held(self, wanted: Wanted) -> Iterator[None]:
        """Count what `wanted` answers."""
        with self._lock:
            self._count += 1
            key = self._count
            self._held[key] = wanted
        try:
            yield
        finally:
            with self._lock:
                del self._held[key]
