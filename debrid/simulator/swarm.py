"""The world outside the account: torrents that can be found by hash, and Real-Debrid's cache of them."""

import hashlib
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from debrid.simulator.content import Content, Source, content_of, read
from debrid.simulator.lifecycle import Pace
from debrid.simulator.metainfo import read_metainfo, write_metainfo

_FINGERPRINT = 64 << 10


@dataclass(frozen=True, slots=True)
class SimFile:
    """One file of a torrent: 1-based id, inner path with a leading slash, bytes. Content None: name only."""

    id: int
    path: str
    size: int
    content: Content | None = None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Offer:
    """A torrent that exists somewhere. `packed`: mixed selections become a RAR; None: the switch decides."""

    hash: str
    name: str
    files: tuple[SimFile, ...]
    metainfo: bytes
    pace: Pace
    packed: bool | None = None


def make_offer(name: str, files: Mapping[str, Source], pace: Pace, info_hash: str | None, packed: bool | None) -> Offer:
    contents = {path: content_of(source) for path, source in files.items()}
    listed = tuple(
        SimFile(number, path, content.size, content) for number, (path, content) in enumerate(contents.items(), 1)
    )
    metainfo = write_metainfo(name, [(file.path, file.size) for file in listed], _fingerprint(contents))
    return Offer(info_hash or read_metainfo(metainfo).hash, name, listed, metainfo, pace, packed)


def _fingerprint(contents: Mapping[str, Content]) -> bytes:
    """Stands for all bytes of the files without reading more than the head of each."""
    digest = hashlib.sha1(usedforsecurity=False)
    for content in contents.values():
        digest.update(read(content, 0, _FINGERPRINT))
    return digest.digest()


class Swarm:
    """Offers by hash, and since when which selection of them is cached.

    The cache is per selection, not per hash: any other selection is fetched from the swarm anew (zurg).
    """

    def __init__(self) -> None:
        self._offers: dict[str, Offer] = {}
        self._whole: set[str] = set()  # every selection is cached
        self._cached: dict[tuple[str, frozenset[int]], float] = {}
        self._lock = threading.Lock()

    def add(self, offer: Offer, cached: bool, selections: Collection[Collection[int]]) -> None:
        with self._lock:
            self._offers[offer.hash] = offer
            self._forget(offer.hash)
            if cached and not selections:
                self._whole.add(offer.hash)
            for selection in selections:
                self._cached[(offer.hash, frozenset(selection))] = 0.0

    def find(self, info_hash: str) -> Offer | None:
        return self._offers.get(info_hash)

    def is_cached(self, info_hash: str, selection: frozenset[int], now: float) -> bool:
        with self._lock:
            since = self._cached.get((info_hash, selection), float("inf"))
            return info_hash in self._whole or since <= now

    def will_cache(self, info_hash: str, selection: frozenset[int], moment: float) -> None:
        with self._lock:
            self._cached[(info_hash, selection)] = moment

    def interrupt(self, info_hash: str, selection: frozenset[int], now: float) -> None:
        """The download of this selection was given up: it is not cached later, if it is not yet."""
        with self._lock:
            if self._cached.get((info_hash, selection), 0.0) > now:
                del self._cached[(info_hash, selection)]

    def evict(self, info_hash: str) -> None:
        """Nothing of it is cached any more; it can only be downloaded again."""
        with self._lock:
            self._forget(info_hash)

    def _forget(self, info_hash: str) -> None:
        self._whole.discard(info_hash)
        for key in [key for key in self._cached if key[0] == info_hash]:
            del self._cached[key]
