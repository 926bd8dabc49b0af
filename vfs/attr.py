"""What a stat answers, independent of platform and binding: `Attr`, and what statvfs answers: `Space`.

Defined here and only here; the adapters turn these values into the structures of their binding.
"""

import os
import stat
from typing import NamedTuple

# Numbers inside Attr.blocks count 512 bytes, as st_blocks does on every Unix.
BLOCK = 512

# Instead of a time in ns: the present, and "leave it as it is". No real file is dated there.
NOW = -(1 << 62)
OMIT = NOW - 1


class Attr(NamedTuple):
    """Attributes of one file, directory, link or device; times in ns since 1970, size in bytes."""

    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blocks: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @classmethod
    def of(cls, st: os.stat_result, ino: int) -> "Attr":
        """The attributes of `st` under the visible inode number `ino`."""
        return cls(
            ino,
            st.st_mode,
            st.st_nlink,
            st.st_uid,
            st.st_gid,
            st.st_rdev,
            st.st_size,
            st.st_blocks,
            st.st_atime_ns,
            st.st_mtime_ns,
            st.st_ctime_ns,
        )


class Space(NamedTuple):
    """Room of a branch or of the whole tree, in bytes and inodes."""

    block_size: int
    total: int
    free: int
    available: int  # what an unprivileged user may still write, honest about min_free
    files: int
    files_free: int
    name_max: int = 255


class Caller(NamedTuple):
    """Who asks: new objects belong to this user and group."""

    uid: int
    gid: int
