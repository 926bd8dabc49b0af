"""What a torrent shows of itself: its files, those inside the RAR it was packed into, those inside its own RARs.

The provider makes one stored RAR of a selection with any file that cannot be streamed; and releases come as sets of
RAR volumes. Where nothing is compressed the files inside are ranges of the archives, so they are shown in place of
them; of everything else the archive itself is shown. A set inside a pack is ranges of ranges.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from debrid.client import Client
from debrid.errors import Unavailable
from debrid.joined import cut
from debrid.rar import Inner, NotStored, Volume, inner_files
from debrid.store import PACK, Segment, Store, StoredFile
from debrid.transport import Budget, exchange

log = logging.getLogger(__name__)

_SECONDS = 20.0  # between two packets of a header
_FORBIDDEN = str.maketrans(dict.fromkeys('|"\\?*:<>', "_"))  # in names that the provider packs
_PART = re.compile(r"(.+)\.part(\d+)\.rar", re.IGNORECASE | re.DOTALL)
_OLD = re.compile(r"(.+)\.(rar|[r-z]\d\d)", re.IGNORECASE | re.DOTALL)

UrlOf = Callable[[StoredFile, Budget], str]


class Shown(NamedTuple):
    """One file to publish: raw path, third part of its key, size in bytes."""

    path: str
    part: str
    size: int


class Holder(NamedTuple):
    """A file that has bytes of others, and its download URL."""

    file: StoredFile
    url: str


class Archives:
    """Thread-safe. `url_of`: a download URL of a file."""

    def __init__(self, client: Client, store: Store, url_of: UrlOf) -> None:
        self._client, self._store, self._url_of = client, store, url_of

    def shown(self, info_hash: str, selected: Sequence[StoredFile], budget: Budget) -> tuple[list[Shown], str]:
        """What to publish of these files, and what is to be said of it. Raises DebridError."""
        problem = ""
        pack = self._store.file(info_hash, PACK)
        if pack is not None and pack.link and not any(each.link for each in selected):
            try:
                self._open_pack(pack, selected, budget)
            except NotStored as why:
                return [Shown(pack.path, str(PACK), pack.bytes)], f"packed into {pack.path.lstrip('/')}: {why}"
        have = {each.id: self._segments(each) for each in selected}
        files = [each for each in selected if have[each.id]]
        shown = {each.id: [Shown(each.path, str(each.id), each.bytes)] for each in files}
        for volumes in volume_sets(files):
            try:
                inner = self._open_set(volumes, [have[each.id] for each in volumes], budget)
            except NotStored as why:
                problem = f"{volumes[0].path.lstrip('/')}: {why}"
                log.info("%s is shown as it is: %s", volumes[0].path, why)
                continue
            shown.update({each.id: [] for each in volumes})
            shown[volumes[0].id] = inner
        return [each for group in shown.values() for each in group], problem

    def same_pack(self, pack: StoredFile, selected: Sequence[StoredFile], url: str, budget: Budget) -> bool:
        """Whether the archive at `url` has these files at the places that are known."""
        try:
            found = _matched(inner_files([self._pack(pack, url, budget)]), selected)
        except NotStored:
            return not any(self._store.parts(pack.hash, str(each.id)) for each in selected)
        known = {str(each.id): self._store.parts(pack.hash, str(each.id)) for each in selected}
        return all(not pieces or found.get(part) == pieces for part, pieces in known.items())

    def _segments(self, file: StoredFile) -> list[Segment]:
        return self._store.parts(file.hash, str(file.id)) or ([Segment(file.id, 0, file.bytes)] if file.link else [])

    def _open_pack(self, pack: StoredFile, selected: Sequence[StoredFile], budget: Budget) -> None:
        inner = inner_files([self._pack(pack, self._url_of(pack, budget), budget)])
        self._store.set_parts(pack.hash, _matched(inner, selected))

    def _open_set(self, volumes: Sequence[StoredFile], have: Sequence[list[Segment]], budget: Budget) -> list[Shown]:
        """Record and return the files inside one set of volumes."""
        first, holders = volumes[0], dict[int, Holder]()
        for each in (segment for segments in have for segment in segments):
            holder = self._store.file(first.hash, each.file)
            if holder is not None and each.file not in holders:
                holders[each.file] = Holder(holder, self._url_of(holder, budget))
        inner = inner_files([self._volume(each, holders, budget) for each in have])
        folder = first.path.rpartition("/")[0]
        parts = {f"{first.id}/{each.path}": _through(each, have) for each in inner}
        self._store.set_parts(first.hash, parts)
        return [Shown(f"{folder}/{each.path}", f"{first.id}/{each.path}", each.size) for each in inner]

    def _volume(self, segments: Sequence[Segment], holders: Mapping[int, Holder], budget: Budget) -> Volume:
        def read(offset: int, length: int) -> bytes:
            return b"".join(self._read(*holders[each.file], each, budget) for each in cut(segments, offset, length))

        return Volume(sum(each.length for each in segments), read)

    def _pack(self, pack: StoredFile, url: str, budget: Budget) -> Volume:
        return self._volume([Segment(PACK, 0, pack.bytes)], {PACK: Holder(pack, url)}, budget)

    def _read(self, file: StoredFile, url: str, part: Segment, budget: Budget) -> bytes:
        client = self._client
        response = client.open_range(url, part.start, part.length, _SECONDS, size=file.bytes, budget=budget)
        try:
            data: bytes = exchange("reading a header", budget, lambda: response.raw.read(part.length))
        finally:
            budget.interrupt.hold(None)
            response.close()
        if len(data) != part.length:
            raise Unavailable("the body ended early")
        return data


def volume_sets(files: Iterable[StoredFile]) -> list[list[StoredFile]]:
    """The RAR archives among files, each as its volumes in order."""
    found: dict[tuple[str, str], list[tuple[int, StoredFile]]] = {}
    for file in files:
        if match := _PART.fullmatch(file.path):
            found.setdefault((match[1], "part"), []).append((int(match[2]), file))
        elif match := _OLD.fullmatch(file.path):
            kind = match[2].lower()
            number = -1 if kind == "rar" else (ord(kind[0]) - ord("r")) * 100 + int(kind[1:])
            found.setdefault((match[1], ""), []).append((number, file))
    sets = [[file for _, file in sorted(each, key=lambda one: one[0])] for each in found.values()]
    return [each for each in sets if each[0].path.lower().endswith(".rar")]


def _matched(inner: Sequence[Inner], selected: Sequence[StoredFile]) -> dict[str, list[Segment]]:
    """Which inner file is which file of the torrent: by size and path, which the provider changes a little."""
    found: dict[str, list[Segment]] = {}
    left = list(inner)
    for file in selected:
        path = file.path.lstrip("/").translate(_FORBIDDEN)
        same = [each for each in left if each.size == file.bytes and path.endswith(each.path.rpartition("/")[2])]
        exact = [each for each in same if each.path == path] or same
        if exact:
            left.remove(exact[0])
            found[str(file.id)] = [Segment(PACK, piece.start, piece.length) for piece in exact[0].pieces]
    return found


def _through(inner: Inner, volumes: Sequence[Sequence[Segment]]) -> list[Segment]:
    """The pieces of an inner file as pieces of what holds the volumes."""
    return [each for piece in inner.pieces for each in cut(volumes[piece.volume], piece.start, piece.length)]
