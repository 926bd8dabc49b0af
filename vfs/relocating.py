"""The tree as the move engine sees it, and the way out when a drive is full while it is being written to.

A link group is never split: the file moves whole, with all its names, and whoever writes to it does not notice; or it
stays, and the writer gets the error of the drive.

Lock order: one file moves at a time (`_moving`); then, from the engine, path locks; then the gates of handles.
"""

import errno
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from threading import Event

from placement import moves
from placement import system as os
from placement.drive import Drive
from placement.eligible import measure
from placement.linkgroup import are_all_names, find_names, lstat
from placement.moves import Journal, Mover
from placement.relocation import Moved
from vfs.attr import Attr
from vfs.branch import Branch, error
from vfs.crashpoints import reach
from vfs.local import LocalBranch
from vfs.localhandle import LocalHandle, by_proc
from vfs.locks import PathLocks
from vfs.lookup import has_directory
from vfs.union import Place, Union

log = logging.getLogger(__name__)

# How often a file's names are locked anew because another one of its open handles lost its name meanwhile.
_TRIES = 8


class Relocating:
    """Moves files of the mounted tree between its drives. `placement.moves.LiveTree` for the engine."""

    def __init__(
        self,
        union: Union,
        drives: Sequence[LocalBranch],
        placement: Place,
        journal: Journal,
        min_free: int,
        others: Callable[[], Collection[str] | None] = tuple,
    ) -> None:
        """`min_free`: bytes the pool keeps free on each drive; `others` as for `Mover`.

        Takes over `make_room` of these drives.
        """
        self._union = union
        self._placement = placement
        self._min_free = min_free
        self._branches: dict[str, LocalBranch] = {}
        self._moving = PathLocks()
        # What an index knows of the names of a file: (number of the drive, st_ino); it may be wrong.
        self.known_names: Callable[[int, int], Sequence[str]] = lambda number, ino: ()
        # Of the moves that were asked for: the names of the file, what ends it, and who hears how far it is.
        self._names: dict[str, Sequence[str]] = {}
        self._asked: dict[str, Event] = {}
        self._progress: dict[str, Callable[[str, int, int], None]] = {}
        # How many files have left a drive because it was full, by its id.
        self._gone: Counter[str] = Counter()
        self._waiting: frozenset[str] = frozenset()
        self.mover = Mover(
            lambda: [branch.drive for branch in drives],
            journal,
            self,
            progress=self._tell_progress,
            on_step=_crash_point,
            min_free=min_free,
            others=others,
        )
        union.lookup.checks.append(self.check)
        for branch in drives:
            self.join(branch)

    def join(self, branch: LocalBranch) -> None:
        """A drive of the tree, from now on at the latest; `drives` has it too."""
        self._branches[branch.drive.id] = branch
        branch.make_room = self.make_room

    # At the start, and for paths that have to wait.

    def recover(self) -> None:
        """Finish or undo what was interrupted; what must wait for a drive blocks its paths. OSError."""
        touched = self._touched(self._waiting)
        _report(touched)
        recovered = self.mover.recover()
        self._waiting = frozenset(path for one in recovered if one.result == "waiting" for path in one.paths)
        _report([*touched, *self._touched({path for one in recovered for path in one.paths})])

    def waiting(self) -> list[str]:
        """Names of interrupted moves that wait for a drive."""
        return sorted(self._waiting)

    def check(self, path: str) -> None:
        """EIO while names of an interrupted move wait for a drive."""
        if path in self._waiting:
            self.recover()
            if path in self._waiting:
                raise OSError(errno.EIO, "an interrupted move of this file waits for a drive that is missing", path)

    # A drive is full.

    def make_room(self, handle: LocalHandle, full: LocalBranch, wanted: int, cause: OSError) -> None:
        """Move the file of `handle` from the drive that is `full` to one with room for `wanted` more bytes.

        Returns when writing may be tried again; raises `cause` if no drive takes the file.
        """
        if not moves.MOVES_HERE:
            raise cause
        # One file of a drive after the other: mostly the first that goes makes room for all the others.
        before, key = self._gone[full.drive.id], _key(full.drive, os.fstat(handle.fd).st_ino)
        if asked := self._asked.get(key):
            # It is on its way already, but perhaps slowly, and to a drive without room for what is being written.
            asked.set()
        with self._moving(full.drive.id, key):
            if handle.branch is not full or self._gone[full.drive.id] != before:
                return  # another writer of the file was first, or somebody else's file has gone
            path = _path_of(handle, full.drive)
            if path is None:
                raise cause
            for attempt, target in enumerate(self._targets(path, os.fstat(handle.fd).st_size, wanted, full.drive), 1):
                try:
                    moved = self.mover.move(full.drive, path, target, reserve=wanted)
                except OSError as refusal:
                    self._union.tell("moved", path, target, attempt, refusal.strerror or str(refusal), full.drive.name)
                    continue
                for name in moved.paths:
                    self._union.tell("moved", name, target, attempt, "", full.drive.name)
                self.note_waiting(moved)
                self._gone[full.drive.id] += 1
                return
            if before and cause.errno == errno.ENOSPC and handle.room() > wanted:
                return  # room was made in the moment before this was called
            log.warning("%s is full, and no other drive takes %s with %d bytes more", full.drive.name, path, wanted)
            raise cause

    # Moves that somebody asked for: what `placement.moving.Moving` describes.

    def move_file(
        self,
        drive: Drive,
        names: Sequence[str],
        target: Drive,
        *,
        cancel: Event,
        rate: int | None,
        attempt: int,
        progress: Callable[[str, int, int], None],
    ) -> Moved:
        """Move the file of these names; as `Mover.move`. A writer whose drive is full sets `cancel`."""
        key = _key(drive, _ino(drive, names[0]))
        with self._moving(key):
            self._names[key], self._asked[key] = names, cancel
            self._progress[names[0]] = progress
            try:
                moved = self.mover.move(drive, names[0], target, cancel=cancel, rate=rate)
            except OSError as cause:
                self._union.tell("moved", names[0], target, attempt, cause.strerror or str(cause), drive.name)
                raise
            finally:
                del self._names[key], self._asked[key], self._progress[names[0]]
        for name in moved.paths:
            self._union.tell("moved", name, target, attempt, "", drive.name)
        self.note_waiting(moved)
        return moved

    def _tell_progress(self, path: str, phase: str, done: int, size: int) -> None:
        hear = self._progress.get(path)
        if hear is not None:
            hear(phase, done, size)

    def busy(self, drive: Drive, path: str) -> str:
        """Why the file cannot be moved just now; "" if nothing is known against it."""
        handles = self._branches[drive.id].open_files.handles(_ino(drive, path))
        return "it is open, and the kernel uses it by itself" if any(handle.fixed for handle in handles) else ""

    def keep_folders(self, drive: Drive, folders: Sequence[str]) -> None:
        """Make those folders on other drives that only this one has."""
        for folder in folders:
            with self._union.locks(folder):
                having = [copy.branch for copy in self._union.lookup.copies(folder)]
                if not any(isinstance(one, LocalBranch) and one.drive.id != drive.id for one in having):
                    place = next(one for one in self._placement.place(folder) if one.id != drive.id)
                    self._union.make_parents(self._branches[place.id], f"{folder}/.")

    def note_waiting(self, moved: Moved) -> None:
        """Block the names of a move that could not be brought to its end, until the drive is back."""
        if moved.waiting:
            self._waiting |= frozenset(moved.paths)

    def _targets(self, path: str, size: int, wanted: int, full: Drive) -> list[Drive]:
        """Drives for the file, best first; those that it could double on before those it would soon fill too."""
        try:
            drives = [drive for drive in self._placement.place(path, size + wanted) if drive.id != full.id]
        except OSError as refusal:
            log.info("%s", refusal)
            return []
        return sorted(drives, key=lambda drive: not self._is_roomy(drive, 2 * size + wanted))

    def _is_roomy(self, drive: Drive, wanted: int) -> bool:
        try:
            return measure(drive, self._min_free).available >= wanted
        except OSError:
            return False

    # What the engine asks.

    def names_of(self, drive: Drive, ino: int) -> Sequence[str] | None:
        """Those that a walk over the drive found for the job under way, or the index knows, if that is all of them."""
        names = self._names.get(_key(drive, ino)) or self.known_names(drive.number, ino)
        return names if are_all_names(drive.require(), ino, names) else None

    @contextmanager
    def freeze(self, drive: Drive, ino: int, paths: Sequence[str]) -> Iterator[None]:
        """As `LiveTree.freeze`: the names and the folders above them are locked, open handles wait."""
        branch = self._branches[drive.id]
        with ExitStack() as held:
            held.enter_context(self._locked(branch, ino, paths))
            touched = self._touched(paths)
            _report(touched)
            held.callback(_report, touched)
            for handle in branch.open_files.handles(ino):
                held.enter_context(handle.held_still())
                if handle.fixed:
                    raise OSError(errno.EBUSY, "it is open, and the kernel reads it by itself", paths[0])
            # A name that is gone by now is no name of the file; the engine looks whether it has them all.
            files = _attributes(branch, paths)
            folders = {folder: attr.ino for folder, attr in _attributes(self._union, _above(paths)).items()}
            held.enter_context(self._union.still.hold(files, folders))
            yield

    @contextmanager
    def _locked(self, branch: LocalBranch, ino: int, paths: Sequence[str]) -> Iterator[None]:
        for _ in range(_TRIES):
            wanted = {*paths, *_above(paths), *branch.hidden.names(ino)}
            with self._union.locks(*wanted):
                if wanted.issuperset(branch.hidden.names(ino)):
                    yield
                    return
        raise error(errno.EBUSY, paths[0])

    def _touched(self, paths: Iterable[str]) -> list[tuple[LocalBranch, str]]:
        """The names that the engine changes: these paths, and the folders above that may come or go with them.

        On every drive, since it alone knows which; but not on one that is missing, which it does not touch.
        """
        touched: list[tuple[LocalBranch, str]] = []
        for branch in self._branches.values():
            if branch.drive.present:
                folders = [folder for folder in _above(paths) if not _surely_has(branch, folder)]
                touched += [(branch, path) for path in (*paths, *folders)]
        return touched

    def swap(self, drive: Drive, ino: int, target: Drive, new_ino: int, paths: Sequence[str]) -> None:
        """As `LiveTree.swap`: handles go on with the copy, which is shown with the number of the file."""
        source, goal = self._branches[drive.id], self._branches[target.id]
        for folder in _above(paths):
            self._keep_number(folder, goal)
        goal.show_as(paths[0], source.stat(paths[0]).ino, durable=True)
        goal.take_over(source, ino, paths[0])

    def _keep_number(self, folder: str, goal: LocalBranch) -> None:
        """A folder that came to exist on an earlier drive is shown with the number it had."""
        first = self._union.lookup.first(folder)
        shown: Attr = self._union.still.shown(folder, first.attr)
        if first.branch is goal and first.attr.ino != shown.ino:
            goal.show_as(folder, shown.ino)


def _report(touched: Iterable[tuple[LocalBranch, str]]) -> None:
    for branch, path in touched:
        branch.tell_changed(path)


def _surely_has(branch: LocalBranch, folder: str) -> bool:
    try:
        return has_directory(branch, folder)
    except OSError:
        return False


def _above(paths: Iterable[str]) -> set[str]:
    """All folders above these paths, the root left out."""
    found: set[str] = set()
    for path in paths:
        while path := path.rpartition("/")[0]:
            found.add(path)
    return found


def _attributes(branch: Branch, paths: Iterable[str]) -> dict[str, Attr]:
    found: dict[str, Attr] = {}
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            found[path] = branch.stat(path)
    return found


def _path_of(handle: LocalHandle, drive: Drive) -> str | None:
    """A name of the open file on its drive; None if it has none any more. OSError."""
    st = os.fstat(handle.fd)
    if not st.st_nlink:
        return None
    root = drive.require()
    at, below = os.readlink(by_proc(handle.fd)), root.real_path().rstrip("/") + "/"
    if at.startswith(below):
        found = lstat(root, at.removeprefix(below))
        if found is not None and (found.st_dev, found.st_ino) == (st.st_dev, st.st_ino):
            return at.removeprefix(below)
    # The name it was opened by is gone, but there is another.
    return next(iter(find_names(root, st.st_ino, 1, lambda: None)), None)


def _key(drive: Drive, ino: int) -> str:
    """Under which a file is locked while it moves."""
    return f"{drive.id}/{ino}"


def _ino(drive: Drive, path: str) -> int:
    """The st_ino at `path`; OSError ENOENT."""
    found = lstat(drive.require(), path)
    if found is None:
        raise error(errno.ENOENT, path)
    return found.st_ino


def _crash_point(step: str, when: str) -> None:
    reach(f"{when} {step}")
