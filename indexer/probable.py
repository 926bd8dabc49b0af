"""Local files that are probably the same as remote ones: of the same size and OSDB hash.

The hash of OpenSubtitles is made of the size and of the first and last 64 KiB, so a remote file costs 128 KiB to look
at, once: the catalog keeps it by the content key, which never changes its bytes. It proves nothing about the middle,
so what is found here is told and never acted upon.
"""

import os
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from indexer.contents import Contents
from indexer.finding import Found, Unreadable
from indexer.mediatable import RemoteKey
from indexer.reading import open_unnoticed

# Bytes at each end; smaller files than both together have no such hash.
END = 1 << 16


class RemoteFile(NamedTuple):
    """A remote file: one of its paths in the tree, its size in bytes, and its content key."""

    path: bytes
    size: int
    key: RemoteKey


class RemoteFiles(Protocol):
    """The remote files of the mounted tree."""

    def of_sizes(self, sizes: frozenset[int]) -> Iterable[RemoteFile]:
        """Those that have one of these sizes, each content once."""
        ...

    def ends(self, file: RemoteFile) -> tuple[bytes, bytes]:
        """Its first and last 64 KiB, fetched if need be. OSError."""
        ...


class Probable(NamedTuple):
    """Local and remote files of one size and OSDB hash; `local` one name an inode."""

    size: int
    osdb: bytes
    local: list[Found]
    remote: list[RemoteFile]


def osdb(size: int, head: bytes, tail: bytes) -> bytes:
    """The 8 bytes of the hash of a file of `size` bytes, from its first and last 64 KiB. Pure.

    Source: the OpenSubtitles wiki, "HashSourceCodes": size plus both ends as little-endian 64-bit numbers, modulo 2^64.
    """
    numbers = struct.unpack(f"<{END // 4}Q", head + tail)
    return int((size + sum(numbers)) % (1 << 64)).to_bytes(8, "big")


def probable(
    files: Iterable[Found],
    remote: RemoteFiles,
    contents: Contents,
    told: Callable[[int], bool] = lambda _count: True,
) -> tuple[list[Probable], list[Unreadable]]:
    """Local files of which a remote one is probably a copy, and what could not be read.

    `told` hears how many remote files were looked at, and ends it by answering False.
    """
    by_size: dict[int, dict[tuple[int, int], Found]] = defaultdict(dict)
    for found in files:
        if found.size >= 2 * END:
            by_size[found.size].setdefault((found.dev, found.ino), found)
    problems: list[Unreadable] = []
    remotes: dict[tuple[int, bytes], list[RemoteFile]] = defaultdict(list)
    for number, file in enumerate(remote.of_sizes(frozenset(by_size))):
        if not told(number):
            break
        try:
            remotes[file.size, _of_remote(file, remote, contents)].append(file)
        except OSError as error:
            problems.append(Unreadable(file.path, error.strerror or str(error)))
    locals_ = _of_locals({size for size, _ in remotes}, by_size, problems)
    pairs = [Probable(*key, locals_[key], sorted(remotes[key])) for key in remotes if key in locals_]
    return sorted(pairs, key=lambda pair: (-pair.size, pair.osdb)), problems


def _of_remote(file: RemoteFile, remote: RemoteFiles, contents: Contents) -> bytes:
    known = contents.remote(file.key)
    if known is None:
        known = osdb(file.size, *remote.ends(file))
        contents.tell_remote(file.key, file.size, known)
    return known


def _of_locals(
    sizes: set[int], by_size: dict[int, dict[tuple[int, int], Found]], problems: list[Unreadable]
) -> dict[tuple[int, bytes], list[Found]]:
    """The local files of these sizes by size and hash."""
    found: dict[tuple[int, bytes], list[Found]] = defaultdict(list)
    for size in sizes:
        for one in by_size[size].values():
            try:
                fd = open_unnoticed(one.path)
                try:
                    ends = os.pread(fd, END, 0), os.pread(fd, END, size - END)
                finally:
                    os.close(fd)
                found[size, osdb(size, *ends)].append(one)
            except (OSError, struct.error) as error:
                problems.append(Unreadable(one.path, getattr(error, "strerror", None) or "it changed meanwhile"))
    return {key: sorted(files) for key, files in found.items()}
