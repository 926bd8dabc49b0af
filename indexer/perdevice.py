"""Work on many files at once: each device by as many threads as it likes, in the order in which its data lies.

That order is that of the inode numbers, which mostly follow each other on the disk. On a disk with one head it is that
of the first extents, where the filesystem tells them (FIEMAP): files that were written after others were removed lie
anywhere. Asking costs some microseconds a file, so it is done for some thousands at a time, right before they are read.
"""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from typing import TypeVar

from indexer.devices import Kind, kind_of
from indexer.finding import Found
from placement.extents import first_byte

T = TypeVar("T")

Open = Callable[[bytes], int]

# Results are handed over by so many, or after so many seconds, since waking somebody costs more than a small file.
_BATCH = 64
_LATEST = 0.2
# Files whose place on the disk is asked for at once: a fifth of a second, and in memory some MB.
WINDOW = 10_000


class PerDevice:
    """Runs something on files in threads; to be iterated over by one thread, which gets results in batches."""

    def __init__(self, stop: threading.Event, open_file: Open, batch: int = _BATCH, each: int = 4) -> None:
        """`stop` ends the work early; `open_file` opens a file to ask where it lies, as the one who reads it would.

        `each`: files for which another thread is worth its while.
        """
        self._stop, self._open, self._batch, self._each = stop, open_file, batch, each

    def run(
        self, files: Iterable[Found], make_work: Callable[[], Callable[[Found], T]], threads: Callable[[Kind], int]
    ) -> Iterator[list[T]]:
        """What the work says of each file, in any order; what is left at `stop` is missing.

        `make_work` is called once in each thread; `threads` says how many a kind of device likes.
        """
        ordered = sorted(files, key=lambda found: (found.dev, found.ino))
        results: queue.SimpleQueue[list[T] | None] = queue.SimpleQueue()
        running = 0
        leave = threading.Event()
        for dev, group in groupby(ordered, key=lambda found: found.dev):
            files_here = list(group)
            kind = kind_of(dev)
            take = self._as_they_lie(files_here) if kind == "hdd" else iter(files_here)
            count = min(threads(kind), -(-len(files_here) // self._each))
            lock = threading.Lock()
            for _ in range(count):
                given = (take, lock, make_work, results, leave)
                threading.Thread(target=self._work, args=given, daemon=True).start()
            running += count
        try:
            while running:
                batch = results.get()
                if batch is None:
                    running -= 1
                else:
                    yield batch
        finally:
            leave.set()

    def _work(
        self,
        take: Iterator[Found],
        lock: threading.Lock,
        make_work: Callable[[], Callable[[Found], T]],
        results: "queue.SimpleQueue[list[T] | None]",
        leave: threading.Event,
    ) -> None:
        batch: list[T] = []
        last = time.monotonic()
        try:
            work = make_work()
            while not (leave.is_set() or self._stop.is_set()):
                with lock:
                    found = next(take, None)
                if found is None:
                    break
                batch.append(work(found))
                if len(batch) >= self._batch or time.monotonic() - last > _LATEST:
                    results.put(batch)
                    batch, last = [], time.monotonic()
        finally:
            results.put(batch)
            results.put(None)

    def _as_they_lie(self, files: list[Found]) -> Iterator[Found]:
        """In the order of their first extents, window by window; those without any first, by inode."""
        rest = iter(files)
        tells = True
        while window := list(islice(rest, WINDOW)):
            places = [self._place(found) for found in window] if tells else []
            # A filesystem that tells nothing of so many files never does.
            tells = any(places)
            if tells:
                pairs = sorted(zip(places, window, strict=True), key=lambda pair: pair[0] or 0)
                window = [found for _, found in pairs]
            yield from window

    def _place(self, found: Found) -> int | None:
        if self._stop.is_set():
            return None
        try:
            fd = self._open(found.path)
        except OSError:
            return None  # whoever reads it will say why
        try:
            return first_byte(fd)
        finally:
            os.close(fd)
