"""Work on several branches that must happen whole: recorded before its first step, finished after a crash.

A *step* is one call on one branch and names what it acts on by path and inode number, so doing it again does
nothing. Steps on remote names are done last, in the transaction that ends the record, unless they belong first and
are done in the one that begins it. If a step fails while we live, the ones before it are undone; if we die, the next
start does those that are left.
"""

import base64
import errno
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal, NamedTuple, Protocol

from vfs.branch import Branch
from vfs.crashpoints import reach
from vfs.names import Change
from vfs.nodes import RemoteFile
from vfs.remote import RemoteBranch

log = logging.getLogger(__name__)

Kind = Literal["rename", "unlink", "rmdir"]
# Every place at which work can be interrupted, "before" and "after" each: tests kill the process at all of them.
PLACES = ("begin", "rename", "unlink", "rmdir", "sync", "end")


REMOTE = 0


class Step(NamedTuple):
    """`kind` on branch number `branch`: of the object with inode number `ino` at `path`; `target` for renames.

    A branch is a drive's number, or REMOTE.
    """

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

    def __init__(self, remote: RemoteBranch, journal: Journal, drives: Mapping[int, Branch]) -> None:
        """`drives`: the local branches by their number."""
        self._remote = remote
        self._names = remote.names
        self._journal = journal
        self._branches: dict[int, Branch] = {**drives, REMOTE: remote}
        # Paths of work that waits for a drive to come back; reading and changing them gives EIO.
        self._blocked: tuple[str, ...] = ()

    def join(self, number: int, branch: Branch) -> None:
        """One more local branch; it may be one that interrupted work waits for."""
        self._branches[number] = branch

    def run(self, steps: Sequence[Step], first: Sequence[Step] = ()) -> None:
        """Do all steps in their order, those on remote names last; `first`, on remote names, with the begin.

        OSError of the step that failed, after the ones before it were undone.
        """
        record = {"steps": [_packed(step) for step in steps]}
        gone: list[RemoteFile] = []
        with _around("begin"), self._names.changing(durable=True) as change:
            for step in first:
                self._do_remote(step, change, gone)
            ident = self._journal.begin(record, change)
        done: list[Step] = []
        try:
            for step in _local(steps):
                self._do(step)
                done.append(step)
            self._sync(steps)
            gone += self._end(ident, steps)
        except OSError:
            if not first and self._undo(done):
                self._journal.end(ident)
            raise
        for file in gone:
            self._remote.settle(file)

    def _end(self, ident: int, steps: Iterable[Step]) -> list[RemoteFile]:
        """Do the steps on remote names and forget the record; the files that lost a name."""
        gone: list[RemoteFile] = []
        with _around("end"), self._names.changing(durable=True) as change:
            for step in steps:
                if step.branch == REMOTE:
                    self._do_remote(step, change, gone)
            self._journal.end(ident, change)
        return gone

    def _do_remote(self, step: Step, change: Change, gone: list[RemoteFile]) -> None:
        if _number_at(self._remote, step.path) != step.ino:
            return
        if step.kind == "rename":
            replaced = self._names.find(step.target)
            self._names.rename(step.path, step.target, change)
            gone += [replaced] if isinstance(replaced, RemoteFile) else []
        elif step.kind == "unlink":
            gone.append(self._names.unlink(step.path, change))
        else:
            self._names.rmdir(step.path, change)

    def _do(self, step: Step) -> None:
        """Do a step unless it was done; what stands at its path must be what it was meant for."""
        branch = self._branches[step.branch]
        # What is known of a missing drive says nothing about whether a step was done.
        branch.require()
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
            touched = {(s.branch, _parent(path)) for s in _local(steps) for path in (s.path, s.target or s.path)}
            for branch, folder in touched:
                with suppress(FileNotFoundError):
                    self._branches[branch].fsyncdir(folder)

    # After a crash.

    def recover(self) -> None:
        """Finish what was interrupted. Work on a drive that is missing waits, and blocks its paths."""
        blocked: list[str] = []
        for ident, record in self._journal.pending():
            steps = [_unpacked(step) for step in record["steps"]]
            try:
                for step in _local(steps):
                    self._do(step)
                self._sync(steps)
                for file in self._end(ident, steps):
                    self._remote.settle(file)
            except (OSError, KeyError) as cause:
                log.warning("work on %s has to wait: %s", ", ".join(step.path for step in steps), cause)
                blocked += [path for step in steps for path in (step.path, step.target) if path]
        self._blocked = tuple(blocked)

    def waiting(self) -> list[str]:
        """The paths of work that waits for a drive."""
        return sorted(set(self._blocked))

    def begun(self) -> list[str]:
        """The paths of all work that was not ended, which in a tree that is not mounted was interrupted."""
        steps = [_unpacked(step) for _, record in self._journal.pending() for step in record["steps"]]
        return sorted({path for step in steps for path in (step.path, step.target) if path})

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


def _local(steps: Iterable[Step]) -> list[Step]:
    return [step for step in steps if step.branch != REMOTE]


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
