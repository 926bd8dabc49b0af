"""The stat-only crawl: looks at each directory of a drive and records what it finds in the catalog.

A directory whose own times did not change still holds files whose size and times may have, because those do not
touch the directory. So every name is asked again each time, and only differences are written: a walk over an
unchanged tree costs system calls and one row per directory, no more. A walk that was broken off is taken up where it
was if that is recent enough; directories it had completed are not looked at again.

Looks are collected and written together, some thousand names or two seconds at a time, so that a commit, which
waits for stable storage, is paid for few times.
"""

import errno
import logging
import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping
from typing import NamedTuple, Protocol

from indexer.catalog import Catalog, Known
from indexer.look import WantsBirth, look, wide
from indexer.tree import Directory, File, Listing, Tree, joined
from indexer.treewriter import TreeWriter
from placement import system as os
from placement.drive import Drive

log = logging.getLogger(__name__)

Progressed = Callable[["Progress"], None]

# What is looked at is written at the latest after so many names, or seconds.
_ROWS = 5000
_SECONDS = 2.0
# A walk that began longer ago is not taken up but begun anew, by default: a day, in seconds.
RESUMABLE = 86_400.0
_GONE = (errno.ENOENT, errno.ENOTDIR)
_FORBIDDEN = (errno.EACCES, errno.EPERM)


class Watch(Protocol):
    """Hears of every look, see `indexer.marks.Marks`, which is one."""

    def looking(self, number: int, path: str) -> Container[bytes]:
        """A look begins; answers below which names nothing recorded may be believed."""
        ...

    def looked(self, number: int, listings: Iterable[Listing]) -> None:
        """What these looks found is recorded."""
        ...

    def gone(self, number: int, path: str) -> None:
        """There is no such directory, and nothing recorded below it any more."""
        ...

    def given_up(self, number: int, path: str) -> None:
        """The look failed, nothing was recorded."""
        ...

    def changed(self, number: int, path: str, file: bool = False) -> None:
        """A look found out that the record of this other name is outdated."""
        ...


class _Unwatched:
    """For a crawl while nothing is mounted: nobody asks, and nothing changes unseen."""

    def looking(self, _number: int, _path: str) -> Container[bytes]:
        return ()

    def looked(self, _number: int, _listings: Iterable[Listing]) -> None:
        return None

    def gone(self, _number: int, _path: str) -> None:
        return None

    given_up = gone

    def changed(self, _number: int, _path: str, file: bool = False) -> None:
        return None


UNWATCHED: Watch = _Unwatched()


class Progress(NamedTuple):
    """How far a crawl is: directories and other names looked at, directories that could not be read, and seconds.

    `expected`: how many names, directories included, the whole drive had at the last walk; None before that.
    """

    directories: int
    entries: int
    unreadable: int
    seconds: float
    expected: int | None

    @property
    def rate(self) -> float:
        """Names per second."""
        return (self.directories + self.entries) / self.seconds if self.seconds else 0.0

    @property
    def left(self) -> float | None:
        """Seconds left, None if that cannot be told."""
        if self.expected is None or not self.rate:
            return None
        return max(0.0, self.expected - self.directories - self.entries) / self.rate


class Crawl:
    """Looks at directories of one drive, one `step` at a time. For one thread.

    Either at all of them (`Crawl.whole`), or at some and at what is new in them (`Crawl.again`). It may be dropped
    between two steps, after a `flush`.
    """

    def __init__(self, catalog: Catalog, drive: Drive, watch: Watch, wants_birth: WantsBirth) -> None:
        """For `whole` and `again`."""
        self._catalog = catalog
        self._drive = drive
        self._watch = watch
        self._wants_birth = wants_birth
        self._whole = False
        self._began_ns = 0
        self._walk = 0
        self._todo: list[str] = []
        self._places: dict[str, Directory] = {}
        self._looked: list[tuple[Listing, Container[bytes]]] = []
        self._rows = 0
        self._since = 0.0
        self._clock = time.monotonic()
        self._progress = Progress(0, 0, 0, 0.0, None)

    @classmethod
    def whole(
        cls,
        catalog: Catalog,
        drive: Drive,
        watch: Watch = UNWATCHED,
        *,
        wants_birth: WantsBirth = wide,
        resumable: float = RESUMABLE,
    ) -> "Crawl":
        """A crawl of the whole drive; goes on with a broken-off one that began at most `resumable` seconds ago.

        OSError if the drive is missing, CatalogError.
        """
        crawl = cls(catalog, drive, watch, wants_birth)
        root = drive.require()
        with root.parent("") as (fd, name):
            own = Known.of(os.stat(name, dir_fd=fd, follow_symlinks=False))
        now = time.time_ns()
        with catalog.writing() as connection:
            tree = TreeWriter(connection, drive.number)
            tree.adopt(drive.id)
            crawl._places[""] = tree.make_root(own)
            last = tree.walk()
            began, number = last.began_ns, last.number
            if began is None or not now - resumable * 1e9 <= began <= now:
                began, number = now, number + 1
                tree.set_walk(walk=number, walk_ns=now)
        crawl._whole, crawl._began_ns, crawl._walk, crawl._todo = True, began, number, [""]
        crawl._progress = crawl._progress._replace(expected=last.entries)
        return crawl

    @classmethod
    def again(
        cls, catalog: Catalog, drive: Drive, paths: Iterable[str], watch: Watch, *, wants_birth: WantsBirth = wide
    ) -> "Crawl":
        """A crawl of these directories, in this order, and below names that were not recorded in them."""
        crawl = cls(catalog, drive, watch, wants_birth)
        crawl._todo = [*paths][::-1]
        return crawl

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return self._progress._replace(seconds=time.monotonic() - self._clock)

    def step(self, stop: threading.Event | None = None) -> bool:
        """Look at one more directory; False when all is done and recorded.

        OSError if the drive is missing: step again when it is back. CatalogError: drop this crawl and begin another,
        which goes on where the catalog is.
        """
        if not self._todo:
            self.flush()
        if not self._todo:
            return self._finish()
        path = self._todo.pop()
        try:
            if not self._skip(path) and not self._look(path, stop):
                self._todo.append(path)
        except BaseException:
            self._todo.append(path)
            raise
        if self._rows >= _ROWS or (self._looked and time.monotonic() - self._since > _SECONDS):
            self.flush()
        return True

    def flush(self) -> None:
        """Record what was looked at so far. CatalogError: see `step`."""
        looked, self._looked, self._rows = self._looked, [], 0
        if not looked:
            return
        number = self._drive.number
        try:
            with self._catalog.writing() as connection:
                tree = TreeWriter(connection, number)
                touched: dict[File, Known | None] = {}
                recorded = [listing for listing, moved in looked if self._store(tree, listing, moved, touched)]
                self._report(tree, touched)
        except BaseException:
            for listing, _ in looked:
                self._watch.given_up(number, listing.path)
            raise
        self._watch.looked(number, recorded)
        for path in {listing.path for listing, _ in looked} - {listing.path for listing in recorded}:
            self._watch.gone(number, path)

    def _skip(self, path: str) -> bool:
        """Whether `path` needs no look, being recorded since this walk began, or not being recorded at all."""
        place = self._places.get(path)
        if self._whole:
            if place is None or place.complete_ns is None or place.walk != self._walk:
                return False
            with self._catalog.reading() as connection:
                children = Tree(connection, self._drive.number).directories(place.id)
            del self._places[path]
            self._go_into(path, children, children)
            return True
        if place is None:
            with self._catalog.reading() as connection:
                place = Tree(connection, self._drive.number).find(path)
        if place is None:
            self._watch.looking(self._drive.number, path)
            self._forget(path)
            return True
        self._places[path] = place
        return False

    def _look(self, path: str, stop: threading.Event | None) -> bool:
        """Look at `path` and keep what is found for `flush`; False if `stop` was set meanwhile."""
        root = self._drive.require()
        moved = self._watch.looking(self._drive.number, path)
        try:
            listing = look(root, path, stop, self._wants_birth)
        except OSError as error:
            self._failed(path, error)
            return True
        except BaseException:
            self._watch.given_up(self._drive.number, path)
            raise
        if listing is None:
            self._watch.given_up(self._drive.number, path)
            return False
        if self._whole:
            self._todo += [joined(path, os.fsdecode(name)) for name in reversed(listing.directories)]
        if not self._looked:
            self._since = time.monotonic()
        self._looked.append((listing, moved))
        self._rows += len(listing.files) + len(listing.directories) + 1
        done = self._progress
        self._progress = done._replace(directories=done.directories + 1, entries=done.entries + len(listing.files))
        return True

    def _failed(self, path: str, error: OSError) -> None:
        """Go on without `path`, if it is not the drive that failed."""
        number = self._drive.number
        forbidden = error.errno in _FORBIDDEN
        # A drive that is going may answer anything, also that what it held is not there.
        if not path or not (forbidden or self._drive.check()):
            self._watch.given_up(number, path)
            raise error
        if error.errno in _GONE:
            self._forget(path)
            return
        self._watch.given_up(number, path)
        log.info("drive %r: %r is left out of the catalog: %s", self._drive.name, path, error.strerror)
        self._progress = self._progress._replace(unreadable=self._progress.unreadable + 1)

    def _forget(self, path: str) -> None:
        """Believe nothing below `path`, which is not there, or not where it is recorded."""
        number = self._drive.number
        try:
            self.flush()
            with self._catalog.writing() as connection:
                tree = TreeWriter(connection, number)
                place = tree.find(path)
                if place is not None:
                    self._report(tree, tree.forget_contents(place))
                self._look_above(tree, path)
        except BaseException:
            self._watch.given_up(number, path)
            raise
        self._watch.gone(number, path)

    def _store(
        self, tree: TreeWriter, listing: Listing, moved: Container[bytes], touched: dict[File, Known | None]
    ) -> bool:
        """Record one listing, add to `touched`; False if its directory is not recorded any more."""
        path = listing.path
        place = self._places.pop(path, None)
        stored = tree.store(place, listing, moved) if place else None
        if stored is None:
            place = tree.find(path)
            stored = tree.store(place, listing, moved) if place else None
        if stored is None:
            self._look_above(tree, path)
            return False
        touched.update({file: now for file, now in stored.touched.items() if now or file not in touched})
        if self._whole:
            self._places.update((joined(path, os.fsdecode(name)), child) for name, child in stored.children.items())
        else:
            self._go_into(path, stored.children, stored.new)
        return True

    def _go_into(self, path: str, children: Mapping[bytes, Directory], names: Iterable[bytes]) -> None:
        for name in names:
            child = joined(path, os.fsdecode(name))
            self._places[child] = children[name]
            self._todo.append(child)

    def _report(self, tree: TreeWriter, touched: Mapping[File, Known | None]) -> None:
        """Before the commit, so that a crash does not lose it: say which other names have to be looked at again."""
        for other in tree.outdated(touched):
            self._watch.changed(self._drive.number, other, file=True)

    def _look_above(self, tree: Tree, path: str) -> None:
        """Have the nearest directory above looked at again that is recorded and is wrong about `path`."""
        while path:
            parent, _, name = path.rpartition("/")
            place = tree.find(parent)
            if place is not None:
                if place.complete_ns is not None:
                    self._watch.changed(self._drive.number, path)
                return
            path = parent

    def _finish(self) -> bool:
        if self._whole:
            with self._catalog.writing() as connection:
                tree = TreeWriter(connection, self._drive.number)
                tree.set_walk(walk_ns=None, walked_ns=self._began_ns, entries=tree.count())
            self._whole = False
        return False


def crawl(
    catalog: Catalog,
    drive: Drive,
    *,
    watch: Watch = UNWATCHED,
    stop: threading.Event | None = None,
    progressed: Progressed | None = None,
    pause: float = 0.0,
    wants_birth: WantsBirth = wide,
    resumable: float = RESUMABLE,
) -> Progress:
    """Crawl a whole drive now; `pause` seconds between directories are left to others.

    Ends early, with all that was looked at recorded, when `stop` is set. `progressed` hears of each directory.
    OSError if the drive is missing, CatalogError.
    """
    stop = stop or threading.Event()
    walk = Crawl.whole(catalog, drive, watch, wants_birth=wants_birth, resumable=resumable)
    try:
        while not stop.is_set() and walk.step(stop):
            if progressed is not None:
                progressed(walk.progress)
            if pause:
                stop.wait(pause)
    finally:
        walk.flush()
    return walk.progress
