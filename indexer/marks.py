"""What the catalog says that may not be true any more: marks on names that changed since they were looked at.

A mark says "whatever is recorded of this name, and below it, may be wrong". It is made before a change is carried
out, is taken away after a look that began later is in the catalog, and survives a crash: the journal is a file that
is only appended to, so a mark costs a few microseconds, waits for no database, and is in the hands of the kernel
when `changed` returns. A power failure can lose the marks of the last seconds. Marks are only taken away after the
catalog's commit reached stable storage, so every other loss makes names uncertain, never wrongly certain.

Directories are marked name by name, so one busy download does not make its neighbours unknown. What is only the
change of a file is one record per directory in the journal, not one per file: after a crash all *files* of that
directory are uncertain, its subdirectories are not.

Lock order: `Marks._lock` is a leaf, held for memory and an append to the journal. `changed` takes it only for a name
that has no mark yet.
"""

import os
import threading
import time
from collections.abc import Container, Iterable, Iterator

from indexer.journal import ALL_OF, CLEAN, FILES_OF, FORGET, MOVED, NAME, Journal, Record
from indexer.tree import Listing, joined
from placement.identity import FOLDER as HIDDEN

# What is marked in a directory: the names listed alone, all that are no directories, every name.
_NAMED, _FILES, _ALL = 0, 1, 2
# From this many marked names on, a directory is marked as a whole.
_MANY = 10_000
# A directory that keeps changing is looked at less and less often, at least every so many seconds.
_LONGEST_WAIT = 300.0


class _Marked:
    """What is marked in one directory. `since`: monotonic seconds of the first mark; `wait`: seconds to the next look.

    `files` changed as files, `names` as whatever they are, `moved` among these came or went with all below them.
    `noted`: the journal says that files of this directory changed.
    """

    __slots__ = ("files", "level", "moved", "names", "noted", "since", "wait")

    def __init__(self, wait: float) -> None:
        self.files: set[str] = set()
        self.names: set[str] = set()
        self.moved: set[str] = set()
        self.level = _NAMED
        self.noted = False
        self.since = time.monotonic()
        self.wait = wait

    def covers(self, name: str, is_dir: bool) -> bool:
        """Whether what is recorded under `name` (a directory or not) is uncertain."""
        return name in self.files or name in self.names or self.level > (_FILES if is_dir else _NAMED)

    def merge(self, older: "_Marked") -> None:
        self.files |= older.files
        self.names |= older.names
        self.moved |= older.moved
        self.level = max(self.level, older.level)
        self.noted = self.noted or older.noted
        self.since = min(self.since, older.since)

    def records(self, number: int, path: str) -> Iterator[Record]:
        if self.level == _ALL:
            yield ALL_OF, number, path
            return
        if self.files or self.level == _FILES:
            yield FILES_OF, number, path
        for name in self.names:
            yield MOVED if name in self.moved else NAME, number, joined(path, name)


class _Everything:
    """Contains every name."""

    def __contains__(self, _name: object) -> bool:
        return True


class _DriveMarks:
    """The marks of one drive: `dirty` by directory, and in `looking` those a look under way will take away. `writing`
    counts handles by st_ino; `written` are those whose last was closed while a look was under way."""

    __slots__ = ("dirty", "looking", "version", "writing", "written")

    def __init__(self) -> None:
        self.dirty: dict[str, _Marked] = {}
        self.looking: dict[str, _Marked | None] = {}
        self.writing: dict[int, int] = {}
        self.written: set[int] = set()
        self.version = 0

    def at(self, path: str) -> Iterator[_Marked]:
        """All marks that count in directory `path`."""
        for marked in (self.dirty.get(path), self.looking.get(path)):
            if marked is not None:
                yield marked


class Marks:
    """The marks of all drives. Thread-safe. Paths are relative to the root of their drive, "" is the root.

    Changes are reported by `changed`, `renamed`, `writing` and `written`; whoever looks at directories reports
    `looking`, then one of `looked`, `gone` and `given_up`, from one thread per drive. No method raises.
    """

    def __init__(self, journal: Journal, records: Iterable[Record], quiet: float) -> None:
        """`records`: what the journal held; `quiet`: seconds from the first mark in a directory until it is `due`."""
        self._journal = journal
        self.quiet = quiet
        self._lock = threading.Lock()
        self._drives: dict[int, _DriveMarks] = {}
        self._nothing = _DriveMarks()
        for what, number, path in records:
            self._replay(what, number, path)
        self._rewrite()

    def close(self) -> None:
        """Write the journal anew, without what is obsolete, and close it."""
        with self._lock:
            self._rewrite()
            self._journal.close()

    # Changes.

    def changed(self, number: int, path: str, file: bool = False) -> None:
        """The name `path` is being changed: made, removed, its attributes or content. See `KnownFiles.changed`."""
        parent, _, name = path.rpartition("/")
        marked = self._drives.get(number, self._nothing).dirty.get(parent)
        if marked is None or not (
            name in marked.names or (file and (name in marked.files or marked.level)) or marked.level == _ALL
        ):
            self._mark(number, parent, name, file, False)

    def renamed(self, number: int, old: str, new: str) -> None:
        """What is at `old` is being moved to `new` with all below it, or exchanged with it."""
        for path in (old, new):
            parent, _, name = path.rpartition("/")
            self._mark(number, parent, name, False, True)

    def writing(self, number: int, path: str, ino: int) -> None:
        """The file with that st_ino is open for writing: uncertain under every name until `written`."""
        with self._lock:
            writing = self._of(number).writing
            writing[ino] = writing.get(ino, 0) + 1
        self.changed(number, path, file=True)

    def written(self, number: int, ino: int) -> None:
        """One handle less writes to that file."""
        with self._lock:
            drive = self._of(number)
            drive.writing[ino] = drive.writing.get(ino, 1) - 1
            if not drive.writing[ino]:
                del drive.writing[ino]
                if drive.looking:
                    drive.written.add(ino)

    def forget(self, number: int) -> None:
        """Drop all marks of a drive of which nothing is recorded any more."""
        with self._lock:
            drive = self._of(number)
            drive.dirty.clear()
            drive.version += 1
            self._journal.append(FORGET, number, "")

    # Looks.

    def looking(self, number: int, path: str) -> Container[bytes]:
        """A look at a directory begins. Answers under which names nothing recorded may be believed afterwards."""
        with self._lock:
            drive = self._of(number)
            marked = drive.dirty.get(path)
            dropped = drive.looking.get(path)
            if dropped is not None:
                # An earlier look was never reported to have ended.
                marked = marked or _Marked(self.quiet)
                marked.merge(dropped)
            drive.looking[path] = marked
            drive.dirty.pop(path, None)
            if marked is None:
                return ()
            return _Everything() if marked.level == _ALL else {os.fsencode(name) for name in marked.moved}

    def looked(self, number: int, listings: Iterable[Listing]) -> None:
        """What these looks found is in the catalog for good: take away the marks made before them."""
        with self._lock:
            drive = self._of(number)
            for listing in listings:
                self._take_away(number, drive, listing)
            drive.version += 1
            self._look_ended(drive)
            if self._journal.wants_rewrite:
                self._rewrite()

    def gone(self, number: int, path: str) -> None:
        """There was no such directory, and nothing is recorded below that path any more."""
        with self._lock:
            drive = self._of(number)
            drive.looking.pop(path, None)
            if path not in drive.dirty:
                self._journal.append(CLEAN, number, path)
            drive.version += 1
            self._look_ended(drive)

    def given_up(self, number: int, path: str) -> None:
        """The look failed: everything is as uncertain as before."""
        with self._lock:
            drive = self._of(number)
            older = drive.looking.get(path)
            if older is not None:
                marked = drive.dirty.setdefault(path, older)
                if marked is not older:
                    marked.merge(older)
                self._put_off(marked, older.wait)
            drive.looking.pop(path, None)
            self._look_ended(drive)

    # Questions.

    def certain(self, number: int, parent: str, name: str, is_dir: bool) -> bool:
        """Whether the record of `name` in directory `parent`, or that there is none, is up to date."""
        with self._lock:
            return not any(marked.covers(name, is_dir) for marked in self._get(number).at(parent))

    def clean(self, number: int, path: str) -> bool:
        """Whether nothing in directory `path` is marked."""
        with self._lock:
            return next(self._get(number).at(path), None) is None

    def any(self, number: int) -> bool:
        """Whether anything on the drive is marked."""
        with self._lock:
            drive = self._get(number)
            return bool(drive.dirty or drive.writing or any(drive.looking.values()))

    def is_writing(self, number: int, ino: int) -> bool:
        """Whether the file is open for writing."""
        return ino in self._get(number).writing

    def version(self, number: int) -> int:
        """A number that grows whenever marks were taken away."""
        return self._get(number).version

    def due(self, number: int) -> list[str]:
        """The directories that should be looked at again by now, parents first."""
        now = time.monotonic()
        with self._lock:
            dirty = self._get(number).dirty
            return sorted(path for path, marked in dirty.items() if now - marked.since >= marked.wait)

    def count(self, number: int) -> int:
        """How many directories have marks."""
        with self._lock:
            drive = self._get(number)
            return len(drive.dirty.keys() | {path for path, marked in drive.looking.items() if marked is not None})

    # Below: only with the lock, except where a method takes it itself.

    def _of(self, number: int) -> _DriveMarks:
        return self._drives.setdefault(number, _DriveMarks())

    def _get(self, number: int) -> _DriveMarks:
        return self._drives.get(number, self._nothing)

    def _mark(self, number: int, parent: str, name: str, file: bool, moved: bool) -> None:
        if parent == HIDDEN or parent.startswith(HIDDEN + "/"):
            return
        with self._lock:
            self._add(number, parent, name, file, moved)

    def _add(self, number: int, parent: str, name: str, file: bool, moved: bool) -> None:
        dirty = self._of(number).dirty
        marked = dirty.get(parent) or _Marked(self.quiet)
        if file:
            if not marked.noted:
                marked.noted = True
                self._journal.append(FILES_OF, number, parent)
            marked.files.add(name)
        elif name not in (marked.moved if moved else marked.names):
            self._journal.append(MOVED if moved else NAME, number, joined(parent, name))
            marked.names.add(name)
            if moved:
                marked.moved.add(name)
        if len(marked.files) > _MANY:
            marked.files, marked.level = set(), max(marked.level, _FILES)
        if len(marked.names) > _MANY and marked.level < _ALL:
            marked.level = _ALL
            self._journal.append(ALL_OF, number, parent)
        # Only now may the quick way through `changed` find it.
        dirty[parent] = marked

    def _take_away(self, number: int, drive: _DriveMarks, listing: Listing) -> None:
        path = listing.path
        older = drive.looking.pop(path, None)
        if drive.writing or drive.written:
            for name, known in listing.files.items():
                if known.ino in drive.writing or known.ino in drive.written:
                    self._add(number, path, os.fsdecode(name), True, False)
        marked = drive.dirty.get(path)
        if marked is not None and older is not None:
            self._put_off(marked, older.wait)
        elif older is not None:
            self._journal.append(CLEAN, number, path)

    def _look_ended(self, drive: _DriveMarks) -> None:
        if not drive.looking:
            drive.written.clear()

    def _put_off(self, marked: _Marked, waited: float) -> None:
        marked.since = time.monotonic()
        marked.wait = min(max(2 * waited, self.quiet), _LONGEST_WAIT)

    def _replay(self, what: str, number: int, path: str) -> None:
        dirty = self._of(number).dirty
        if what == FORGET:
            dirty.clear()
        elif what == CLEAN:
            dirty.pop(path, None)
        elif what in (FILES_OF, ALL_OF):
            marked = dirty.setdefault(path, _Marked(0))
            marked.level = max(marked.level, _FILES if what == FILES_OF else _ALL)
        else:
            parent, _, name = path.rpartition("/")
            marked = dirty.setdefault(parent, _Marked(0))
            marked.names.add(name)
            if what == MOVED:
                marked.moved.add(name)

    def _rewrite(self) -> None:
        records: list[Record] = []
        for number, drive in self._drives.items():
            for marks in (drive.dirty, drive.looking):
                for path, marked in marks.items():
                    if marked is not None:
                        records += marked.records(number, path)
                        marked.noted = bool(marked.files) or marked.level == _FILES
        self._journal.rewrite(records)
