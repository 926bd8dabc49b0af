"""Reading remote files: `Reader`, shared by all, and `RemoteReader`, one open handle.

A read looks for its bytes in memory (complete or on their way), then in the disk cache, then asks the
library. How a handle has read so far decides how much to ask for: exact pieces at first, and once it reads
on, long ranges with a window ahead that grows, up to several at once for a reader that waits all the same
(`chunks.Run`).

Lock order: `Memory.lock` (see memory.py) guards everything here too; it is never held during I/O, while a
thread starts, or while the disk cache is called.
"""

import errno
import logging
import time
from collections import Counter
from dataclasses import dataclass

from vfs.cache import ChunkCache
from vfs.chunks import CHUNK, PIECE, WINDOW_STARVED, Extent, Run, ceil, chunk_at, clamp, floor
from vfs.durations import Durations
from vfs.fetcher import Fetcher
from vfs.library import Key, RemoteLibrary
from vfs.memory import Memory
from vfs.stream import Block, OpenFile, Supply
from vfs.throttle import Throttle
from vfs.tier import Buffer

log = logging.getLogger(__name__)

RUNS = 4  # places at which one handle reads that are remembered
UNCACHED = 5.0  # s for which the disk is believed not to have what it did not have
AT_ONCE = 2 * CHUNK  # asked for before the first byte of a read is there: longer reads must not flood the memory


@dataclass(frozen=True, slots=True)
class ReaderStats:
    """What goes on now, and what came from where since the start (bytes)."""

    waiting: int  # reads that wait for the network
    streams: int  # open responses
    memory: int  # bytes held
    fetched: int  # delivered by the library
    from_memory: int  # read without waiting
    from_disk: int  # read after a look at the disk cache
    from_network: int  # read after waiting
    from_cache: int  # of all these, what the disk cache had kept
    from_provider: int  # and what the library had to deliver, for that read or another


class RemoteReader:
    """One open handle of a remote file; any number of threads may read."""

    def __init__(self, reader: "Reader", file: OpenFile) -> None:
        self.file = file
        self.runs: list[Run] = []  # last used first
        self.closed = False
        self._reader = reader

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes at `offset`; fewer only at the end of the file.

        OSError: EIO (or the library's errno) if the bytes cannot be had within the reader's deadline.
        """
        parts = self._parts(size, offset)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """As `read`, into a buffer; how many bytes of it are filled."""
        filled = 0
        for part in self._parts(len(buffer), offset):
            buffer[filled : filled + len(part)] = part
            filled += len(part)
        return filled

    def _parts(self, size: int, offset: int) -> list[Buffer]:
        if size < 0 or offset < 0:
            raise OSError(errno.EINVAL, "negative size or offset")
        extent = clamp(offset, size, self.file.length)
        return self._reader.read(self, extent) if extent.size else []

    def close(self) -> None:
        """Stop everything that only this handle wants. Never waits; a second call does nothing."""
        self._reader.release(self)

    def run_of(self, extent: Extent) -> tuple[Run, list[Run]]:
        """Locked. The run that a read belongs to, and those given up for it: probes before places read on."""
        run = next((run for run in self.runs if run.continues(extent.start)), None)
        if run:
            run.advance(extent)
            self.runs.remove(run)
        else:
            run = Run.starting(extent)
        self.runs.insert(0, run)
        if len(self.runs) <= RUNS:
            return run, []
        victim = next((old for old in reversed(self.runs[1:]) if old.reads < 2), self.runs[-1])
        self.runs.remove(victim)
        return run, [victim]


class Reader:
    """Reads remote files of a library through a disk cache. Thread-safe.

    A read gets EIO after `deadline` s, and at once when `max_waiting` others wait for the network. `memory`
    bytes bound what is held, beside the answers themselves and a few chunks on their way to the disk.
    `parallel` is how many streams serve a handle that is faster than one; a stream without work closes after
    `idle` s.
    """

    def __init__(
        self,
        library: RemoteLibrary,
        cache: ChunkCache,
        *,
        deadline: float = 30.0,
        memory: int = 128 * CHUNK,
        max_waiting: int = 192,
        parallel: int = 8,
        idle: float = 10.0,
    ) -> None:
        if memory < 8 * CHUNK:
            raise ValueError(f"the reader needs at least {8 * CHUNK} bytes of memory, not {memory}")
        # An eighth is for what no block accounts for: bytes on their way to the disk cache, buffers to be used again.
        self._memory = Memory(memory - memory // 8)
        self._lock = self._memory.lock
        self._cache = cache
        self._deadline = deadline
        self._max_waiting = max_waiting
        self._fetcher = Fetcher(self._memory, max_waiting, parallel)
        self._fetcher.supply = Supply(library, cache, idle, self._fetcher.opened, self._fetcher.ended)
        self._files: dict[tuple[Key, int], OpenFile] = {}
        self._waiting = 0
        self._served = {"memory": 0, "disk": 0, "network": 0}
        self._from_cache = 0
        self.waits = Durations()  # of reads for the network
        self.failed: Counter[str] = Counter()  # reads, by the name of their errno
        self._open = True
        self._failures = Throttle(log)

    def open(self, key: Key, size: int) -> RemoteReader:
        """A handle of the remote file `key` of `size` bytes. Never waits; files share their bytes."""
        with self._lock:
            for name, file in list(self._files.items()):
                if not file.handles and not file.blocks:
                    del self._files[name]
            file = self._files.setdefault((key, size), OpenFile(key, size, self._memory))
            file.handles += 1
        return RemoteReader(self, file)

    def release(self, handle: RemoteReader) -> None:
        """Close a handle."""
        with self._lock:
            if handle.closed:
                return
            handle.closed = True
            handle.file.handles -= 1
            self._fetcher.part(handle.file, handle.runs)
            if not handle.file.handles:
                self._memory.leave(set(handle.file.blocks.values()))
        self._fetcher.settle()

    def stats(self) -> ReaderStats:
        with self._lock:
            return ReaderStats(
                waiting=self._waiting,
                streams=len(self._fetcher.streams),
                memory=self._memory.used,
                fetched=self._fetcher.fetched,
                from_memory=self._served["memory"],
                from_disk=self._served["disk"],
                from_network=self._served["network"],
                from_cache=self._from_cache,
                from_provider=sum(self._served.values()) - self._from_cache,
            )

    @property
    def responses(self) -> Durations:
        """How long the library took until each response was there."""
        return self._fetcher.responses

    def close(self) -> None:
        """Stop all streams, within 5 s; reads that wait fail. The disk cache stays open."""
        with self._lock:
            self._open = False
        self._fetcher.close(5.0)
        with self._lock:
            self._memory.forget()
            self._files.clear()

    def read(self, handle: RemoteReader, extent: Extent) -> list[Buffer]:
        """The bytes of an extent that lies inside the file, in parts that are not copied."""
        until = time.monotonic() + self._deadline
        with self._lock:
            self._check_open(handle)
            run, over = handle.run_of(extent)
            self._fetcher.part(handle.file, over)
        try:
            return self._parts(handle, run, extent, until)
        except OSError as error:
            self._failures.warn("reading %s failed: %s", handle.file.key, error)
            with self._lock:
                self.failed[errno.errorcode.get(error.errno or errno.EIO, "other")] += 1
                run.give_up()  # what fails is not read ahead of
            raise
        finally:
            self._fetcher.settle()

    def _check_open(self, handle: RemoteReader) -> None:
        if handle.closed or not self._open:
            raise OSError(errno.EBADF, "read of a closed file")

    def _parts(self, handle: RemoteReader, run: Run, extent: Extent, until: float) -> list[Buffer]:
        parts: list[Buffer] = []
        position = extent.start
        block, origin = self._locate(handle, run, extent, until)
        self._read_ahead(handle, run, extent)
        while True:
            self._fetcher.settle()
            part = Extent(position, min(block.extent.stop, extent.stop))
            if self._await(block, run, part, origin, until):
                parts.append(block.part(*part))
                position = part.stop
            elif time.monotonic() > until:
                raise TimeoutError(errno.EIO, "no bytes within the deadline")
            if position == extent.stop:
                return parts
            block, origin = self._locate(handle, run, Extent(position, extent.stop), until)

    def _locate(self, handle: RemoteReader, run: Run, extent: Extent, until: float) -> tuple[Block, str]:
        """The block with the first byte of `extent`, and whence its bytes come: memory, disk or network."""
        file, start = handle.file, extent.start
        if block := self._await_lookup(file, run, start, until):
            return block, "memory"
        try:
            found = self._cache.find(file.key, file.length, start)
        finally:
            with self._lock:
                file.loading.discard(floor(start, CHUNK))
                file.loaded.notify_all()
        with self._lock:
            if block := self._known(file, run, start):
                return block, "memory"
            if found:
                block = Block(file, found[0], data=found[1])
                block.kept = True
                self._memory.adopt(block)
                return block, "disk"
            self._check_open(handle)
            self._check_waiting()
            run.missed = True
            stop = min(extent.stop, start + AT_ONCE)
            needed = Extent(floor(start, PIECE), ceil(stop, run.unit, file.length))
            self._fetcher.fetch(file, run, handle.runs, needed, ahead=False)
            return file.blocks[start // PIECE], "network"

    def _await_lookup(self, file: OpenFile, run: Run, offset: int, until: float) -> Block | None:
        """The block with the byte at `offset`, or None: then it is ours to look for its chunk on the disk."""
        chunk = floor(offset, CHUNK)
        with self._lock:
            while not (block := self._known(file, run, offset)):
                if chunk not in file.loading:
                    file.loading.add(chunk)
                    return None
                if not file.loaded.wait(until - time.monotonic()):
                    raise TimeoutError(errno.EIO, "the disk cache does not answer")
            return block

    def _known(self, file: OpenFile, run: Run, offset: int) -> Block | None:
        block = file.blocks.get(offset // PIECE)
        if block and block.stream:
            block.stream.runs.add(run)
        return block

    def _await(self, block: Block, run: Run, part: Extent, origin: str, until: float) -> bool:
        """Wait until a part of a block is there; False if it has to be looked for again."""
        with self._lock:
            if not block.reaches(part.stop):
                origin = "network"
                if not self._wait(block, run, part.stop, until):
                    return False
            self._served[origin] += part.size
            if block.kept:
                self._from_cache += part.size
                block.file.from_cache += part.size
            else:
                block.file.from_provider += part.size
            self._memory.touch(block, spent=run.reads > 1 and part.stop == block.extent.stop)
        return True

    def _wait(self, block: Block, run: Run, stop: int, until: float) -> bool:
        self._check_waiting()
        stream, begun = block.stream, time.monotonic()
        run.wait(begun)
        self._waiting += 1
        if stream:
            stream.waiting += 1
        try:
            return block.wait(stop, until)
        except TimeoutError:
            if stream and stream.progress < until - self._deadline / 2:
                self._fetcher.abandon(stream)  # it hangs; later ones may have more luck
            raise
        finally:
            self._waiting -= 1
            self.waits.add(time.monotonic() - begun)
            if stream:
                stream.waiting -= 1
                self._fetcher.drop_unwanted(stream)

    def _check_waiting(self) -> None:
        if self._waiting >= self._max_waiting:
            raise OSError(errno.EIO, f"{self._waiting} reads wait for the network already")

    def _read_ahead(self, handle: RemoteReader, run: Run, extent: Extent) -> None:
        """Ask for what follows a read, as far as the window of its run goes and streams may be opened."""
        file = handle.file
        while step := self._next_ahead(handle, run, extent):
            held = self._cached(file, step)
            if not held and not run.missed and step.start > extent.stop + PIECE:
                return  # it may end before: a second scan of a library reads no more than the first one did
            with self._lock:
                if held:
                    run.frontier = max(run.frontier, held.stop)
                elif step.start // PIECE not in file.blocks and self._open and not handle.closed:
                    self._fetcher.fetch(file, run, handle.runs, step, ahead=True)

    def _cached(self, file: OpenFile, step: Extent) -> Extent | None:
        """What the disk holds at the start of `step`; asked once for all that follows, where it holds nothing."""
        known = file.uncached
        since = step.start // PIECE in file.put or time.monotonic() >= file.uncached_until
        if known.start <= step.start < known.stop and not since:
            return None
        held = self._cache.holds(file.key, file.length, step.start, soon=True)
        if held is None:
            file.put.clear()
            rest = Extent(step.start, min(step.start + WINDOW_STARVED, file.length))
            file.uncached = self._cache.absent(file.key, file.length, rest)
            file.uncached_until = time.monotonic() + UNCACHED
        return held

    def _next_ahead(self, handle: RemoteReader, run: Run, extent: Extent) -> Extent | None:
        """What to ask for next, inside one chunk; None if there is nothing, or if no stream may be opened."""
        file = handle.file
        with self._lock:
            now = time.monotonic()
            window = run.window(now, self._fetcher.share(run, now))
            target = ceil(extent.stop + window, run.unit, file.length) if window else 0
            run.frontier = file.present(max(run.frontier, floor(extent.start, PIECE)), target)
            if run.frontier >= target or handle.closed or not self._open:
                return None
            if not file.joinable(run.frontier) and not self._fetcher.may_open(file, run, handle.runs, now):
                return None
            return Extent(run.frontier, min(target, chunk_at(run.frontier, file.length).stop))
