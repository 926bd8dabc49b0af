"""All copies of the content of a file, as far as the index, the remote names and the archive know them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cli.archives import maybe_opened
from cli.config import Config, DriveConfig
from cli.remotefiles import MountedRemoteFiles
from cli.state import StateFolder
from indexer.contents import Contents, Entry
from indexer.contentsdb import ContentsError
from indexer.export import named
from indexer.probable import END, osdb
from indexer.volumes import ArchiveError

Copy = dict[str, Any]  # ready for JSON: "where", in words, and what is known of it


def copies(config: Config, drive: str, path: str) -> list[Copy] | None:
    """The other places with the content of the local file at `path` in the tree, which lies on `drive`.

    None where the index does not know what the file holds now. Nothing is read but its ends, and nothing is fetched.
    """
    state = StateFolder(config.state.path)
    place = next((one for one in config.drive if one.name == drive), None)
    if place is None or not state.contents.exists():
        return None
    absolute = os.fsencode(os.path.join(os.path.realpath(place.path), path))
    try:
        with Contents(state.contents) as contents:
            entry = contents.entry(absolute)
            if entry is None or entry.hash is None or not _is_current(entry):
                return None
            return [
                *_local(contents, entry, config.drive),
                *_remote(config, state, contents, entry),
                *_discs(config, entry),
            ]
    except (ContentsError, OSError):
        return None


def _is_current(entry: Entry) -> bool:
    found = os.stat(entry.path, follow_symlinks=False)
    return (found.st_size, found.st_mtime_ns) == (entry.size, entry.mtime_ns)


def _local(contents: Contents, entry: Entry, drives: tuple[DriveConfig, ...]) -> Iterator[Copy]:
    assert entry.hash is not None
    for other in contents.with_hash(entry.hash):
        if other.path == entry.path:
            continue
        same = (other.dev, other.ino) == (entry.dev, entry.ino)
        yield {"where": "another name" if same else _drive_of(other.path, drives), **named(other.path)}


def _drive_of(path: bytes, drives: tuple[DriveConfig, ...]) -> str:
    found = Path(os.fsdecode(path))
    return next(
        (f"drive {one.name}" for one in drives if found.is_relative_to(os.path.realpath(one.path))), "elsewhere"
    )


def _remote(config: Config, state: StateFolder, contents: Contents, entry: Entry) -> Iterator[Copy]:
    """Those that `index duplicates --remote` has looked at: same size, same ends."""
    if entry.size < 2 * END:
        return
    candidates = [
        (file, known)
        for file in MountedRemoteFiles(state.names, str(config.mount.path)).of_sizes(frozenset((entry.size,)))
        if (known := contents.remote(file.key)) is not None
    ]
    if not candidates:
        return
    with open(entry.path, "rb") as file:
        head, tail = os.pread(file.fileno(), END, 0), os.pread(file.fileno(), END, entry.size - END)
    ends = osdb(entry.size, head, tail)
    for remote, known in candidates:
        if known == ends:
            yield {"where": "Real-Debrid, probably", **named(remote.path)}


def _discs(config: Config, entry: Entry) -> Iterator[Copy]:
    assert entry.hash is not None
    try:
        archive = maybe_opened(config, None)
    except (ArchiveError, OSError):
        return
    found = None if archive is None else archive.hashes().get(entry.hash.hex())
    if found is not None:
        volume, file = found
        yield {"where": f"volume {volume.name}, {volume.state.word}", **named(os.fsencode(file.path))}
