"""A names.db with many remote files in it, made by the product's own code and without any network."""

import hashlib
from pathlib import Path

from vfs.names import Names
from vfs.namesdb import NamesDb
from vfs.planting import NewFile, Owner, make_directories, plant

_FOLDER = "torrents/complete"
_PER_TORRENT = 20
_GIB = 1 << 30
_TIME = 1_700_000_000 * 10**9


def load(path: Path, count: int) -> str:
    """Publish `count` remote files into the names.db at `path`; the path in the tree of the last one."""
    names, owner = Names(NamesDb(path)), Owner(0, 0, 0o022)
    try:
        make_directories(names, _FOLDER, owner)
        for first in range(0, count, _PER_TORRENT):
            files = [_file(number) for number in range(first, min(first + _PER_TORRENT, count))]
            plant(names, f"bench:{first}", _FOLDER, _torrent(first), files, owner)
    finally:
        names.close()
    last = count - 1
    return "/".join((_FOLDER, _torrent(last - last % _PER_TORRENT), *_file(last).path))


def _torrent(first: int) -> str:
    return f"Some.Show.S{first // _PER_TORRENT:05}.1080p.WEB.x264-GROUP"


def _file(number: int) -> NewFile:
    name = f"Some.Show.S{number // _PER_TORRENT:05}E{number % _PER_TORRENT:02}.1080p.WEB.x264-GROUP.mkv"
    info_hash = hashlib.sha1(str(number // _PER_TORRENT).encode()).hexdigest()
    return NewFile((name,), ("torrent", info_hash, str(number)), _GIB + number, _TIME, name.encode())
