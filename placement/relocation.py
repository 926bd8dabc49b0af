"""One move under way: copy, freeze, names, change over. Its steps are those of `moves.STEPS`, in order."""

import contextlib
import errno
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from placement import system as os
from placement.copying import Allowance, ChangedError
from placement.drive import Drive
from placement.linkgroup import are_all_names, find_names
from placement.recovery import Endings
from placement.staging import Original, Staged, Stamp
from placement.transfer import Record, Transfer
from placement.usage import BLOCK

if TYPE_CHECKING:
    from placement.moves import Journal, LiveTree, Progress

log = logging.getLogger(__name__)

# How often a file that is being written to is copied before the move is given up.
TRIES = 3


@dataclass(frozen=True, slots=True)
class Moved:
    """A move that was committed. `size` in bytes, `ino` and `new_ino` are st_ino on the two drives.

    `waiting`: "", or why names still stand on the source: until `recover` has removed them, give EIO for
    `paths` or show them from the target alone.
    """

    paths: tuple[str, ...]
    ino: int
    new_ino: int
    size: int
    waiting: str = ""


@dataclass(frozen=True, slots=True)
class Tools:
    """What all moves of one `Mover` share. `leave` marks a move that only the next start may deal with."""

    tree: "LiveTree"
    journal: "Journal"
    endings: Endings
    step: Callable[[str], AbstractContextManager[None]]
    progress: "Progress"
    leave: Callable[[str], None]


class Relocation:
    """One move under way."""

    def __init__(
        self,
        tools: Tools,
        parts: tuple[Drive, Original, Drive, Staged],
        record: Record,
        allowance: Allowance,
        held: bool,
    ) -> None:
        """`parts`: the drive with the file, and the target with the copy, both open."""
        self._tools = tools
        self._step = tools.step
        self._drive, self._original, self._target, self._copy = parts
        self._record = record
        self._allowance = allowance
        self._held = held
        self._ident = 0
        self._stamp: Stamp | None = None
        self._swapped = False
        self._committed = False
        self._given_up = False

    def run(self) -> Moved:
        """Do it; any error before the commit undoes all. OSError."""
        self._refuse_occupied()
        with self._step("journal begun"):
            self._ident = self._tools.journal.begin(self._record.as_json())
        try:
            return self._carry()
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        """Undo all, once, unless it is committed."""
        if not self._committed and not self._given_up:
            self._given_up = True
            self._undo()

    def _refuse_occupied(self) -> None:
        """Look at the names known so far, so that nothing is copied in vain; making the names decides."""
        count = self._original.found.st_nlink
        known = self._tools.tree.names_of(self._drive, self._original.ino) if count > 1 else None
        paths = (self._original.path, *(known or ()))
        Transfer(replace(self._record, paths=paths), self._drive, self._target).refuse_occupied()

    def _carry(self) -> Moved:
        if self._held:
            self._duplicate(running=False)
        else:
            self._duplicate_running()
        for walk in (False, True):
            names = self._names(walk)
            with self._frozen(names):
                if not are_all_names(self._drive.require(), self._original.ino, names):
                    continue
                if self._original.stamp() != self._stamp:
                    self._allowance = self._allowance.in_a_hurry()
                    self._duplicate(running=False)
                try:
                    return self._change_over(names)
                except BaseException:
                    # Under the freeze, or what is written to the copy meanwhile would be lost.
                    self._give_up()
                    raise
        raise OSError(errno.EBUSY, "its other names cannot be found, or keep changing")

    def _frozen(self, names: Sequence[str]) -> AbstractContextManager[None]:
        if self._held:
            return contextlib.nullcontext()
        return self._tools.tree.freeze(self._drive, self._original.ino, names)

    def _duplicate_running(self) -> None:
        """Copy while others may still change the file, so that it need not be frozen for long."""
        for _ in range(TRIES):
            with contextlib.suppress(ChangedError):
                self._duplicate(running=True)
                if self._original.stamp() == self._stamp:
                    return
        raise ChangedError(self._original.path)

    def _duplicate(self, *, running: bool) -> None:
        with self._step("copied"):
            self._stamp = self._copy.write(self._original, self._allowance, self._tell("copying"), running=running)
        with self._step("copy synced"):
            self._copy.sync(self._original)
        with self._step("compared"):
            self._copy.compare(self._original, self._allowance, self._tell("comparing"))

    def _tell(self, phase: str) -> Callable[[int], None]:
        path, size, progress = self._original.path, self._original.found.st_size, self._tools.progress
        return lambda done: progress(path, phase, done, size)

    def _names(self, walk: bool) -> list[str]:
        """The names of the file as far as known, or as a walk over the drive finds them."""
        count = os.fstat(self._original.fd).st_nlink
        if not count:
            raise FileNotFoundError(errno.ENOENT, "it has no name any more")
        if not walk and count == 1:
            return [self._original.path]
        known = None if walk else self._tools.tree.names_of(self._drive, self._original.ino)
        if known is not None:
            return list(known)
        return find_names(self._drive.require(), self._original.ino, count, self._allowance.spend)

    def _change_over(self, names: Sequence[str]) -> Moved:
        """The part under the freeze: names, commit, removals."""
        found, copy = self._original.found, self._copy.stat()
        self._record = replace(
            self._record,
            paths=tuple(names),
            size=found.st_size,
            mtime_ns=found.st_mtime_ns,
            copy_mtime_ns=copy.st_mtime_ns,
        )
        self._make_names()
        with self._step("swapped"):
            self._tools.tree.swap(self._drive, self._original.ino, self._target, copy.st_ino, names)
            self._swapped = True
        with self._step("committed"):
            self._record = replace(self._record, committed=True)
            self._tools.journal.update(self._ident, self._record.as_json())
            self._committed = True
        return Moved(self._record.paths, self._original.ino, copy.st_ino, found.st_size, self._finish())

    def _make_names(self) -> None:
        transfer = self._transfer()
        transfer.refuse_fixed()
        self._allowance.spend()
        # Or another move that is given up could remove a folder between looking for it and using it.
        with self._tools.endings.folders:
            with self._step("names journaled"):
                self._record = replace(self._record, folders=transfer.missing_folders())
                self._tools.journal.update(self._ident, self._record.as_json())
            transfer = self._transfer()
            with self._step("names made"):
                transfer.make_names()
        with self._step("folders synced"):
            transfer.sync_new()

    def _transfer(self) -> Transfer:
        return Transfer(self._record, self._drive, self._target)

    def _finish(self) -> str:
        """Remove the source; "" or why that waits. The move itself cannot fail any more."""
        self._count()
        try:
            self._tools.endings.finish(self._ident, self._transfer())
        except OSError as error:
            log.warning("%s was moved to %s, but what is left on %s waits: %s", *self._told(), error)
            return str(error)
        return ""

    def _told(self) -> tuple[str, str, str]:
        return self._original.path, self._target.name, self._drive.name

    def _count(self) -> None:
        """Tell drives that count their bytes themselves."""
        size = self._copy.stat().st_blocks * BLOCK
        for drive, delta in ((self._target, size), (self._drive, -size)):
            if drive.usage is not None:
                drive.usage.placed(delta)

    def _undo(self) -> None:
        """What cannot be undone now is left to recovery."""
        try:
            if self._swapped:
                self._swap_back()
            self._tools.endings.undo(self._ident, self._transfer())
        except OSError as error:
            if self._swapped:
                # Handles may go on with either file, and the journal may hold the commit or not: as long as
                # this program runs, neither file must be taken away.
                self._tools.leave(self._record.token)
            log.warning("giving up to move %s to %s from %s waits: %s", *self._told(), error)

    def _swap_back(self) -> None:
        with self._step("swapped back"):
            new_ino = self._copy.stat().st_ino
            self._tools.tree.swap(self._target, new_ino, self._drive, self._original.ino, self._record.paths)
