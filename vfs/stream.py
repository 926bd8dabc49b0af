"""Bytes on their way: `Block`s of a remote file in memory, `Stream` to fill them; `Memory` bounds them.

A block is in the map of its file from the moment it is planned, so whoever wants its bytes finds it there and
waits: one download per byte however many readers. A stream fills the blocks planned on it in order from one
response, in a thread of its own. Nothing is read that was not planned: planning is the back-pressure.

Lock order: one lock, `Memory.lock`, guards all blocks, streams and files of one reader; it is never held
during I/O, and whoever holds it takes no other. Methods marked "locked" are called with it held. The
conditions here all share it. Bytes of a block below `filled` never change, so they are read without it.
"""

import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vfs.buffers import Buffers
from vfs.cache import ChunkCache
from vfs.chunks import CHUNK, GAP, PIECE, Extent, Run, numbers
from vfs.library import ByteStream, Key, RemoteLibrary
from vfs.memory import Memory
from vfs.tier import Buffer

log = logging.getLogger(__name__)


class AbandonedError(Exception):
    """Nobody wants the bytes of this stream any more."""


class Block:
    """Consecutive bytes of one chunk: planned, being filled, or complete."""

    __slots__ = ("ahead", "changed", "data", "error", "extent", "file", "filled", "kept", "lost", "stream", "wanted")

    def __init__(self, file: "OpenFile", extent: Extent, stream: "Stream | None" = None, data: Buffer = b"") -> None:
        self.file = file
        self.extent = extent
        self.stream = stream  # None if the bytes came from the disk cache
        self.data = data
        self.filled = len(data)
        self.kept = False  # the disk cache had it
        self.ahead = False  # planned before anybody asked for it
        self.error: OSError | None = None
        self.lost = False  # never to be filled: look again
        self.wanted = extent.size + 1  # bytes of it that the most modest waiter needs
        self.changed = threading.Condition(file.memory.lock)

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for bytes of it."""
        return self.wanted <= self.extent.size

    def reaches(self, stop: int) -> bool:
        """Whether the bytes up to offset `stop` of the file are there."""
        return self.filled >= stop - self.extent.start

    def part(self, start: int, stop: int) -> Buffer:
        """The bytes [start, stop) of the file, without copying them."""
        if stop - start == self.extent.size:
            return self.data
        return memoryview(self.data)[start - self.extent.start : stop - self.extent.start]

    def register(self) -> None:
        """Locked. Make this block found; where another one is, that one stays."""
        for number in numbers(self.extent):
            self.file.blocks.setdefault(number, self)

    def unregister(self) -> None:
        """Locked."""
        for number in numbers(self.extent):
            if self.file.blocks.get(number) is self:
                del self.file.blocks[number]

    def advance(self, count: int) -> None:
        """Locked. Note `count` more bytes, and wake those who now have what they need."""
        self.filled += count
        if self.filled >= self.wanted:
            self.wanted = self.extent.size + 1
            self.changed.notify_all()

    def give_up(self, error: OSError | None) -> None:
        """Locked. Nothing more will come: an error for those who wait; without one they look again."""
        self.unregister()
        # A failure to read ahead is none yet: whoever needs the bytes by now asks for them once more.
        self.error, self.lost = (None if self.ahead else error), True
        self.changed.notify_all()

    def wait(self, stop: int, until: float) -> bool:
        """Locked. Wait for the bytes up to offset `stop`; False if they will not come from this block.

        Raises the error of the library, and TimeoutError at `until` (s, monotonic).
        """
        while not self.reaches(stop):
            if self.error:
                raise OSError(self.error.errno or errno.EIO, self.error.strerror or str(self.error))
            if self.lost:
                return False
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError(errno.EIO, "no bytes within the deadline")
            self.wanted = min(self.wanted, stop - self.extent.start)
            self.changed.wait(left)
        return True


@dataclass(slots=True, eq=False)
class OpenFile:
    """What all handles of one remote file share. `length` is its size in bytes."""

    key: Key
    length: int
    memory: Memory
    blocks: dict[int, Block] = field(default_factory=dict)  # by number of each piece
    streams: "list[Stream]" = field(default_factory=list)
    handles: int = 0
    from_cache: int = 0  # bytes that were read of it: kept by the disk cache
    from_provider: int = 0  # and fetched, for this read or another
    loading: set[int] = field(default_factory=set)  # starts of chunks that someone looks for on the disk
    uncached: Extent = Extent(0, 0)  # bytes that the disk did not have when it was asked last
    uncached_until: float = 0.0  # s, monotonic: when to ask again
    put: set[int] = field(default_factory=set)  # numbers of pieces that were given to the disk cache since then
    loaded: threading.Condition = field(init=False)

    def __post_init__(self) -> None:
        self.loaded = threading.Condition(self.memory.lock)

    def missing(self, start: int, stop: int) -> Iterator[Extent]:
        """Locked. From `start` to `stop` or the next block: bytes in no block, cut at the ends of chunks."""
        end = start
        while end < stop and end // PIECE not in self.blocks:
            end = min(end + PIECE, stop)
            if end % CHUNK == 0 or end == stop or end // PIECE in self.blocks:
                yield Extent(start, end)
                start = end

    def present(self, start: int, stop: int) -> int:
        """Locked. Where the blocks that follow each other from `start` end, at most at `stop`."""
        while start < stop and (block := self.blocks.get(start // PIECE)):
            start = block.extent.stop
        return start

    def lacking(self, start: int, stop: int) -> int:
        """Locked. How far a new stream from `start` is of use: at most to `stop`, and not over what others bring.

        What is there already it may read anew, if that costs less than another response.
        """
        known = 0
        for number in numbers(Extent(start, stop)):
            block = self.blocks.get(number)
            known = known + 1 if block else 0
            if block and (block.stream or known * PIECE > GAP):
                return max(start, (number + 1 - known) * PIECE)
        return stop

    def joinable(self, offset: int) -> "Stream | None":
        """Locked. The stream that comes to `offset` next, or so soon that a new one is no faster."""
        for stream in self.streams:
            if stream.tail <= offset <= stream.tail + GAP and offset < stream.stop:
                return stream
        return None


@dataclass(frozen=True, slots=True)
class Supply:
    """Where streams get bytes and put them; `idle` (s) is how long one stays open with nothing planned."""

    library: RemoteLibrary
    cache: ChunkCache
    idle: float
    opened: Callable[[float], None]  # called locked, with the seconds that a response was in coming
    ended: "Callable[[Stream], None]"  # called locked, once, when no call of the library is under way any more
    buffers: Buffers = field(default_factory=Buffers)


class Stream:
    """One response over bytes [tail, stop) of a file, filling the blocks planned on it for `runs`.

    It ends at `stop`, after an idle time, at an error of the library, or when abandoned. `progress` is the
    time (s, monotonic) of its start or of its last byte.
    """

    def __init__(self, file: OpenFile, start: int, stop: int, supply: Supply, probe: bool = False) -> None:
        """Locked. It does nothing until a thread does its `work`. `probe` says why its bytes are asked for."""
        self.file = file
        self.tail = start
        self.stop = stop
        self.runs: set[Run] = set()
        self.waiting = 0  # reads
        self.progress = time.monotonic()
        self.fetched = 0
        self.abandoned = False
        self._supply = supply
        self._probe = probe
        self._lock = file.memory.lock
        self._work = threading.Condition(self._lock)
        self._blocks: deque[Block] = deque()  # the first is the one being filled
        self._taken = 0  # room in memory for it
        self._source: ByteStream | None = None
        self._position = start
        file.streams.append(self)

    def plan(self, extent: Extent, ahead: bool = False) -> Block:
        """Locked. Ask for an extent at or after `tail`, inside one chunk, with no block on it."""
        assert extent.start % PIECE == 0, "a block of part of a piece would answer for all of it"
        block = Block(self.file, extent, self)
        block.ahead = ahead
        block.register()
        self._blocks.append(block)
        self.tail = extent.stop
        self._work.notify()
        return block

    @property
    def resting(self) -> float:
        """Locked. For how long (s) nothing was left to do."""
        return 0.0 if self._blocks else time.monotonic() - self.progress

    def abandon(self, error: OSError | None = None) -> ByteStream | None:
        """Locked. Stop filling. The caller closes the response, without the lock, which wakes the worker."""
        self.abandoned = True
        if self in self.file.streams:
            self.file.streams.remove(self)
        for block in self._blocks:
            block.give_up(error)
        self._blocks.clear()
        self._work.notify()
        self.file.memory.wake()
        return self._source

    def work(self) -> None:
        """Fill blocks until there is no reason to go on: the body of the stream's thread."""
        error: OSError | None = None
        try:
            self._connect()
            while (block := self._next()) is not None:
                self._fill(block)
                self.file.put.update(numbers(block.extent))
                self._supply.cache.put(self.file.key, self.file.length, block.extent, block.data, probe=self._probe)
        except AbandonedError:
            pass
        except OSError as failure:
            error = failure
        except Exception as failure:
            log.exception("reading %s failed in an unexpected way", self.file.key)
            error = OSError(errno.EIO, f"{type(failure).__name__}: {failure}")
        self._finish(error)

    def _connect(self) -> None:
        start = self._position
        begun = time.monotonic()
        source = self._supply.library.stream(self.file.key, start, self.stop - start)
        with self._lock:
            self._source = source
            self.progress = time.monotonic()
            self._supply.opened(self.progress - begun)

    def _next(self) -> Block | None:
        """The block to fill now, with room for it; None when there is nothing more to do."""
        until = time.monotonic() + self._supply.idle
        with self._lock:
            while not self._blocks and not self.abandoned and self.tail < self.stop:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._work.wait(left)
            if not self._blocks:
                self.abandon()  # at once, so that nobody plans on it any more
                return None
            block = self._blocks[0]
            if not self.file.memory.take(block.extent.size, lambda: not self.abandoned):
                return None
            self._taken = block.extent.size
        block.data = self._supply.buffers.take(block.extent.size)
        return block

    def _fill(self, block: Block) -> None:
        self._skip(block.extent.start - self._position)
        view = memoryview(block.data)
        filled = 0
        while filled < len(view):
            # Piece by piece where somebody waits, so that whoever needs only the first bytes has them first.
            step = PIECE if block.awaited else block.extent.size
            count = self._read(view[filled : filled + step])
            filled += count
            with self._lock:
                if self.abandoned:
                    raise AbandonedError
                block.advance(count)
                if filled == len(view):
                    self._blocks.popleft()
                    self._taken = 0
                    block.stream = None
                    self.file.memory.keep(block)

    def _skip(self, count: int) -> None:
        """Read bytes that are known already, to get past them."""
        scratch = memoryview(bytearray(min(count, PIECE)))
        while count > 0:
            count -= self._read(scratch[:count])

    def _read(self, buffer: memoryview) -> int:
        if self.abandoned or self._source is None:
            raise AbandonedError
        count = self._source.readinto(buffer)
        if count <= 0:
            raise OSError(errno.EIO, f"the bytes end at {self._position}, not at {self.stop}")
        self.progress = time.monotonic()
        self._position += count
        self.fetched += count
        return count

    def _finish(self, error: OSError | None) -> None:
        if self._source:
            try:
                self._source.close()
            except OSError as failure:
                log.debug("closing a response of %s: %s", self.file.key, failure)
        with self._lock:
            self.abandon(error)
            self.file.memory.give_back(self._taken)
            self._taken = 0
            self._supply.ended(self)
