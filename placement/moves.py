"""Moving a file with all its names, its link group, from one drive to another: journaled, compared, whole.

The order is data before names before commit before removals, each synced before the next begins. Until the
commit the source is the file and everything else is undone; from then on the copy is the file and what is
left of the source is removed, at the next start if need be. So after a crash at any point one whole file
with all its names remains. `STEPS` names every step; a record is in the journal during all of them.

What uses the engine meets it in two places: `LiveTree`, the mounted tree with its open files, and `Journal`.
Programs that change the drives themselves, past the tree, are noticed where it is possible (the copy is
given up, or a name is kept), but not kept out.

Lock order: the tree's freeze, then `_recovering`, then `_lock` or `Endings.folders`, under which only the
journal's own are taken.
"""

import contextlib
import errno
import secrets
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

from placement import eligible
from placement.copying import Allowance
from placement.drive import Drive
from placement.eligible import DEFAULT_MIN_FREE
from placement.recovery import Endings, Recovered
from placement.relocation import Moved, Relocation, Tools
from placement.staging import Original, Staged
from placement.transfer import KIND, Record, staged
from placement.usage import BLOCK

# A move that succeeds goes through these in order; those up to "compared" again if the file changed.
FORWARD = (
    "journal begun",
    "copied",
    "copy synced",
    "compared",
    "names journaled",
    "names made",
    "folders synced",
    "swapped",
    "committed",
    "old names removed",
    "old folders synced",
    "temporary removed",
    "journal ended",
)
# One that fails before "committed" goes through these, then the last two above. So does its recovery.
BACKWARD = ("swapped back", "new names removed", "new folders synced")
# A move holds on to open files and folders while their names change, which has not been shown by path.
MOVES_HERE = sys.platform != "win32"
STEPS = (*FORWARD, *BACKWARD, "strays removed")

When = Literal["before", "after"]
OnStep = Callable[[str, When], None]
# Hears (path, "copying" or "comparing", bytes done, bytes in all).
Progress = Callable[[str, str, int, int], None]


class LiveTree(Protocol):
    """The mounted tree, as the engine sees it. `ino` is an st_ino of that drive; paths are the tree's."""

    def names_of(self, drive: Drive, ino: int) -> Sequence[str] | None:
        """All names of the file as far as known; None if unknown: the engine walks the drive."""
        ...

    def freeze(self, drive: Drive, ino: int, paths: Sequence[str]) -> AbstractContextManager[None]:
        """While it is held nobody writes to the file or opens, links, renames or unlinks these names.

        Nor are folders above them renamed or removed. Both drives have the names for a while, and the copy
        one link more: stat goes on answering what it did before. OSError EBUSY, when entered, if the file
        cannot be held still.
        """
        ...

    def swap(self, drive: Drive, ino: int, target: Drive, new_ino: int, paths: Sequence[str]) -> None:
        """Under the freeze: from now on open handles and names use the copy, shown with the same number.

        The number is on stable storage when it returns. OSError: nothing was changed. May be asked to swap
        back, with the drives exchanged.
        """
        ...


class StillTree:
    """A tree that is not mounted: nothing is open, nobody else changes names."""

    def names_of(self, drive: Drive, ino: int) -> Sequence[str] | None:
        """Unknown."""
        return None

    def freeze(self, drive: Drive, ino: int, paths: Sequence[str]) -> AbstractContextManager[None]:
        """Nothing to hold."""
        return contextlib.nullcontext()

    def swap(self, drive: Drive, ino: int, target: Drive, new_ino: int, paths: Sequence[str]) -> None:
        """Nothing to swap."""


class Journal(Protocol):
    """Durable records of moves under way. Each call returns when it is on stable storage, or raises OSError.

    Records are dicts of ASCII strings, integers, booleans and lists of them.
    """

    def begin(self, record: dict[str, Any]) -> int:
        """Keep a new record; its number."""
        ...

    def update(self, ident: int, record: dict[str, Any]) -> None:
        """Replace the record, whole or not at all."""
        ...

    def end(self, ident: int) -> None:
        """Forget the record; harmless when repeated."""
        ...

    def pending(self) -> list[tuple[int, dict[str, Any]]]:
        """All records there are, oldest first."""
        ...


class Mover:
    """Moves files between the drives of the pool. Thread-safe; several files may move at once."""

    def __init__(
        self,
        drives: Callable[[], Sequence[Drive]],
        journal: Journal,
        tree: LiveTree | None = None,
        *,
        progress: Progress | None = None,
        on_step: OnStep | None = None,
        min_free: int = DEFAULT_MIN_FREE,
        others: Callable[[], Collection[str] | None] = tuple,
    ) -> None:
        """`min_free`: the pool's, in bytes, as in `eligible.py`. `on_step` is for tests; it may raise or kill.

        `others`: the tokens of copies that moves of another journal know, which are no strays; None if that cannot
        be told now, and then no copy is taken for one.
        """
        self._drives = drives
        self._journal = journal
        self._on_step = on_step or (lambda name, when: None)
        self._min_free = min_free
        self._others = others
        self._endings = Endings(journal.end, self._step)
        hear = progress or (lambda path, phase, done, size: None)
        self._tools = Tools(tree or StillTree(), journal, self._endings, self._step, hear, self._leave)
        self._lock = threading.Lock()  # guards the next three
        self._busy: set[tuple[str, int]] = set()
        self._tokens: set[str] = set()
        self._left: set[str] = set()
        self._recovering = threading.Lock()

    def move(
        self,
        drive: Drive,
        path: str,
        target: Drive,
        *,
        held: bool = False,
        cancel: threading.Event | None = None,
        rate: int | None = None,
        reserve: int = 0,
    ) -> Moved:
        """Move the file at `path` of `drive`, with all its names, to `target`; returns when it is durable.

        `held`: the caller holds the file still already, so it is not frozen. Otherwise it is frozen only for
        the end, after it was copied and compared. `rate`: bytes a second at most, None for any; `reserve`:
        bytes that must be available on the target besides the file. `cancel`, once set, ends it with
        ECANCELED unless the names are being made already.

        OSError with the path and the cause, and nothing is changed: EBUSY (held by others, being written to,
        moving already, or names that cannot be found), EEXIST (a file stands there on the target), ENOSPC,
        EROFS, EIO (a drive is missing, or the copy read back differs), EPERM, EACCES, EISDIR, ENOENT, ...
        """
        try:
            if drive.id == target.id:
                raise OSError(errno.EINVAL, "it lies on that drive already")
            if not MOVES_HERE:
                raise OSError(errno.EOPNOTSUPP, "files are not moved between drives on Windows, so far")
            with Original(drive, path) as original, self._claimed(drive, original.ino) as token:
                self._refuse(drive, original, target, reserve)
                with Staged(target, token) as copy, target.reserved.held(lambda: _left(original, copy) + reserve):
                    record = Record(token, drive.id, target.id, original.ino, (path,))
                    parts = (drive, original, target, copy)
                    return Relocation(self._tools, parts, record, Allowance(rate, cancel), held).run()
        except OSError as error:
            raise _explained(error, drive, target, path) from error

    @contextlib.contextmanager
    def _claimed(self, drive: Drive, ino: int) -> Iterator[str]:
        """A token for this move, the only one of this file; known here for as long as it is under way."""
        file, token = (drive.id, ino), secrets.token_hex(16)
        with self._lock:
            if file in self._busy:
                raise OSError(errno.EBUSY, "it is being moved already")
            self._busy.add(file)
            self._tokens.add(token)
        try:
            yield token
        finally:
            with self._lock:
                self._busy.discard(file)
                self._tokens.discard(token)

    def _leave(self, token: str) -> None:
        """Let no recovery of this program touch that move."""
        with self._lock:
            self._left.add(token)

    def _refuse(self, drive: Drive, original: Original, target: Drive, reserve: int) -> None:
        """What is known not to work before anything is copied."""
        if drive.mode == "ro":
            raise OSError(errno.EROFS, f"drive {drive.name} is read-only by its config")
        needed = original.found.st_blocks * BLOCK + reserve
        verdict = eligible.judge(target, size_hint=needed, min_free=self._min_free)
        if isinstance(verdict, eligible.Rejection):
            raise eligible.refusal([verdict], original.path)

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        if name not in STEPS:
            raise ValueError(f"no step is called {name!r}")
        self._on_step(name, "before")
        yield
        self._on_step(name, "after")

    def recover(self) -> list[Recovered]:
        """Finish or undo every interrupted move; to be called at the start, and again when a drive is back.

        Afterwards nothing temporary is left on the drives that are there, and what could not be dealt with is
        "waiting". Moves under way are left alone. OSError of the journal.
        """
        with self._recovering:
            drives = {drive.id: drive for drive in self._drives()}
            strays, ours, active = self._found(drive for drive in drives.values() if drive.mode != "ro")
            self._endings.remove_strays(strays)
            return [
                self._endings.recover(ident, fields, drives)
                for ident, fields in ours
                if fields.get("token") not in active
            ]

    def begun(self) -> list[str]:
        """The names of all moves in the journal, as far as they can be read. OSError."""
        paths: set[str] = set()
        for _, fields in self._found(())[1]:
            with contextlib.suppress(ValueError):
                paths.update(Record.from_json(fields).paths)
        return sorted(paths)

    def strays(self) -> list[tuple[Drive, str]]:
        """Drives with the tokens of copies on them that no move knows; `recover` removes them. OSError."""
        return self._found(self._drives())[0]

    def _found(
        self, drives: Iterable[Drive]
    ) -> tuple[list[tuple[Drive, str]], list[tuple[int, dict[str, Any]]], set[str]]:
        """Copies that no move knows, the records of the journal, and the tokens of moves under way."""
        # Listed before the journal is read: what is begun after that is no stray.
        there = [(drive, token) for drive in drives for token in staged(drive)]
        with self._lock:
            pending, active = self._journal.pending(), self._tokens | self._left
        ours = [(ident, fields) for ident, fields in pending if fields.get("kind") == KIND]
        others = self._others()
        if others is None:
            return [], ours, active
        known = active | {fields.get("token") for _, fields in ours} | set(others)
        return [stray for stray in there if stray[1] not in known], ours, active


def _left(original: Original, copy: Staged) -> int:
    """Bytes that the target has still to give for the copy."""
    return (original.found.st_blocks - copy.blocks()) * BLOCK


def _explained(error: OSError, drive: Drive, target: Drive, path: str) -> OSError:
    """The error with the two drives, the path and, where it is about another one, that one too."""
    cause = error.strerror or str(error)
    about = error.filename
    if isinstance(about, str) and about not in (path, "", ".") and not about.startswith("/proc/"):
        cause += f": {about}"
    return OSError(error.errno or errno.EIO, f"cannot move it from {drive.name} to {target.name}: {cause}", path)
