"""Which remote files have a local copy, are *pinned*: a table in names.db, and the copies on the drives.

A copy lies in `.mediapool/pinned/` of one drive. names.db stays the truth for the names of the file and its attributes;
of the copy only the bytes count. One that cannot be used (its drive is missing, it is not what was written) is never
an error for a reader: the bytes come from the provider then, as if there were none.
"""

import errno
import logging
import secrets
import threading
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from placement import system as os
from placement.beneath import Root
from placement.identity import FOLDER as OURS
from placement.linkgroup import lstat, sync_folders
from vfs.branch import error
from vfs.checking import Finding
from vfs.library import Key
from vfs.local import LocalBranch
from vfs.localhandle import LocalHandle
from vfs.names import Change, Names
from vfs.namesdb import NamesDb
from vfs.nodes import RemoteFile

log = logging.getLogger(__name__)

FOLDER = f"{OURS}/pinned"
SUMS = ".sums"
"""Ends the name of the file with the checksums of a copy, beside it."""

Goal = Literal["pin", "download", "unpin"]


class Pin(NamedTuple):
    """One row. `drive` is 0 while none is chosen, `digest` (xxh3-128) None until the copy is whole; time in ns."""

    ino: int
    key: Key
    goal: Goal
    drive: int = 0
    token: str = ""
    digest: bytes | None = None
    mtime_ns: int = 0

    @property
    def path(self) -> str:
        """Where the copy lies below the root of its drive."""
        return f"{FOLDER}/{self.token}"


class Pins:
    """The table in memory and in names.db, and access to the copies. Thread-safe; changes are durable."""

    def __init__(self, db: NamesDb, names: Names, branches: Sequence[LocalBranch]) -> None:
        self._names = names
        self._branches = branches
        rows = db.db.execute("SELECT ino, kind, id, part, goal, drive, token, digest, mtime_ns FROM pin")
        self._pins: dict[int, Pin] = {row[0]: Pin(row[0], (row[1], row[2], row[3]), *row[4:]) for row in rows}
        self._digests: dict[int, bytes] = dict(db.db.execute("SELECT ino, digest FROM digest"))
        # Rows that outlived their file.
        self._doomed = {pin.ino for pin in self._pins.values() if self.node_of(pin) is None}
        self._told: set[str] = set()
        self.wake = threading.Event()
        """Set when a copy waits to be removed."""

    def get(self, ino: int) -> Pin | None:
        return self._pins.get(ino)

    def node_of(self, pin: Pin) -> RemoteFile | None:
        """The file, if it has a name."""
        node = self._names.file_of(pin.key)
        return node if node is not None and node.ino == pin.ino else None

    def all(self) -> list[Pin]:
        return list(self._pins.values())

    def doomed(self) -> list[Pin]:
        """Copies that are to be removed: unpinned, or without a file."""
        return [pin for pin in self.all() if pin.goal == "unpin" or pin.ino in self._doomed]

    def want(self, node: RemoteFile, goal: Goal) -> None:
        """Record what is to become of the file, whatever else is known of its copy; OSError, ENOENT without a name."""
        # One step, as whoever fetches records what it has done meanwhile.
        with self._names.changing(durable=True) as change:
            if not node.nlink:
                raise error(errno.ENOENT)
            pin = self._pins.get(node.ino) or Pin(node.ino, node.key, goal)
            self._put(change, pin._replace(goal=goal))

    def put(self, pin: Pin) -> Pin:
        """Record it, in place of what was recorded of this file; OSError."""
        with self._names.changing(durable=True) as change:
            self._put(change, pin)
        return pin

    def replace(self, pin: Pin, other: Pin) -> bool:
        """Record `other` in place of `pin`, unless something else is recorded by now: then False; OSError."""
        with self._names.changing(durable=True) as change:
            if self._pins.get(pin.ino) != pin:
                return False
            self._put(change, other)
        return True

    def _put(self, change: Change, pin: Pin) -> None:
        row = (pin.ino, *pin.key, *pin[2:])
        change.db.execute("INSERT OR REPLACE INTO pin VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        change.then(lambda: self._pins.update({pin.ino: pin}))
        if pin.digest is not None:
            self._note_digest(change, pin.ino, pin.digest)

    def _note_digest(self, change: Change, ino: int, digest: bytes) -> None:
        change.db.execute("INSERT OR REPLACE INTO digest VALUES (?, ?)", (ino, digest))
        change.then(lambda: self._digests.update({ino: digest}))

    def remove(self, ino: int, change: Change | None = None) -> None:
        """Forget the row, in this transaction if one is given; OSError."""
        if change is None:
            with self._names.changing(durable=True) as change:
                return self.remove(ino, change)
        change.db.execute("DELETE FROM pin WHERE ino = ?", (ino,))
        change.then(lambda: self._pins.pop(ino, None), lambda: self._doomed.discard(ino))
        return None

    def new_token(self) -> str:
        """A name for a new copy that none ever had."""
        return secrets.token_hex(16)

    def branch_of(self, pin: Pin) -> LocalBranch:
        """The drive of its copy; EIO if the pool has it no more."""
        branch = next((one for one in self._branches if one.drive.number == pin.drive), None)
        if branch is None:
            raise OSError(errno.EIO, f"the pool has no drive with the number {pin.drive} any more")
        return branch

    # For the remote branch.

    def open(self, node: RemoteFile) -> LocalHandle | None:
        """The whole copy of the file, open for reading; None if there is none that can be used now."""
        pin = self._pins.get(node.ino)
        if pin is None or pin.digest is None or pin.goal == "unpin":
            return None
        try:
            branch = self.branch_of(pin)
            if problem := self._problem(branch.drive.require(), pin, node):
                self._complain(f"{problem}; its bytes are read from the provider")
                return None
            with branch.drive.require().parent(pin.path) as (dirfd, name):
                fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dirfd)
            return LocalHandle(branch, fd, pin.path, writes=False)
        except OSError as cause:
            log.debug("the pinned copy %s cannot be used now: %s", pin.token, cause)
            return None

    def twin(self, node: RemoteFile) -> LocalHandle | None:
        """A whole copy of another file with the same bytes; None unless the digests of all bytes of both are known."""
        digest = self._digests.get(node.ino)
        for pin in self.all() if digest is not None else ():
            other = self.node_of(pin)
            same = pin.digest == digest and pin.ino != node.ino
            if same and other is not None and other.size == node.size and (copy := self.open(other)) is not None:
                return copy
        return None

    def _problem(self, root: Root, pin: Pin, node: RemoteFile) -> str:
        found = lstat(root, pin.path)
        if found is None:
            return f"the pinned copy {pin.path} is gone"
        # With the time of the file it is found when it was about to become an ordinary one.
        if found.st_size != node.size or found.st_mtime_ns not in (pin.mtime_ns, node.mtime_ns):
            return f"the pinned copy {pin.path} was changed by somebody"
        return ""

    def _complain(self, what: str) -> None:
        # Once, or each open would say it again.
        if what not in self._told:
            self._told.add(what)
            log.warning("%s", what)

    def forget(self, node: RemoteFile) -> None:
        """The last name of the file is gone, and its last handle closed."""
        self._digests.pop(node.ino, None)
        if node.ino in self._pins:
            self._doomed.add(node.ino)
            self.wake.set()

    # On the drives.

    def delete_copy(self, branch: LocalBranch, token: str) -> None:
        """Remove a copy, whole or not, durably; OSError. May be repeated."""
        root = branch.drive.require()
        for name in (token, token + SUMS):
            path = f"{FOLDER}/{name}"
            if token and lstat(root, path) is not None:
                with root.parent(path) as (dirfd, last):
                    os.unlink(last, dir_fd=dirfd)
        sync_folders(root, [FOLDER])

    def findings(self, drives: Sequence[LocalBranch]) -> list[Finding]:
        """What is wrong with the copies on these drives, and what lies among them that is none."""
        found: list[Finding] = []
        for branch in drives:
            try:
                root = branch.drive.require()
                there = _listed(root)
            except OSError:
                continue  # told of by the check itself
            pins = [pin for pin in self.all() if pin.drive == branch.drive.number]
            known = {name for pin in pins for name in (pin.token, pin.token + SUMS)}
            detail = "lies among the pinned copies, but is none of this pool; look at it, and remove it yourself"
            found += [
                Finding("leftover", f"{FOLDER}/{name}", detail, branch.drive.name) for name in sorted(there - known)
            ]
            found += [one for pin in pins if pin.digest for one in self._wrong(root, branch.drive.name, pin)]
        return found

    def _wrong(self, root: Root, drive: str, pin: Pin) -> Iterable[Finding]:
        node = self.node_of(pin)
        if node is not None and (problem := self._problem(root, pin, node)):
            path = next(iter(self._names.paths_of([node])), pin.path)
            yield Finding("pinned", path, f"{problem}; it is read from the provider until it is pinned anew", drive)


def _listed(root: Root) -> set[str]:
    try:
        fd = root.open_dir(FOLDER)
    except FileNotFoundError:
        return set()
    try:
        return set(os.listdir(fd))
    finally:
        os.close(fd)
