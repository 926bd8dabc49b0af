"""Content hashes: xxh3-128, the one hash by which mediapool calls two files equal."""

import errno
import os
from pathlib import Path

from xxhash import xxh3_128

_PIECE = 1 << 20


class Changed(OSError):
    """A file is not what it was found as; errno ESTALE."""

    def __init__(self) -> None:
        super().__init__(errno.ESTALE, "it changed meanwhile")


def new_buffer() -> memoryview:
    """A buffer to read pieces into, for one thread."""
    return memoryview(bytearray(_PIECE))


def hash_all(fd: int, size: int, buffer: memoryview) -> bytes:
    """The xxh3-128 of an open file from where it stands; `Changed` where that are not `size` bytes, OSError."""
    state, done = xxh3_128(), 0
    while count := os.readv(fd, [buffer]):
        state.update(buffer[:count])
        done += count
    if done != size:
        raise Changed
    return state.digest()


def hash_file(path: Path) -> str:
    """The xxh3-128 of a file's bytes as 32 hex digits; OSError if it cannot be read whole."""
    with path.open("rb", buffering=0) as file:
        return hash_all(file.fileno(), os.fstat(file.fileno()).st_size, new_buffer()).hex()
