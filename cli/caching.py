"""The disk cache of a mount, and what the daemon does for `mediapool cache`: tell, warm, clear."""

import errno
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from cli.config import CacheConfig
from cli.routes import Get, Post
from vfs.cache import ChunkCache
from vfs.names import Names
from vfs.nodes import Directory, Node, RemoteFile
from vfs.reader import Reader
from vfs.tier import TROUBLE
from vfs.warming import Warmer

CACHE = "/api/cache"
# What a disk says that is full, read-only or broken; anything else is about the folder, and for people to mend.
_NO_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)

log = logging.getLogger(__name__)


def open_cache(config: CacheConfig) -> ChunkCache:
    """The disk cache, or one that keeps nothing where its disk does not let it; OSError where its folder is wrong."""
    try:
        return ChunkCache(str(config.path), config.size, min_free=config.min_free)
    except TROUBLE as cause:
        if isinstance(cause, OSError) and cause.errno not in _NO_DISK:
            raise
        log.warning("nothing is kept in the cache %s until the next mount: %s", config.path, cause)
        return ChunkCache(str(config.path), 0)


class Caching:
    """The cache of the running mount, as its commands see it."""

    def __init__(self, cache: ChunkCache, reader: Reader, warmer: Warmer, names: Names) -> None:
        self._cache, self._reader, self._warmer, self._names = cache, reader, warmer, names

    def status(self) -> dict[str, Any]:
        return {
            "cache": asdict(self._cache.stats()),
            "reader": asdict(self._reader.stats()),
            "warming": asdict(self._warmer.status()),
        }

    def warm(self, paths: list[str]) -> dict[str, int]:
        """Begin to warm all remote files at and below these paths. Raises FileNotFoundError."""
        found = {node.key: node.size for path in paths for node in _files(self._names.get(path))}
        return {"files": len(found), "taken": self._warmer.add(found.items())}

    def stop(self) -> None:
        self._warmer.stop()

    def clear(self) -> dict[str, int]:
        """Remove everything; how many bytes and chunks there were."""
        before = self._cache.stats()
        self._cache.clear()
        return {"bytes": before.main + before.edges, "chunks": before.chunks}


def _files(node: Node) -> Iterator[RemoteFile]:
    if isinstance(node, RemoteFile):
        yield node
    elif isinstance(node, Directory):
        for child in list(node.children.values()):
            yield from _files(child)


def cache_gets(caching: Caching) -> Mapping[str, Get]:
    return {CACHE: caching.status}


def cache_posts(caching: Caching) -> Mapping[str, Post]:
    """The routes that change something."""

    def warm(body: object) -> dict[str, int]:
        if not isinstance(body, dict) or set(body) != {"paths"}:
            raise ValueError('the body must be a JSON object of "paths"')
        paths = body["paths"]
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise ValueError('"paths" must be a list of texts')
        try:
            return caching.warm(paths)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ValueError(f"no remote file or folder is there: {error.filename or error}") from None

    def stop(_body: object) -> dict[str, int]:
        caching.stop()
        return {}

    return {f"{CACHE}/warm": warm, f"{CACHE}/stop": stop, f"{CACHE}/clear": lambda _body: caching.clear()}
