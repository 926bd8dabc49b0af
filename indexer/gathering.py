"""What there is to archive: the files below the sources, on the drives themselves, with their dates and hashes.

Nothing is passed over in silence: whatever is not archived is `left`, with the reason.
"""

import contextlib
import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Protocol

from indexer.manifest import NAME, RECOVERY
from indexer.planning import Entry, without_copies
from indexer.volumes import BURNED, UNBURNED
from placement.beneath import Root
from placement.copying import Allowance, read_content
from placement.identity import FOLDER, read_identity
from placement.staging import Original

# The top of a volume belongs to these.
_RESERVED = frozenset((NAME, UNBURNED, BURNED, RECOVERY))
_YEAR = r"(19\d\d|20\d\d)"
_MONTH, _DAY = r"(0[1-9]|1[0-2])", r"(0[1-9]|[12]\d|3[01])"
_DATES = (
    # 20190703_101500.jpg, 2019-07-03, 2019/07/03
    re.compile(rf"(?<!\d){_YEAR}([-_./]?){_MONTH}\2{_DAY}(?!\d)"),
    # 2019/07, 2019-07
    re.compile(rf"(?<!\d){_YEAR}[-_/]{_MONTH}(?!\d)"),
)


class KnownHashes(Protocol):
    """Hashes that need not be computed again, as a catalog has them."""

    def hash_of(self, path: str, size: int, mtime_ns: int) -> str | None:
        """The xxh3-128 of the file at the absolute `path`, if known for this size and time; else None."""
        ...


class NothingKnown:
    """No catalog."""

    def hash_of(self, path: str, size: int, mtime_ns: int) -> str | None:
        """Unknown."""
        return None


class Place:
    """A folder held open, below which files are found: of a drive if `drive` is its id, else any folder."""

    def __init__(self, path: str, drive: str = "") -> None:
        """OSError; EIO if another drive, or none, is mounted there by now."""
        self.path = os.path.realpath(path)
        self.drive = drive
        self._root = Root(self.path)
        if drive:
            try:
                found = read_identity(self._root).id
            except (OSError, ValueError):
                found = ""
            if found != drive:
                raise OSError(errno.EIO, "the drive is not mounted there", self.path)

    def require(self) -> Root:
        """The root, as drives give theirs."""
        return self._root

    def shares_disk(self, root: Root) -> bool:
        """Whether `root` is on the same filesystem: files only have to be renamed."""
        return self._root.key[0] == root.key[0]


@dataclass(frozen=True, slots=True)
class Source:
    """A folder to archive: `folder` below `place`. Its files are called `prefix`/... in the volumes."""

    place: Place
    folder: str
    prefix: str

    @classmethod
    def plain(cls, path: str) -> "Source":
        """A folder anywhere; its own name is the top folder in the volumes. OSError."""
        place = Place(path)
        return cls(place, "", os.path.basename(place.path))

    @property
    def path(self) -> str:
        """Where it is."""
        return os.path.join(self.place.path, self.folder) if self.folder else self.place.path


@dataclass(frozen=True, slots=True)
class Found:
    """A file to archive. `rel` below its source's place; `target`: its path in a volume; `hash` None if unknown."""

    source: int
    rel: str
    target: str
    size: int
    mtime_ns: int
    inode: tuple[int, int]
    links: int
    hash: str | None = None

    def entry(self) -> Entry:
        """As the planner sees it."""
        return Entry(self.target, self.size, self.hash, date_of(self.target, self.mtime_ns))


@dataclass(frozen=True, slots=True)
class Left:
    """Something that is not archived, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class Gathered:
    """All files to archive, all that is left where it is, and copies of what is archived: (file, its hash)."""

    sources: Sequence[Source]
    files: list[Found] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    copies: list[Found] = field(default_factory=list)

    def origin(self, file: Found) -> str:
        """The absolute path of a file."""
        return os.path.join(self.sources[file.source].place.path, file.rel)


# Hears (what is done, path, bytes done, bytes in all).
Hear = Callable[[str, str, int, int], None]


def date_of(path: str, mtime_ns: int) -> str:
    """YYYY-MM-DD, or YYYY-MM if no day is known: the last date in `path`, else the day it was last changed."""
    for pattern in _DATES:
        if found := list(pattern.finditer(path)):
            return "-".join(part for part in found[-1].groups() if part.isdigit())
    return f"{datetime.fromtimestamp(mtime_ns / 1e9):%Y-%m-%d}"


def gather(sources: Sequence[Source], *, exclude: Collection[str] = (), within: Root | None = None) -> Gathered:
    """Walk the sources. `exclude`: patterns of paths in the volume, or of names; `within`: the archive, not entered.

    ValueError if one source lies within another, OSError if one cannot be read at all.
    """
    _refuse_nested(sources)
    gathered = Gathered(sources)
    seen: set[tuple[int, int]] = set()
    taken: set[str] = set()
    for number, source in enumerate(sources):
        for rel, found in _walk(source, gathered.left, None if within is None else within.key):
            target = f"{source.prefix}/{rel[len(source.folder) :].lstrip('/')}" if source.prefix else rel
            path = os.path.join(source.place.path, rel)
            if any(fnmatchcase(target, one) or fnmatchcase(rel.rpartition("/")[2], one) for one in exclude):
                gathered.left.append(Left(path, "excluded"))
            elif (inode := (found.st_dev, found.st_ino)) in seen:
                gathered.left.append(Left(path, "another name of a file that is archived"))
            else:
                seen.add(inode)
                target = _free(target, taken)
                taken.add(target)
                each = Found(number, rel, target, found.st_size, found.st_mtime_ns, inode, found.st_nlink)
                gathered.files.append(each)
    return gathered


def _refuse_nested(sources: Sequence[Source]) -> None:
    for one in sources:
        for other in sources:
            if one is not other and os.path.commonpath([one.path, other.path]) == one.path:
                raise ValueError(f"{other.path} lies within {one.path}: name one of them only")


def _walk(source: Source, left: list[Left], skip: tuple[int, int] | None) -> Iterator[tuple[str, os.stat_result]]:
    """All regular files below the source, folder by folder in the order of names; the rest goes to `left`."""
    folders = [source.folder]
    root = source.place.require()
    while folders:
        folder = folders.pop()
        try:
            entries = _entries(root, folder)
        except OSError as error:
            if folder == source.folder:
                raise
            left.append(Left(os.path.join(source.place.path, folder), error.strerror or str(error)))
            continue
        below = []
        for name, found in entries:
            rel = f"{folder}/{name}" if folder else name
            path = os.path.join(source.place.path, rel)
            if stat.S_ISDIR(found.st_mode):
                if name == FOLDER:
                    left.append(Left(path, "mediapool's own"))
                elif (found.st_dev, found.st_ino) != skip:
                    below.append(rel)
            elif not stat.S_ISREG(found.st_mode):
                left.append(Left(path, _kind(found.st_mode)))
            elif found.st_dev != root.key[0]:
                left.append(Left(path, "on another filesystem that is mounted there"))
            else:
                yield rel, found
        folders += reversed(below)


def _entries(root: Root, folder: str) -> list[tuple[str, os.stat_result]]:
    fd = root.open_dir(folder)
    try:
        found = []
        with os.scandir(fd) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
        return sorted(found, key=lambda one: one[0])
    finally:
        os.close(fd)


def _kind(mode: int) -> str:
    return "a symbolic link" if stat.S_ISLNK(mode) else "no file, but a device, FIFO or socket"


def _free(target: str, taken: Container[str]) -> str:
    """`target`, or another name for it where it is taken, or belongs to the volume itself."""
    top, slash, rest = target.partition("/")
    if top in _RESERVED:
        target = f"{top}~{slash}{rest}"
    folder, slash, name = target.rpartition("/")
    stem, dot, end = name.rpartition(".")
    if not stem:
        stem, dot, end = name, "", ""
    number = 2
    while target in taken:
        mark = f"~{number}{dot}{end}"
        while len(os.fsencode(stem + mark)) > 255 and stem:
            stem = stem[:-1]
        target = f"{folder}{slash}{stem}{mark}"
        number += 1
    return target


def tell_copies_apart(
    gathered: Gathered, archived: Collection[tuple[int, str]], known: KnownHashes, hear: Hear
) -> None:
    """Move what is archived already (`archived`: sizes with hashes), or stands twice, from the files to the copies.

    Only files whose size another file has are read, and of those only what is not known. What cannot be read is left.
    """
    sizes = Counter(file.size for file in gathered.files)
    sizes.update(size for size, _ in archived)
    files: list[Found | None] = [_with_known(gathered, file, known) for file in gathered.files]
    wanted = [at for at, file in enumerate(files) if file and file.size and sizes[file.size] > 1 and not file.hash]
    total, done = sum(gathered.files[at].size for at in wanted), 0
    for at in wanted:
        file = gathered.files[at]
        hear("comparing", file.target, done, total)
        try:
            files[at] = replace(file, hash=read_hash(gathered.sources[file.source].place, file.rel))
        except OSError as error:
            files[at] = None
            gathered.left.append(Left(gathered.origin(file), error.strerror or str(error)))
        done += file.size
    readable = [file for file in files if file is not None]
    kept, copies = without_copies([file.entry() for file in readable], {hash for _, hash in archived})
    gathered.files = [readable[at] for at in kept]
    gathered.copies = [readable[at] for at in copies]


def _with_known(gathered: Gathered, file: Found, known: KnownHashes) -> Found:
    return replace(file, hash=known.hash_of(gathered.origin(file), file.size, file.mtime_ns))


def content_hash(gathered: Gathered, file: Found, known: KnownHashes) -> str:
    """The xxh3-128 of a file, known or read. OSError."""
    found = known.hash_of(gathered.origin(file), file.size, file.mtime_ns)
    if found is not None:
        return found
    return read_hash(gathered.sources[file.source].place, file.rel)


def read_hash(place: Place, rel: str) -> str:
    """The xxh3-128 of the file as its drive has it, as 32 hex digits. OSError."""
    with Original(place, rel) as original:
        return read_content(original.fd, Allowance(), lambda done: None).digest.hex()
