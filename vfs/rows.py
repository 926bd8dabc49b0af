"""Names of the rows of the disk cache: which bytes of which remote file each holds. Rows of a file sort by offset."""

import hashlib

from vfs.chunks import Extent
from vfs.library import Key


def row_of(key: Key, length: int, extent: Extent) -> bytes:
    """The row for an extent of a remote file of `length` bytes."""
    return row_at(key, length, extent.start) + extent.size.to_bytes(4, "big")


def row_at(key: Key, length: int, offset: int) -> bytes:
    """What all rows for extents from `offset` on begin with: a digest of which file it is, its size included, first.

    Parts of keys come from strangers, so the digest is one that nobody can make collide.
    """
    name = "\0".join(key).encode(errors="surrogateescape")
    file = hashlib.blake2b(name, digest_size=16, person=length.to_bytes(8, "big")).digest()
    return file + offset.to_bytes(8, "big")


def start_of(row: bytes) -> int:
    """The offset at which the extent of a row begins."""
    return int.from_bytes(row[16:24], "big")
