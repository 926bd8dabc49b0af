"""Making local copies of remote files, and removing them: `pin`, `unpin`, and the first half of `download`.

What is asked for is recorded in names.db first and goes on after a restart. A copy counts from the moment on at which
it was read back from its drive and its row says so; it is removed only after the provider has proven that it still
has the bytes.
"""

import errno
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from vfs.branch import error
from vfs.budget import DailyBudget
from vfs.copyfile import CopyFile
from vfs.crashpoints import reach
from vfs.fetching import OF_THE_DRIVE, Fetch, read_range
from vfs.library import RemoteLibrary
from vfs.local import LocalBranch
from vfs.nodes import RemoteFile
from vfs.pins import Goal, Pin, Pins
from vfs.remote import RemoteBranch
from vfs.union import Place

log = logging.getLogger(__name__)

PLACES = ("placed", "compared", "recorded", "unpinning", "removed")
"""Steps at which tests kill the process, "before pin ..." and "after pin ..."; beside "part fetched"."""
PROGRAM = "mediapool pin"
"""Under which name what is pinned is counted among the programs that read."""
# Of the head and of the tail of a file, as much is read before its copy is removed.
_PROOF = 64 << 10


@dataclass
class Progress:
    """How far the copy of one file is: bytes that are there, and bytes fetched for it. `cancel`, once set, ends it."""

    phase: str = "waiting"
    done: int = 0
    fetched: int = 0
    cancel: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def came(self, count: int) -> None:
        """So many bytes more were fetched; by several threads."""
        with self.lock:
            self.done += count
            self.fetched += count

    def reached(self, done: int) -> None:
        self.done = done


@contextmanager
def step(place: str) -> Iterator[None]:
    reach(f"before pin {place}")
    yield
    reach(f"after pin {place}")


class Pinning:
    """Works on one file at a time; called by one thread."""

    def __init__(
        self,
        pins: Pins,
        remote: RemoteBranch,
        library: RemoteLibrary,
        placement: Place,
        branches: Sequence[LocalBranch],
        budget: DailyBudget,
    ) -> None:
        """`budget`: what is fetched is counted there, but not refused, since somebody asked for it."""
        self._budget = budget
        self._pins, self._remote, self._library, self._placement = pins, remote, library, placement
        self._branches = branches

    def want(self, node: RemoteFile, goal: Goal) -> None:
        """Record what is to be done with the file; OSError. ENODATA: there is nothing to unpin."""
        if self._pins.get(node.ino) is None and goal == "unpin":
            raise OSError(errno.ENODATA, "it is not pinned")
        if goal != "unpin":
            self._pins.want(node, goal)

    # Fetching.

    def fetch(self, node: RemoteFile, progress: Progress, anew: bool = False) -> None:
        """Have a whole copy of the file; ENOSPC if no drive takes it, EIO if the bytes cannot be had, ECANCELED.

        `anew`: a copy that counts as whole is read and mended all the same.
        """
        pin = self._pins.get(node.ino)
        assert pin is not None
        if pin.digest is not None and not anew and (copy := self._pins.open(node)) is not None:
            copy.close()
            progress.done = node.size
            return
        full: OSError | None = None
        for branch in self._candidates(node, pin):
            try:
                pin = self._placed(pin, branch)
                return self._fill(pin, branch, node, progress)
            except OSError as cause:
                if cause.errno not in OF_THE_DRIVE:
                    raise
                log.info("%s does not take the copy (%s), trying the next drive", branch.drive.name, cause.strerror)
                full = cause
                self._pins.delete_copy(branch, pin.token)
        raise full or error(errno.ENOSPC)

    def _candidates(self, node: RemoteFile, pin: Pin) -> Iterator[LocalBranch]:
        """The drive that has begun a copy, if it is there; then those that placement names."""
        begun = None
        if pin.drive:
            with suppress(OSError):
                branch = self._pins.branch_of(pin)
                branch.drive.require()
                begun = branch
        if begun is not None:
            yield begun
        path = next(iter(self._remote.names.paths_of([node])), "")
        for drive in self._placement.place(path, node.size):
            if begun is None or drive.id != begun.drive.id:
                yield next(branch for branch in self._branches if branch.drive.id == drive.id)

    def _placed(self, pin: Pin, branch: LocalBranch) -> Pin:
        """Recorded before anything is on the drive, so nothing there is ever unknown."""
        if pin.drive == branch.drive.number:
            return self._pins.put(pin._replace(digest=None)) if pin.digest else pin
        with step("placed"):
            token = self._pins.new_token()
            return self._pins.put(pin._replace(drive=branch.drive.number, token=token, digest=None))

    def _fill(self, pin: Pin, branch: LocalBranch, node: RemoteFile, progress: Progress) -> None:
        with CopyFile(branch.drive.require(), pin.token, node.size) as copy:
            before = copy.stat().st_blocks
            progress.phase = "looking"
            missing = copy.missing(progress.cancel, progress.reached)
            copy.reserve()
            progress.phase = "fetching"
            Fetch(self._library, node.key, copy, progress.cancel, progress.came).run(missing)
            self._budget.charge_program(PROGRAM, progress.fetched)
            progress.phase = "comparing"
            with step("compared"):
                digest = copy.compare(progress.cancel, progress.reached)
            found = copy.stat()
        if branch.drive.usage is not None:
            branch.drive.usage.placed((found.st_blocks - before) * 512)
        with step("recorded"):
            self._pins.put(pin._replace(digest=digest, mtime_ns=found.st_mtime_ns))
        for handle in self._remote.handles(node):
            self._remote.use_copy(node, handle)
        log.info("pinned file %d on drive %s", node.ino, branch.drive.name)

    # Removing.

    def unpin(self, node: RemoteFile, progress: Progress) -> None:
        """Remove the copy, once the provider has proven that it has the bytes. OSError, and the copy stays."""
        pin = self._pins.get(node.ino)
        if pin is None:
            return
        if pin.digest is not None:
            # A drive that is missing gives nothing back.
            self._pins.branch_of(pin).drive.require()
            progress.phase = "asking the provider"
            self._prove(node)
        with step("unpinning"):
            pin = self._pins.put(pin._replace(goal="unpin"))
        self._remove(pin)

    def _prove(self, node: RemoteFile) -> None:
        copy = self._pins.open(node)
        try:
            for offset in sorted({0, max(0, node.size - _PROOF)}):
                length = min(_PROOF, node.size - offset)
                if not length:
                    continue
                there = read_range(self._library, node.key, offset, length)
                self._budget.spend("check", length)
                if copy is not None and copy.read(length, offset) != there:
                    raise OSError(errno.EIO, "the provider has other bytes than the copy, which therefore stays")
        finally:
            if copy is not None:
                copy.close()

    def _remove(self, pin: Pin) -> None:
        if pin.drive:
            branch = self._pins.branch_of(pin)
            with step("removed"):
                self._pins.delete_copy(branch, pin.token)
        self._pins.remove(pin.ino)

    def sweep(self) -> None:
        """Remove the copies of files that are gone, and those whose removal was interrupted, as far as possible."""
        for pin in self._pins.doomed():
            try:
                self._remove(pin)
            except OSError as cause:
                log.info("the copy %s cannot be removed yet: %s", os.path.basename(pin.path), cause)
