"""The disk cache of remote bytes: `ChunkCache`, exact in bytes, and never an error to its readers.

Two tiers, each evicting what was used longest ago: `edges` holds those pieces of heads and tails of files
that probes asked for, since library scans ask for them again, and playback cannot evict them; `main` holds
the rest. One thread of the cache writes, evicts and counts, so the caps hold at every moment; readers only
look up, and wait for nobody.

Lock order: `ChunkCache._lock`, then nothing. It guards the counters, the times of use and the bytes that wait
to be written; it is never held during I/O. `_Shelf.usage` and the writing half of `Tier` belong to the
writing thread.
"""

import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from placement import system as os
from vfs.chunks import CHUNK, Extent, stored_as, stored_at
from vfs.library import Key
from vfs.rows import row_at, row_of, start_of
from vfs.throttle import Throttle
from vfs.tier import TROUBLE, Buffer, DamagedError, Tier, Usage, claim, open_tier

log = logging.getLogger(__name__)

# Extents that may wait to be written, at most a chunk each. Most of them are in the readers' memory as well, being
# ahead of somebody; fewer would make streams wait for each transaction.
QUEUED = 32
TOGETHER = 8 * CHUNK  # bytes written in one transaction
PATIENCE = 0.5  # s that a `put` waits for a slow disk before its bytes go uncached
BACK_OFF = 10.0  # s that no `put` waits after one waited in vain
TICK = 5.0  # s between looks at the free space while nothing is stored
TOUCHED = 256  # times of last use kept in memory until they are written


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Bytes of files per tier and what both together may hold; how often what happened since the start."""

    main: int
    edges: int
    limit: int
    chunks: int  # files in both tiers
    hits: int
    misses: int
    damaged: int  # dropped because file and checksum did not agree
    stored: int
    skipped: int  # not stored: no room, or the disk too slow or in trouble


@dataclass(slots=True)
class _Shelf:
    """A tier, the bytes it may hold, what it does hold, and when (s since 1970) rows were used lately."""

    tier: Tier
    limit: int
    usage: Usage
    touched: dict[bytes, float] = field(default_factory=dict)

    def add(self, change: Usage, sign: int = 1) -> None:
        self.usage = Usage(self.usage.size + sign * change.size, self.usage.files + sign * change.files)

    def evict(self, size: int) -> int:
        freed = self.tier.evict(size)
        self.add(freed, -1)
        return freed.size


@dataclass(frozen=True, slots=True)
class _Item:
    """What is to be stored."""

    shelf: _Shelf
    row: bytes
    data: memoryview


_Job = _Item | Callable[[], None] | None  # None ends the writer


class ChunkCache:
    """Chunks and pieces of remote files in `directory`, at most `size` bytes; with 0 nothing is ever stored.

    `min_free` bytes of the filesystem stay free: when there are less, the cache shrinks and stores no more.
    An eighth of `size` is for heads and tails. After a crash the next start goes on with what is there. It
    has a thread, so create it after any fork.

    Raises OSError at the start: EBUSY if another process uses the directory, ENOTEMPTY if it holds other
    things, or what the filesystem says. No method raises afterwards.
    """

    def __init__(self, directory: str | os.PathLike[str], size: int, *, min_free: int = 0) -> None:
        self._directory = os.fspath(directory)
        self._limit = size
        self._min_free = min_free
        self._lock = threading.Lock()
        self._pending: dict[bytes, Buffer] = {}
        self._hits = self._misses = self._damaged = self._stored = self._skipped = 0
        self._doomed: deque[tuple[_Shelf, bytes, str | None]] = deque()  # damaged: for the writer to drop
        self._slow_until = 0.0
        self._trouble, self._full = Throttle(log), Throttle(log)
        self._sound = True
        self._jobs: queue.Queue[_Job] = queue.Queue(QUEUED)
        self._put_back: list[_Job] = []  # the writer's own: taken from the queue, and not done yet
        self._shelves: dict[bool, _Shelf] = {}  # by "is an edge"
        self._open = size > 0
        if self._open:
            self._claim = claim(self._directory)
            try:
                self._open_shelves()
            except BaseException:
                self._shut()
                raise
            self._writer = threading.Thread(target=self._write, name="chunk-cache", daemon=True)
            self._writer.start()

    def _open_shelves(self) -> None:
        mark = os.path.join(self._directory, "clean")
        clean = os.path.exists(mark)
        if clean:
            os.unlink(mark)
        edges = self._limit // 8
        for edge, name, limit in ((False, "main", self._limit - edges), (True, "edges", edges)):
            tier = open_tier(os.path.join(self._directory, name), clean)
            self._shelves[edge] = shelf = _Shelf(tier, limit, tier.usage())
            shelf.evict(shelf.usage.size - limit)

    # What readers call, from any thread

    def find(self, key: Key, length: int, offset: int) -> tuple[Extent, Buffer] | None:
        """The stored chunk or piece that holds the byte at `offset` of a file of `length` bytes, checked."""
        for edge, extent in stored_at(offset, length) if self._open else ():
            data = self._look(self._shelves[edge], row_of(key, length, extent))
            if data is not None:
                with self._lock:
                    self._hits += 1
                return extent, data
        with self._lock:
            self._misses += 1
        return None

    def get(self, key: Key, length: int, extent: Extent) -> Buffer | None:
        """The bytes of this chunk or piece, checked, or None."""
        found = self.find(key, length, extent.start)
        return found[1] if found and found[0] == extent else None

    def holds(self, key: Key, length: int, offset: int, *, soon: bool = False) -> Extent | None:
        """The extent that `find` would return, without reading or counting; `soon`: it will be called in a moment."""
        for edge, extent in stored_at(offset, length) if self._open else ():
            row = row_of(key, length, extent)
            with contextlib.suppress(*TROUBLE):
                if row in self._pending or self._shelves[edge].tier.holds(row, soon=soon):
                    return extent
        return None

    def absent(self, key: Key, length: int, extent: Extent) -> Extent:
        """The bytes from the start of `extent` that nothing is stored of, where `holds` found nothing at it.

        It is true now; whoever goes by it later may fetch again what was stored meanwhile.
        """
        low, high = row_at(key, length, extent.start), row_at(key, length, extent.stop)
        found = [row for row in list(self._pending) if low <= row < high]
        for shelf in self._shelves.values():
            with contextlib.suppress(*TROUBLE):
                if (row := shelf.tier.following(low, high)) is not None:
                    found.append(row)
        return Extent(extent.start, start_of(min(found)) if found else extent.stop)

    def put(self, key: Key, length: int, extent: Extent, data: Buffer, *, probe: bool = False) -> None:
        """Store the bytes of an extent inside one chunk, soon; `data` must not change any more.

        What a `probe` asked for goes to the edges if it is part of one.
        Waits up to half a second for a slow disk, so call it after the bytes were handed to whoever waits for them.
        """
        view = memoryview(data).toreadonly()
        for edge, part in stored_as(extent, length, probe) if self._open else ():
            piece = view[part.start - extent.start : part.stop - extent.start]
            self._enqueue(self._shelves[edge], row_of(key, length, part), piece)

    def _look(self, shelf: _Shelf, row: bytes) -> Buffer | None:
        waiting = self._pending.get(row)
        if waiting is not None:
            return waiting
        try:
            data = shelf.tier.look(row)
        except DamagedError as error:
            self._doomed.append((shelf, row, error.filename))
            return None
        except TROUBLE as error:
            self._complain("read", error)
            return None
        if data is not None:
            with self._lock:
                shelf.touched[row] = time.time()
        return data

    def _enqueue(self, shelf: _Shelf, row: bytes, data: memoryview) -> None:
        with self._lock:
            if row in self._pending or not self._open:
                return
            self._pending[row] = data
            patience = PATIENCE if time.monotonic() >= self._slow_until else 0.001
        try:
            self._jobs.put(_Item(shelf, row, data), timeout=patience)
        except queue.Full:
            self._slow_until = time.monotonic() + BACK_OFF
            self._skip(row)
            self._full.warn("the disk of the cache %s is too slow: going on without it", self._directory)

    def _skip(self, row: bytes) -> None:
        with self._lock:
            self._pending.pop(row, None)
            self._skipped += 1

    def _complain(self, verb: str, error: Exception) -> None:
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            self._sound = False  # the next start looks at every row
        self._trouble.warn("cannot %s the cache %s, going on without it: %s", verb, self._directory, error)

    # What the writing thread does

    def _write(self) -> None:
        while True:
            job = self._next_job()
            if job is None:
                return
            try:
                self._drop_doomed()
                if isinstance(job, _Item):
                    self._store(self._with_others(job))
                else:
                    job()
            except Exception as error:  # whatever it is, the next chunk may be stored again
                self._complain("write", error)

    def _next_job(self) -> _Job:
        if self._put_back:
            return self._put_back.pop()
        try:
            return self._jobs.get(timeout=TICK)
        except queue.Empty:
            return self._tick

    def _with_others(self, first: _Item) -> list[_Item]:
        """What waits to be stored in the same tier, as far as it goes into one transaction."""
        items, size = [first], first.data.nbytes
        most = min(TOGETHER, first.shelf.limit // 8)  # else a small cache would be emptied for what comes at once
        while size < most:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if not isinstance(job, _Item) or job.shelf is not first.shelf or size + job.data.nbytes > most:
                self._put_back.append(job)
                break
            items.append(job)
            size += job.data.nbytes
        return items

    def _tick(self) -> None:
        self._note_use()
        self._free(0)

    def _note_use(self) -> None:
        for shelf in self._shelves.values():
            with self._lock:
                touched, shelf.touched = shelf.touched, {}
            if touched:
                shelf.tier.used(touched)

    def _store(self, items: Sequence[_Item]) -> None:
        """Items of one tier."""
        shelf = items[0].shelf
        stored = 0
        held: set[bytes] = set()
        try:
            if len(shelf.touched) > TOUCHED:
                self._note_use()
            held = shelf.tier.held([item.row for item in items])
            fresh = {item.row: item.data for item in items if item.row not in held}
            size = sum(data.nbytes for data in fresh.values())
            if fresh and self._make_room(shelf, size):
                shelf.tier.add(fresh)
                shelf.add(Usage(size, len(fresh)))
                stored = len(fresh)
        finally:
            with self._lock:
                for item in items:
                    self._pending.pop(item.row, None)
                self._stored += stored
                self._skipped += len(items) - len(held) - stored

    def _make_room(self, shelf: _Shelf, size: int) -> bool:
        """Evict until `size` more bytes fit; False if they never will, or if the filesystem is too full."""
        over = shelf.usage.size + size - shelf.limit
        if over > 0 and size <= shelf.limit:
            self._note_use()
            # Some more than needed, so that not every chunk costs a transaction of its own.
            shelf.evict(over + min(8 * CHUNK, shelf.limit // 32))
        return size <= shelf.limit and self._free(size)

    def _free(self, size: int) -> bool:
        """Shrink until `size` more bytes leave `min_free` bytes; whether they do. Edges go last."""
        room = os.statvfs(self._directory)
        lack = self._min_free + size - room.f_bavail * room.f_frsize
        for shelf in self._shelves.values():
            if lack > 0:
                lack -= shelf.evict(lack)
        if lack > 0:
            self._full.warn(
                "less than %d bytes free beside the cache %s: storing nothing",
                self._min_free,
                self._directory,
            )
        return lack <= 0

    def _drop_doomed(self) -> None:
        while self._doomed:
            shelf, row, filename = self._doomed.popleft()
            dropped = shelf.tier.drop(row, filename)
            shelf.add(dropped, -1)
            with self._lock:
                self._damaged += dropped.files

    def _wipe(self) -> None:
        for shelf in self._shelves.values():
            shelf.tier.wipe()
            shelf.usage = shelf.tier.usage()

    # What their owner calls

    def clear(self) -> None:
        """Remove everything that is stored; returns when it is gone."""
        self._run(self._wipe)

    def flush(self) -> None:
        """Return when everything put so far is stored, or was given up."""
        self._run(self._note_use)

    def _run(self, job: Callable[[], None]) -> None:
        done = threading.Event()

        def run() -> None:
            try:
                job()
            finally:
                done.set()

        if self._open:
            self._jobs.put(run)
            while not done.wait(1.0) and self._writer.is_alive():
                pass

    def stats(self) -> CacheStats:
        usages = [shelf.usage for shelf in self._shelves.values()] or [Usage(0, 0)] * 2
        with self._lock:
            return CacheStats(
                main=usages[0].size,
                edges=usages[1].size,
                limit=self._limit,
                chunks=usages[0].files + usages[1].files,
                hits=self._hits,
                misses=self._misses,
                damaged=self._damaged,
                stored=self._stored,
                skipped=self._skipped,
            )

    def close(self) -> None:
        """Write what waits and give the directory back. Then nothing is found; a second call does nothing."""
        with self._lock:
            was_open, self._open = self._open, False
        if not was_open:
            return
        with contextlib.suppress(queue.Full):  # a disk that hangs
            self._jobs.put(self._note_use, timeout=15)
            self._jobs.put(None, timeout=15)
            self._writer.join(15)
        if self._sound and not self._writer.is_alive():
            with contextlib.suppress(OSError):
                os.close(os.open(os.path.join(self._directory, "clean"), os.O_WRONLY | os.O_CREAT, 0o600))
        self._shut()

    def _shut(self) -> None:
        for shelf in self._shelves.values():
            shelf.tier.shut()
        os.close(self._claim)
