"""Reading many files at once: their ends, or all of them, hashed; each device by as many readers as it likes.

Files are read in big pieces into buffers that are used again; reading and hashing both let other threads run. A file
that changes meanwhile is a problem and not a result.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from xxhash import xxh3_128

from indexer.contents import Entry, is_settled
from indexer.devices import READERS
from indexer.finding import Found
from indexer.hashing import Changed, hash_all, new_buffer
from indexer.likely import HEAD, by_head
from indexer.perdevice import PerDevice

# Bytes at each end of a file that are looked at first. Files up to SMALL are read whole at once instead.
END = 16 << 10
SMALL = 128 << 10
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
# Looking for duplicates is no access that times should show.
_UNNOTICED = getattr(os, "O_NOATIME", 0)

Want = Literal["ends", "whole"]


class Read(NamedTuple):
    """What was read of a file: hash of its ends (of files over SMALL), of all its bytes, or why neither is known.

    `began_ns`: when reading began; `amount`: bytes read; `begins_as_media`: as films and music do.
    """

    found: Found
    ends: bytes | None = None
    hash: bytes | None = None
    began_ns: int = 0
    amount: int = 0
    problem: str | None = None
    begins_as_media: bool = False

    def entry(self) -> Entry | None:
        """What the catalog may keep of it; None if a change might not show."""
        if self.problem is not None or not is_settled(self.found, self.began_ns):
            return None
        began = self.began_ns if self.hash is not None else None
        return Entry.of(self.found, self.ends, self.hash, began, self.begins_as_media)


def open_unnoticed(path: bytes, dir_fd: int | None = None) -> int:
    """A descriptor of the file itself, no link, to read it without a trace in its times where that is allowed."""
    try:
        return os.open(path, _FLAGS | _UNNOTICED, dir_fd=dir_fd)
    except PermissionError:
        return os.open(path, _FLAGS, dir_fd=dir_fd)


def read_one(found: Found, want: Want, buffer: memoryview) -> Read:
    """Read one file with this `buffer`; what goes wrong is in the answer."""
    began = time.time_ns()
    try:
        fd = open_unnoticed(found.path)
        try:
            ends, digest, count = hash_open(fd, found.size, want, buffer)
            if _stamp(os.fstat(fd)) != found[1:6]:
                raise Changed
        finally:
            os.close(fd)
    except OSError as error:
        return Read(found, problem=error.strerror or str(error))
    # Its beginning was read last.
    return Read(found, ends, digest, began, count, begins_as_media=by_head(bytes(buffer[: min(HEAD, found.size)])))


def _stamp(st: os.stat_result) -> tuple[int, ...]:
    return (st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns)


def hash_open(fd: int, size: int, want: Want, buffer: memoryview) -> tuple[bytes | None, bytes | None, int]:
    """(hash of the ends, hash of all, bytes read) of an open file of `size` bytes. OSError, `Changed`."""
    if size <= SMALL:
        if os.readv(fd, [buffer]) != size:
            raise Changed
        return None, xxh3_128(buffer[:size]).digest(), size
    digest, count = None, 2 * END
    if want == "whole":
        digest = hash_all(fd, size, buffer)
        count += size
    os.preadv(fd, [buffer[:END]], 0)
    os.preadv(fd, [buffer[END : 2 * END]], size - END)
    return xxh3_128(buffer[: 2 * END]).digest(), digest, count


class Readers:
    """Reads files in threads; to be iterated over by one thread, which gets results in batches."""

    def __init__(self, stop: threading.Event | None = None, readers: int | None = None) -> None:
        """`readers`: threads for each device, else as many as its kind likes. `stop` ends reading early."""
        self._devices = PerDevice(stop or threading.Event(), open_unnoticed)
        self._readers = readers

    def read(self, files: Iterable[Found], want: Want) -> Iterator[list[Read]]:
        """Read all of `files`, each inode once; batches of results in any order. What is left at `stop` is missing."""

        def work() -> Callable[[Found], Read]:
            buffer = new_buffer()
            return lambda found: read_one(found, want, buffer)

        return self._devices.run(files, work, lambda kind: self._readers or READERS[kind])


def same_bytes(paths: Sequence[bytes], go_on: Callable[[int], None]) -> bool:
    """Whether two files hold the same bytes, read now; `go_on` hears of each piece and may raise. OSError."""
    with contextlib.ExitStack() as closing:
        fds = []
        for path in paths:
            fds.append(open_unnoticed(path))
            closing.callback(os.close, fds[-1])
        one, other = fds
        first, second = new_buffer(), new_buffer()
        while count := os.readv(one, [first]):
            done = 0
            while done < count:
                more = os.readv(other, [second[: count - done]])
                if not more or first[done : done + more] != second[:more]:
                    return False
                done += more
            go_on(count)
        return not os.readv(other, [second])
