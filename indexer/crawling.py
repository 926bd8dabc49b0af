"""The crawl of contents: every file of some trees, hashed once, and again only where it may have changed.

What was read is told to the catalog every second or two, so a crawl that was broken off, however, goes on there. A
name is forgotten only when its directory was read and does not have it; a tree that is suddenly empty because its
disk is not mounted is refused. Files of a sealed volume (a folder of digits with `index.json` and without `UNBURNED`)
are believed by path, size and mtime, as they come back from other disks with other inodes; a share of them, those
not read for longest, is read at each crawl, and one that reads differently is damaged, never an update.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from indexer.contents import Contents, CrawledTree, Entry
from indexer.duplicates import Progress
from indexer.excluding import Excluded
from indexer.finding import Found, TreeError, Unreadable, find, is_below
from indexer.markers import folder_of, sealed
from indexer.reading import Read, Readers
from indexer.remembered import Remembered, Verdict, judge, signed

# Of a sealed volume, read again at each crawl: this share of its files, at least one.
SAMPLE = 0.01
_STORE_SECONDS = 1.5


class Crawled(NamedTuple):
    """What a crawl did. Counts of files: found, known without reading, read, renamed, forgotten; bytes of both kinds.

    `skipped`: trees that were crawled recently enough. `damaged`: reads that differ though nothing should have
    changed them. `whole`: not stopped.
    """

    files: int
    size: int
    known: int
    read: int
    read_size: int
    renamed: int
    gone: int
    skipped: list[bytes]
    damaged: list[bytes]
    problems: list[Unreadable]
    whole: bool


class Crawler:
    """One crawl of some trees."""

    def __init__(
        self,
        contents: Contents,
        *,
        stop: threading.Event | None = None,
        progressed: Callable[[Progress], None] | None = None,
        readers: int | None = None,
        sample: float = SAMPLE,
        excluded: Excluded | None = None,
    ) -> None:
        """`sample`: share of a sealed volume that is read again, 0..1. `readers`: threads for each device.

        What is `excluded` is not looked at, and what is known of it stays known.
        """
        self._contents = contents
        self._stop = stop or threading.Event()
        self._progressed = progressed
        self._readers = Readers(self._stop, readers)
        self._sample = sample
        self._excluded = excluded or Excluded((), ())
        self._kept: list[Entry] = []
        self._stored = time.monotonic()
        self._damaged: list[bytes] = []
        self._problems: list[Unreadable] = []
        self._read = self._read_size = self._renamed = self._gone = 0

    def run(self, trees: Sequence[bytes], *, max_age: float | None = None) -> Crawled:
        """Crawl these real paths; those crawled whole less than `max_age` seconds ago are believed as they are.

        TreeError where a tree is not what it was, ContentsError.
        """
        skipped = [tree for tree in trees if max_age is not None and self._is_recent(tree, max_age)]
        files = size = known = 0
        for tree in trees:
            if tree in skipped or self._stop.is_set():
                continue
            began, own = time.time_ns(), os.stat(tree)
            found = find(
                [tree], stop=self._stop, told=self._told, excluded=self._excluded.itself if self._excluded else None
            )
            self._refuse_vanished(tree, own, found.files)
            files += len(found.files)
            size += sum(one.size for one in found.files)
            known += self._tree(tree, found.files, found.unreadable)
            if not self._stop.is_set():
                total = sum(one.size for one in found.files)
                self._contents.crawled(CrawledTree(tree, own.st_dev, own.st_ino, began, len(found.files), total))
        return Crawled(
            files, size, known, self._read, self._read_size, self._renamed, self._gone, skipped, self._damaged,
            self._problems, not self._stop.is_set(),
        )  # fmt: skip

    def _told(self, count: int) -> None:
        if self._progressed:
            self._progressed(Progress("finding files", 0, 0, count, 0))

    def _is_recent(self, tree: bytes, max_age: float) -> bool:
        own = os.stat(tree)
        return any(
            (known.path, known.dev, known.ino) == (tree, own.st_dev, own.st_ino)
            and 0 <= time.time_ns() - known.crawled_ns <= max_age * 1e9
            for known in self._contents.trees()
        )

    def _refuse_vanished(self, tree: bytes, own: os.stat_result, files: Sequence[Found]) -> None:
        """TreeError where the disk of `tree`, which was `own` at first, is not mounted, or is not any more."""
        now = os.stat(tree)
        if (now.st_dev, now.st_ino) != (own.st_dev, own.st_ino):
            raise TreeError(f"{os.fsdecode(tree)} became another folder while it was crawled. Mount its disk again.")
        for known in self._contents.trees():
            changed = (known.dev, known.ino) != (own.st_dev, own.st_ino)
            if known.path == tree and changed and not files and known.files:
                name = os.fsdecode(tree)
                raise TreeError(
                    f"{name} is empty, and not the folder that was crawled before: its disk is not mounted? Nothing "
                    f"was forgotten. Mount it; if it is meant to be empty, crawl the folder above it."
                )

    def _tree(self, tree: bytes, files: list[Found], unreadable: list[Unreadable]) -> int:
        """Bring what is known of `tree` up to date; how many files needed no reading."""
        rows = {entry.path: entry for entry in self._contents.files(tree)}
        known = Remembered(self._contents, [tree])
        volumes = sealed(files)
        lacking: list[Found] = []
        maybe: dict[int, tuple[Found, Entry]] = {}
        sampled: dict[bytes, list[tuple[Found, Entry]]] = {}
        for found in files:
            row = rows.get(found.path)
            ends, digest = known.holds(found)
            folder = folder_of(found.path, volumes)
            if folder is not None and row and row.hash and (row.size, row.mtime_ns) == (found.size, found.mtime_ns):
                # Not noted under its new inode, which only a reading may do.
                sampled.setdefault(folder, []).append((found, row))
            elif digest is not None:
                self._hold(found, row, ends, digest)
            elif (moved := self._moved(known, found)) is None:
                lacking.append(found)
            elif moved[0] is Verdict.HOLDS:
                self._rename(found, moved[1])
            else:
                maybe[id(found)] = (found, moved[1])
        lacking += self._look_at_ends(maybe)
        self._look(lacking, rows)
        self._look_at_sample(sampled)
        self._flush()
        self._problems += unreadable
        if not self._stop.is_set():
            self._forget(rows, files, unreadable)
        return len(files) - len(lacking)

    def _hold(self, found: Found, row: Entry | None, ends: bytes | None, digest: bytes) -> None:
        """Nothing is read; note what may have changed beside the content, or the path of a folder above."""
        if row is not None and row[:7] == (*found[:2], signed(found.ino), *found[3:]) and row.hash is not None:
            return
        self._keep(Entry.of(found, ends, digest, row.read_ns if row and row.hash else time.time_ns()))
        if row is None and found.nlink == 1:
            self._renamed += 1

    def _moved(self, known: Remembered, found: Found) -> tuple[Verdict, Entry] | None:
        """The best of what is known of this inode elsewhere, or by this path before its links changed."""
        for entry in known.candidates(found):
            return judge(entry, found), entry
        return None

    def _rename(self, found: Found, known: Entry) -> None:
        self._keep(Entry.of(found, known.ends, known.hash, known.read_ns))
        if known.path != found.path and not os.path.lexists(known.path):
            self._renamed += 1
            if known.path != found.path:
                self._contents.forget([known.path])

    def _look_at_ends(self, maybe: dict[int, tuple[Found, Entry]]) -> list[Found]:
        """Those of `maybe` whose ends are not what they were, and have to be read whole."""
        lacking = []
        for batch in self._readers.read([found for found, _ in maybe.values()], "ends"):
            for read in batch:
                found, known = maybe[id(read.found)]
                if read.problem is None and read.ends is not None and read.ends == known.ends:
                    self._rename(found, known)
                else:
                    lacking.append(found)
        return lacking

    def _look(self, files: list[Found], rows: dict[bytes, Entry]) -> None:
        total = sum(found.size for found in files)
        number = done = 0
        for batch in self._readers.read(files, "whole"):
            for read in batch:
                self._note(read, rows.get(read.found.path))
                done += read.amount
            number += len(batch)
            self._flush_sometimes()
            if self._progressed:
                self._progressed(Progress("reading", done, total, number, len(files)))
        self._read += number
        self._read_size += done

    def _note(self, read: Read, before: Entry | None) -> None:
        if read.problem is not None:
            self._problems.append(Unreadable(read.found.path, read.problem))
            return
        found = read.found
        if before and before.hash not in (None, read.hash) and before[3:5] == found[3:5] and before.ino == found.ino:
            # Size and mtime as they were, other bytes: no program that writes leaves that.
            self._damaged.append(found.path)
        if (entry := read.entry()) is not None:
            self._keep(entry)

    def _look_at_sample(self, sampled: dict[bytes, list[tuple[Found, Entry]]]) -> None:
        """Read a share of each sealed volume again, and tell of what is not as it was recorded."""
        for files in sampled.values():
            count = max(1, round(len(files) * self._sample)) if self._sample else 0
            oldest = sorted(files, key=lambda pair: pair[1].read_ns or 0)[:count]
            known = {found.path: entry for found, entry in oldest}
            for batch in self._readers.read([found for found, _ in oldest], "whole"):
                for read in batch:
                    self._note_sample(read, known[read.found.path])

    def _note_sample(self, read: Read, known: Entry) -> None:
        if read.problem is not None:
            self._problems.append(Unreadable(read.found.path, read.problem))
        elif read.hash != known.hash:
            self._damaged.append(read.found.path)
        else:
            self._keep(Entry.of(read.found, read.ends, read.hash, read.began_ns))

    def _keep(self, entry: Entry) -> None:
        self._kept.append(entry)

    def _flush_sometimes(self) -> None:
        if time.monotonic() - self._stored > _STORE_SECONDS:
            self._flush()

    def _flush(self) -> None:
        if self._kept:
            self._contents.store(self._kept)
            self._kept = []
        self._stored = time.monotonic()

    def _forget(self, rows: Mapping[bytes, Entry], files: Iterable[Found], unreadable: Sequence[Unreadable]) -> None:
        there = {found.path for found in files}
        absent = [path for path in rows if path not in there and not self._excluded.covers(path)]
        gone = [path for path in absent if not any(is_below(path, one.path) for one in unreadable)]
        bare: dict[bytes, int | None] = {}
        gone = [path for path in gone if _bare_device(os.path.dirname(path), bare) in (None, rows[path].dev)]
        self._contents.forget(gone)
        self._gone += len(gone)


def _bare_device(folder: bytes, known: dict[bytes, int | None]) -> int | None:
    """The device of `folder`, or of the nearest above that is there, if that is empty; else None.

    An empty folder on another device than its files were on is a mount point without its disk.
    """
    if folder not in known:
        try:
            with os.scandir(folder) as entries:
                known[folder] = None if any(entries) else os.stat(folder).st_dev
        except (FileNotFoundError, NotADirectoryError):
            known[folder] = _bare_device(os.path.dirname(folder), known)
        except OSError:
            known[folder] = None
    return known[folder]
