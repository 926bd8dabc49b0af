"""Which files hold the same: by size, then by their ends, then by all their bytes, each only where still in question.

What a catalog knows is not read again, and what was read is told to it as it comes, so a search that was broken off
goes on where it was. Names of one inode are one file. Empty files are nobody's duplicates.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from indexer.contents import Contents, Entry
from indexer.finding import Found, Unreadable
from indexer.reading import END, SMALL, Read, Readers, Want, same_bytes
from indexer.remembered import Remembered

T = TypeVar("T")

_STORE_ROWS = 2000


class Group(NamedTuple):
    """Files with the same content: one Found per inode, in the order of their paths; `links`: their other names."""

    size: int
    hash: bytes
    files: tuple[Found, ...]
    links: tuple[Found, ...]

    @property
    def wasted(self) -> int:
        """Bytes that all but one of them take."""
        return self.size * (len(self.files) - 1)


class Progress(NamedTuple):
    """How far a search is: what it does, bytes and files done, and of how many."""

    what: str
    bytes: int
    bytes_total: int
    files: int
    files_total: int


class Result(NamedTuple):
    """What a search found, most wasted bytes first, what could not be read, and bytes read. `whole`: not stopped."""

    groups: list[Group]
    problems: list[Unreadable]
    read: int
    whole: bool


class _Candidate:
    """A file of which others have the size, and what is known of its content."""

    __slots__ = ("ends", "found", "hash", "unreadable")

    def __init__(self, found: Found, ends: bytes | None, digest: bytes | None) -> None:
        self.found = found
        self.ends = ends
        self.hash = digest
        self.unreadable = False

    def note(self, read: Read) -> None:
        """What was read of it; a hash that was known stays when only the ends were."""
        self.ends = read.ends
        self.hash = read.hash or self.hash
        self.unreadable = read.problem is not None


def _size(found: Found) -> int:
    return found.size


def _ends(candidate: _Candidate) -> object:
    # Like no other where it cannot be read, or was not for a search that ends early.
    return candidate.found.size, candidate.ends or candidate.hash or candidate


def _hash(candidate: _Candidate) -> object:
    return candidate.found.size, candidate.hash or candidate


class Search:
    """One search for duplicates among files that were found."""

    def __init__(
        self,
        contents: Contents | None = None,
        trees: Sequence[bytes] = (),
        *,
        stop: threading.Event | None = None,
        progressed: Callable[[Progress], None] | None = None,
        readers: int | None = None,
    ) -> None:
        """`contents`: the catalog that knows what was read before below `trees`, and is told what is read now."""
        self._contents = contents
        self._known = Remembered(contents, trees)
        self._stop = stop or threading.Event()
        self._progressed = progressed
        self._readers = Readers(self._stop, readers)
        self._problems: list[Unreadable] = []
        self._read = 0

    def run(self, files: Iterable[Found], min_size: int = 1) -> Result:
        """The groups among `files` of at least `min_size` bytes (1 or more). ContentsError."""
        inodes, links = _by_inode(files, max(1, min_size))
        candidates = [_Candidate(found, *self._known.holds(found)) for found in _flat(_alike(inodes, _size))]
        # A small file has no ends; reading it whole is as quick. Of a big one the hash may be known without them.
        lacking = [one for one in candidates if one.ends is None and (one.hash is None or one.found.size > SMALL)]
        self._look("comparing ends", lacking, "ends")
        candidates = _flat(_alike(candidates, _ends))
        self._look("reading", [one for one in candidates if one.hash is None and not one.unreadable], "whole")
        same = [part for part in _alike(candidates, _hash) if part[0].hash is not None]
        found = [_group(part, links) for part in same]
        found.sort(key=lambda group: (-group.wasted, group.files[0].path))
        return Result(found, self._problems, self._read, not self._stop.is_set())

    def _look(self, what: str, candidates: list["_Candidate"], want: Want) -> None:
        """Read these and note what is found; what cannot be read is a problem and like nothing else."""
        of = {id(one.found): one for one in candidates}
        total = sum(one.found.size if want == "whole" or one.found.size <= SMALL else 2 * END for one in candidates)
        done = number = 0
        kept: list[Entry] = []
        for batch in self._readers.read([one.found for one in candidates], want):
            for read in batch:
                of[id(read.found)].note(read)
                if read.problem is not None:
                    self._problems.append(Unreadable(read.found.path, read.problem))
                elif self._contents is not None and (entry := read.entry()) is not None:
                    kept.append(entry)
                done += read.amount
            number += len(batch)
            if len(kept) >= _STORE_ROWS:
                self._store(kept)
            if self._progressed:
                self._progressed(Progress(what, done, total, number, len(candidates)))
        self._store(kept)
        self._read += done

    def _store(self, kept: list[Entry]) -> None:
        if self._contents is not None and kept:
            self._contents.store(kept)
        kept.clear()


def _by_inode(files: Iterable[Found], min_size: int) -> tuple[list[Found], dict[tuple[int, int], list[Found]]]:
    """One Found per inode, that of the first path, and the others of inodes with several."""
    first: dict[tuple[int, int], Found] = {}
    links: dict[tuple[int, int], list[Found]] = defaultdict(list)
    single = []
    for found in files:
        if found.size < min_size:
            continue
        if found.nlink == 1:
            single.append(found)
            continue
        key = (found.dev, found.ino)
        other = first.setdefault(key, found)
        if other is not found:
            if found.path < other.path:
                first[key], found = found, other
            links[key].append(found)
    single.extend(first.values())
    return single, links


def _alike(files: Iterable[T], key: Callable[[T], object]) -> list[list[T]]:
    """The files parted by `key`, without those that are alone."""
    parts: dict[object, list[T]] = defaultdict(list)
    for found in files:
        parts[key(found)].append(found)
    return [part for part in parts.values() if len(part) > 1]


def _flat(groups: Iterable[list[T]]) -> list[T]:
    return [found for group in groups for found in group]


def _group(same: Sequence[_Candidate], links: dict[tuple[int, int], list[Found]]) -> Group:
    files = tuple(sorted(one.found for one in same))
    names = sorted(link for found in files for link in links.get((found.dev, found.ino), ()))
    return Group(files[0].size, same[0].hash or b"", files, tuple(names))


def proven(group: Group, go_on: Callable[[int], None]) -> list[Group]:
    """The group, or what it falls into, after all files were compared byte by byte. OSError of reading."""
    parts: list[list[Found]] = []
    for found in group.files:
        for part in parts:
            if same_bytes((part[0].path, found.path), go_on):
                part.append(found)
                break
        else:
            parts.append([found])
    return [group._replace(files=tuple(part)) for part in parts if len(part) > 1]
