"""Arithmetic of remote bytes: pieces, chunks, edges, how far ahead of a reader to fetch. No I/O, no clock.

A remote file of `length` bytes is cut into chunks, a chunk into pieces; the last of each may be shorter.
Offsets and sizes are bytes throughout. Fetched and stored extents always begin on a piece and end on one or
at the end of the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

# Reading a film in order stores one row and one file per chunk. A lookup, a file to open and a checksum cost
# about 0.1 ms, so 1 MiB keeps them below a tenth of the cost of the bytes, while a chunk that nobody reads on
# costs 17 ms of a 60 MB/s connection. It is also the largest read the kernel sends.
CHUNK = 1024 * 1024

# Probes (ffprobe, library scans) need a few KiB here and there; 128 KiB is the first read-ahead of the
# kernel, and costs a connection of 60 MB/s 2 ms after its 70-150 ms of setting up.
PIECE = 128 * 1024

# At least this much of the end of a file is an edge: MP4 indexes, Matroska cues and ID3 tags are found there.
TAIL = 512 * 1024

# A read this far from where the last one ended still belongs to it: the kernel sends its read-ahead in
# parallel, and requests of up to one chunk arrive in any order. Skipping readers (mediainfo) become one
# stream by the same rule.
NEAR = CHUNK

# Reading this much of an open response to throw it away is cheaper than a new connection.
GAP = CHUNK

WINDOW = 16 * CHUNK  # ahead of a reader that keeps up with nothing: 1 s of the largest films
WINDOW_STARVED = 80 * CHUNK  # ahead of a reader that waits for the network, shared by its parallel streams
SEGMENT = 64 * CHUNK  # the longest range asked of the library at once
SEGMENT_STARVED = 6 * CHUNK  # the shortest one of several at once: shorter ones would mostly wait for a response


class Extent(NamedTuple):
    """Bytes [start, stop) of one remote file."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


def clamp(offset: int, size: int, length: int) -> Extent:
    """What a read can have of a file of `length` bytes; empty at and after its end."""
    start = min(offset, length)
    return Extent(start, max(start, min(offset + size, length)))


def chunk_at(offset: int, length: int) -> Extent:
    """The chunk that holds the byte at `offset`."""
    start = offset - offset % CHUNK
    return Extent(start, min(start + CHUNK, length))


def piece_at(offset: int, length: int) -> Extent:
    """The piece that holds the byte at `offset`."""
    start = offset - offset % PIECE
    return Extent(start, min(start + PIECE, length))


def floor(offset: int, unit: int) -> int:
    return offset - offset % unit


def ceil(offset: int, unit: int, length: int) -> int:
    """`offset` rounded up to a multiple of `unit`, at most the `length` of the file."""
    return min(-(-offset // unit) * unit, length)


def numbers(extent: Extent) -> range:
    """Numbers of all pieces that `extent` touches."""
    return range(extent.start // PIECE, -(-extent.stop // PIECE))


def pieces(extent: Extent) -> Iterator[Extent]:
    """The pieces of an extent that begins on one and ends on one or at the end of the file."""
    for start in range(extent.start, extent.stop, PIECE):
        yield Extent(start, min(start + PIECE, extent.stop))


def is_edge(offset: int, length: int) -> bool:
    """Whether the byte at `offset` lies in the head or tail of the file, where probes read.

    Edges are whole chunks: the first, and those that reach into the last `TAIL` bytes.
    """
    return offset < CHUNK or floor(offset, CHUNK) + CHUNK > length - TAIL


class Place(NamedTuple):
    """Where bytes may be stored: in the tier for edges or in the main one, and under which extent."""

    edge: bool
    extent: Extent


def stored_at(offset: int, length: int) -> list[Place]:
    """Where the byte at `offset` may be stored, likeliest first."""
    piece = piece_at(offset, length)
    places = [Place(False, chunk_at(offset, length)), Place(False, piece)]
    return [Place(True, piece), *places] if is_edge(offset, length) else places


def stored_as(extent: Extent, length: int, probe: bool) -> list[Place]:
    """Where fetched bytes of one chunk are stored: the whole chunk if there is all of it, else its pieces.

    Edges that a probe asked for go as pieces, being rarely more than one or two, to a tier of their own; what
    playback brings does not go there, so it cannot evict anything there.
    """
    if probe and is_edge(extent.start, length):
        return [Place(True, piece) for piece in pieces(extent)]
    if extent == chunk_at(extent.start, length):
        return [Place(False, extent)]
    return [Place(False, piece) for piece in pieces(extent)]


@dataclass(slots=True, eq=False)
class Run:
    """One place at which a handle reads, from `begin` to `end`; sequential from its second read on.

    `frontier`, the start of a piece, is how far its bytes have been asked for, `waited` the time (s,
    monotonic) of its last wait for the network.
    """

    begin: int
    end: int
    frontier: int
    reads: int = 1
    missed: bool = False  # something of it had to be fetched
    waits: int = 0
    waited: float = float("-inf")

    @classmethod
    def starting(cls, extent: Extent) -> "Run":
        return cls(extent.start, extent.stop, floor(extent.start, PIECE))

    def continues(self, offset: int) -> bool:
        """Whether a read at `offset` reads on here, or is a late one of those sent in parallel."""
        return -2 * NEAR <= offset - self.end <= NEAR

    def advance(self, extent: Extent) -> None:
        """Note a read that continues here; reading the same bytes again is no progress."""
        if extent.stop > self.end:
            self.reads += 1
            self.end = extent.stop

    def give_up(self) -> None:
        """It is over: reads that are still under way get what they need and no more."""
        self.reads = 1

    @property
    def span(self) -> int:
        """Bytes from the first to the last one read, skipped ones included."""
        return self.end - self.begin

    @property
    def probing(self) -> bool:
        """Whether it may be a look at a few bytes only, or already is reading on."""
        return self.reads < 2 or self.span < CHUNK

    @property
    def unit(self) -> int:
        """What its fetches are rounded to."""
        return PIECE if self.probing else CHUNK

    def wait(self, now: float) -> None:
        """Note that a read had to wait for the network at `now`."""
        self.waits = self.waits + 1 if now - self.waited < 2 else 1
        self.waited = now

    def starved(self, now: float) -> bool:
        """Whether one connection does not suffice: it waited time and again, lately, in a long run.

        A player waits while it fills its buffer at the start, then never: its stream is always ahead.
        """
        return self.span >= 8 * CHUNK and self.waits >= 4 and now - self.waited < 2

    def window(self, now: float, share: int) -> int:
        """How many bytes to ask for ahead of the reader, at most `share`; none at the first read."""
        if self.reads < 2 or (self.probing and not self.missed):
            return 0  # a second library scan finds all it reads in the cache, and asks for nothing
        most = min(4 * self.span, WINDOW_STARVED) if self.starved(now) else min(self.span // 2, WINDOW)
        return max(PIECE, min(most, share))

    def segment(self, now: float, window: int, parallel: int) -> int:
        """How long a range to ask of the library: short at first, then long; or a part of a window."""
        if self.reads < 2:
            return 0
        if self.starved(now):
            return max(SEGMENT_STARVED, floor(window // parallel, CHUNK))
        return self.span if self.span < 4 * PIECE else min(8 * self.span, SEGMENT)
