"""Work on several branches that must happen whole: recorded before its first step, finished after a crash.

A *step* is one call on one branch and names what it acts on by path and inode number, so doing it again does
nothing. Remote names change in the same transaction that begins or ends the record, so they need no step. If a step
fails while we live, the ones before it are undone; if we die, the next start does those that are left.
"""

import base64
import errno
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal, NamedTuple, Protocol

from vfs.branch import Branch
from vfs.crashpoints import reach
from vfs.names import Change, Names

log = logging.getLogger(__name__)

Kind = Literal["rename", "unlink", "rmdir"]
# Every place at which work can be interrupted, "before" and "after" each: tests kill the process at all of them.
PLACES = ("begin", "rename", "unlink", "rmdir", "sync", "end")
Remote = Callable[[Change], object]


class Step(NamedTuple):
    """`kind` on branch number `branch`: of the object with inode number `ino` at `path`; `target` for renames."""

    kind: Kind
    branch: int
    ino: int
    path: str
    target: str = ""


class Journal(Protocol):
    """Where intents are kept; `vfs.journal.Journal` is one."""

    def begin(self, record: dict[str, Any], change: Change | None = None) -> int: ...
    def end(self, ident: int, change: Change | None = None) -> None: ...
    def pending(self) -> list[tuple[int, dict[str, Any]]]: ...


class Intents:
    """Runs steps as one piece of work. Callers hold the path locks of all paths they name."""

    def __init__(self, names: Names, journal: Journal, branches: Mapping[int, Branch]) -> None:
        """`branches`: drives by their number; remote names have none."""
        self._names = names
        self._journal = journal
        self._branches = branches
        # Paths of work that waits for a drive to come back; reading and changing them gives EIO.
        self._blocked: tuple[str, ...] = ()

    def run(self, steps: Sequence[Step], first: Remote | None = None, last: Remote | None = None) -> None:
        """Do all steps; `first` and `last` change remote names, with the begin and the end of the record.

        OSError of the step that failed, after the ones before it were undone.
        """
        record = {"steps": [_packed(step) for step in steps]}
        with _around("begin"), self._names.changing(durable=True) as change:
            if first:
                first(change)
            ident = self._journal.begin(record, change)
        done: list[Step] = []
        try:
            for step in steps:
                self._do(step)
                done.append(step)
            self._sync(steps)
            self._end(ident, last)
        except OSError:
            if first is None and self._undo(done):
                self._journal.end(ident)
            raise

    def _end(self, ident: int, last: Remote | None) -> None:
        with _around("end"), self._names.changing(durable=True) as change:
            if last:
                last(change)
            self._journal.end(ident, change)

    def _do(self, step: Step) -> None:
        """Do a step unless it was done; what stands at its path must be what it was meant for."""
        branch = self._branches[step.branch]
        if _number_at(branch, step.path) != step.ino:
            return
        with _around(step.kind):
            if step.kind == "rename":
                branch.rename(step.path, step.target, 0)
            elif step.kind == "unlink":
                branch.unlink(step.path)
            else:
                # Somebody may have put something into it since.
                with suppress(FileNotFoundError):
                    branch.rmdir(step.path)

    def _undo(self, done: Iterable[Step]) -> bool:
        """Take renames back, last first; False if that cannot be done, or something was removed already."""
        for step in reversed(list(done)):
            if step.kind != "rename":
                return False
            try:
                self._branches[step.branch].rename(step.target, step.path, 0)
            except OSError:
                log.exception("%s could not be renamed back to %s", step.target, step.path)
                return False
        return True

    def _sync(self, steps: Iterable[Step]) -> None:
        """Have the folders that the steps changed on stable storage."""
        with _around("sync"):
            for branch, folder in {(s.branch, _parent(path)) for s in steps for path in (s.path, s.target or s.path)}:
                with suppress(FileNotFoundError):
                    self._branches[branch].fsyncdir(folder)

    # After a crash.

    def recover(self) -> None:
        """Finish what was interrupted. Work on a drive that is missing waits, and blocks its paths."""
        blocked: list[str] = []
        for ident, record in self._journal.pending():
            steps = [_unpacked(step) for step in record["steps"]]
            try:
                for step in steps:
                    self._do(step)
                self._sync(steps)
                self._end(ident, None)
            except (OSError, KeyError) as cause:
                log.warning("work on %s has to wait: %s", ", ".join(step.path for step in steps), cause)
                blocked += [path for step in steps for path in (step.path, step.target) if path]
        self._blocked = tuple(blocked)

    def check(self, path: str) -> None:
        """EIO if work on this path, or on a folder above it, still waits for a drive."""
        if self._blocked and self._is_blocked(path):
            self.recover()
            if self._is_blocked(path):
                raise OSError(errno.EIO, "an interrupted change of this path waits for a drive that is missing", path)

    def _is_blocked(self, path: str) -> bool:
        return any(path == one or path.startswith(one + "/") for one in self._blocked)


@contextmanager
def _around(place: str) -> Iterator[None]:
    reach(f"before {place}")
    yield
    reach(f"after {place}")


def _number_at(branch: Branch, path: str) -> int | None:
    try:
        return branch.stat(path).ino
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _packed(step: Step) -> list[Any]:
    """A step as JSON; paths are bytes, which JSON does not know."""
    coded = (base64.b64encode(os.fsencode(path)).decode() for path in (step.path, step.target))
    return [step.kind, step.branch, step.ino, *coded]


def _unpacked(packed: Sequence[Any]) -> Step:
    kind, branch, ino, *coded = packed
    path, target = (os.fsdecode(base64.b64decode(text)) for text in coded)
    return Step(kind, branch, ino, path, target)
