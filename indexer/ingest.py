"""Ingest: files of a card or a telephone get a name by when they were taken, in a tree of years and months.

What the tree, or the catalog, holds already goes to a folder for duplicates instead. Sidecars go before the file they
belong to, so what a kill leaves is taken up by the next run. A file that somebody may still be writing is left for
next time. Nothing is overwritten or deleted.
"""

import os
import re
import string
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from indexer.contents import Contents
from indexer.dates import Taken, taken
from indexer.duplicates import Progress
from indexer.finding import Found, is_below
from indexer.moving import Mover, found_at, is_written
from indexer.reading import Read, Readers, open_unnoticed
from indexer.remembered import Remembered
from indexer.undoing import Kept

PATTERN = "{year}/{month}/{year}{month}{day}_{hour}{minute}{second}_{hash}{ext}"
_FIELDS = frozenset(("year", "month", "day", "hour", "minute", "second", "hash", "name", "ext"))
# What describes a file and is worth nothing without it.
_SIDECARS = frozenset((b".xmp", b".aae", b".srt", b".nfo", b".thm"))
# What programs call a file while they write it; and what systems leave behind.
_UNFINISHED = re.compile(rb"^\.|\.(part|partial|tmp|crdownload|download)$|^(Thumbs\.db|desktop\.ini)$", re.IGNORECASE)


class PatternError(ValueError):
    """The pattern cannot be used; says why."""


class Item(NamedTuple):
    """A file with its sidecars, what it holds, when it was taken, where it goes; `known`: the copy there is already."""

    found: Found
    sidecars: tuple[Found, ...]
    hash: bytes
    taken: Taken
    target: bytes
    known: bytes | None

    def sidecar_target(self, sidecar: Found) -> bytes:
        """The same new name, with what came after the file's stem."""
        stem = os.path.splitext(self.found.path)[0]
        return os.path.splitext(self.target)[0] + sidecar.path[len(stem) :]


class Ingested(NamedTuple):
    """What was moved, sidecars with their files, and what was left, with reasons. `whole`: not stopped."""

    moved: list[tuple[Item, Found]]
    kept: list[Kept]
    whole: bool


def check_pattern(pattern: str) -> None:
    """PatternError if it names an unknown field, lacks what makes names different, or leads out of the tree."""
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise PatternError(f"{error}") from None
    for _, field, form, conversion in parts:
        if field is not None and (field not in _FIELDS or form or conversion):
            raise PatternError(f"{{{field}}} is not known; there are {' '.join(sorted(_FIELDS))}")
    if "hash" not in {field for _, field, _, _ in parts} and "name" not in {field for _, field, _, _ in parts}:
        raise PatternError("it names neither {hash} nor {name}, so files of one second would have the same name")
    if not pattern.endswith("{ext}"):
        raise PatternError("it does not end with {ext}, so programs would not know what the file is")
    if pattern.startswith("/") or any(part in ("", ".", "..") for part in pattern.split("/")):
        raise PatternError("it is a path below the tree, without . and ..")


def named(pattern: str, path: bytes, digest: bytes, when: Taken) -> bytes:
    """The path below the tree that the pattern gives a file; the suffix stays as it is. Pure."""
    stem, suffix = os.path.splitext(os.path.basename(path))
    moment = when.when
    fields = {
        "year": f"{moment:%Y}", "month": f"{moment:%m}", "day": f"{moment:%d}", "hour": f"{moment:%H}",
        "minute": f"{moment:%M}", "second": f"{moment:%S}", "hash": digest.hex(),
        "name": os.fsdecode(stem), "ext": os.fsdecode(suffix),
    }  # fmt: skip
    return os.fsencode(pattern.format_map(fields))


def grouped(files: Iterable[Found]) -> tuple[list[tuple[Found, tuple[Found, ...]]], list[Found]]:
    """Each file with its sidecars, and sidecars without a file. Pure.

    A sidecar belongs to the file of its folder whose stem its name begins with (IMG_1.xmp, IMG_1.JPG.xmp,
    film.en.srt beside IMG_1.JPG, film.mp4); of several with that stem to the first.
    """
    sidecars: dict[bytes, list[Found]] = defaultdict(list)
    media: dict[tuple[bytes, bytes], Found] = {}
    alone: list[Found] = []
    for found in sorted(files):
        folder, name = os.path.split(found.path)
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in _SIDECARS:
            sidecars[folder].append(found)
        elif media.setdefault((folder, stem.lower()), found) is not found:
            alone.append(found)
    of: dict[Found, list[Found]] = {found: [] for found in (*media.values(), *alone)}
    orphans = []
    for folder, found_there in sidecars.items():
        for sidecar in found_there:
            owner = _owner(folder, sidecar, media)
            orphans.append(sidecar) if owner is None else of[owner].append(sidecar)
    return [(found, tuple(of[found])) for found in sorted(of)], orphans


def _owner(folder: bytes, sidecar: Found, media: Mapping[tuple[bytes, bytes], Found]) -> Found | None:
    """The file with the longest stem that the sidecar's name begins with, up to a dot."""
    stem = os.path.splitext(os.path.basename(sidecar.path))[0].lower()
    while stem:
        if (found := media.get((folder, stem))) is not None:
            return found
        stem = os.path.splitext(stem)[0] if os.path.splitext(stem)[1] else b""
    return None


class Ingest:
    """One ingest into one tree."""

    def __init__(
        self,
        to: bytes,
        duplicates: bytes,
        contents: Contents | None = None,
        *,
        pattern: str = PATTERN,
        settle: float = 5.0,
        stop: threading.Event | None = None,
        progressed: Callable[[Progress], None] | None = None,
    ) -> None:
        """`to`, `duplicates`: real paths. `settle`: seconds for which a file must not have changed. PatternError."""
        check_pattern(pattern)
        self._to = to
        self._duplicates = duplicates
        self._contents = contents
        self._pattern = pattern
        self._settle = settle
        self._stop = stop or threading.Event()
        self._progressed = progressed
        self._readers = Readers(self._stop)

    def plan(self, incoming: Sequence[Found], there: Sequence[Found]) -> tuple[list[Item], list[Kept]]:
        """What would be done with these files, and what would be left; `there`: all files of the tree.

        Reads them, and what of the tree has the size of one.
        """
        now = time.time()
        kept = [Kept(found.path, reason) for found in incoming if (reason := self._unready(found, now)) is not None]
        left = {one.path for one in kept}
        items, orphans = grouped(found for found in incoming if found.path not in left)
        kept += [Kept(found.path, "no file that it belongs to is beside it") for found in orphans]
        known = self._known(there, {found.size for found, _ in items})
        hashes = {}
        for read in self._read("reading", [found for found, _ in items]):
            if read.hash is None:
                kept.append(Kept(read.found.path, read.problem or "it could not be read"))
            else:
                hashes[read.found] = read.hash
        return self._named(items, hashes, known), kept

    def _unready(self, found: Found, now: float) -> str | None:
        """Why a file is left for next time."""
        if _UNFINISHED.search(os.path.basename(found.path)):
            return "its name is that of an unfinished or hidden file"
        # Times far in the future are those of a camera whose clock is wrong.
        if any(abs(now - time_ns / 1e9) < self._settle for time_ns in (found.mtime_ns, found.ctime_ns)):
            return "it changed a moment ago: left for next time"
        try:
            fd = open_unnoticed(found.path)
        except OSError as error:
            return error.strerror or str(error)
        try:
            return "a program has it open for writing: left for next time" if is_written(fd) else None
        finally:
            os.close(fd)

    def _known(self, there: Sequence[Found], sizes: set[int]) -> dict[bytes, bytes]:
        """What the tree holds of these sizes: path by hash."""
        remembered = Remembered(self._contents, [self._to])
        known: dict[bytes, bytes] = {}
        lacking = []
        for found in there:
            if found.size in sizes:
                digest = remembered.holds(found)[1]
                known[digest or b""] = found.path
                if digest is None:
                    lacking.append(found)
        known.update({read.hash: read.found.path for read in self._read("comparing", lacking) if read.hash})
        known.pop(b"", None)
        return known

    def _read(self, what: str, files: Sequence[Found]) -> list[Read]:
        result = []
        total, done = sum(found.size for found in files), 0
        for batch in self._readers.read(files, "whole"):
            result += batch
            done += sum(read.amount for read in batch)
            if self._contents is not None:
                self._contents.store(entry for read in batch if (entry := read.entry()) is not None)
            if self._progressed:
                self._progressed(Progress(what, done, total, len(result), len(files)))
        return result

    def _named(
        self,
        items: Iterable[tuple[Found, tuple[Found, ...]]],
        hashes: Mapping[Found, bytes],
        known: dict[bytes, bytes],
    ) -> list[Item]:
        planned = []
        for found, sidecars in items:
            if (digest := hashes.get(found)) is None or self._stop.is_set():
                continue
            when = taken(found.path, found.mtime_ns)
            name = named(self._pattern, found.path, digest, when)
            # An empty file is nobody's copy.
            copy = (known.get(digest) or self._elsewhere(found, digest)) if found.size else None
            target = (self._to if copy is None else self._duplicates) + b"/" + name
            planned.append(Item(found, sidecars, digest, when, target, copy))
            if found.size and copy is None:
                known[digest] = target
        return planned

    def _elsewhere(self, incoming: Found, digest: bytes) -> bytes | None:
        """Another place that holds it, by the catalog and by what stands there now."""
        for entry in self._contents.with_hash(digest) if self._contents is not None else ():
            aside = is_below(entry.path, self._duplicates) or is_below(entry.path, os.path.dirname(incoming.path))
            if aside or entry.path == incoming.path:
                continue
            try:
                now = found_at(entry.path)
            except OSError:
                continue
            if (now.size, now.mtime_ns) == (entry.size, entry.mtime_ns) and now.ino != incoming.ino:
                return entry.path
        return None

    def carry_out(
        self,
        items: Sequence[Item],
        mover: Mover,
        moved: Callable[[bytes, Found, bytes], None] = lambda _old, _now, _hash: None,
    ) -> Ingested:
        """Move these. `moved` hears of each file: its old path, what it is now, its hash."""
        result = Ingested([], [], True)
        for number, item in enumerate(items):
            if self._stop.is_set():
                return result._replace(whole=False)
            try:
                now = self._move(item, mover, moved)
            except OSError as error:
                result.kept.append(Kept(item.found.path, error.strerror or str(error)))
                continue
            result.moved.append((item, now))
            if self._progressed:
                self._progressed(Progress("moving", 0, 0, number + 1, len(items)))
        return result

    def _move(self, item: Item, mover: Mover, moved: Callable[[bytes, Found, bytes], None]) -> Found:
        for sidecar in item.sidecars:
            read = self._read("reading", [sidecar])[0]
            if read.hash is None:
                raise OSError(0, f"its sidecar: {read.problem}")
            moved(sidecar.path, mover.move(sidecar, item.sidecar_target(sidecar), read.hash), read.hash)
        now = mover.move(item.found, item.target, item.hash)
        moved(item.found.path, now, item.hash)
        if self._contents is not None:
            self._contents.media.tell_taken(item.hash, item.taken.when.isoformat(), item.taken.source)
        return now
