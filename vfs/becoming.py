"""A remote file becomes an ordinary local one: its whole local copy gets all its names, then the remote names go.

Everything on the drive is done first, in any order and as often as need be, since the copy is whole and the remote
names still stand. One transaction takes the remote names and the row of the copy away: the commit. What is left then
is to remove the name that the copy had as a copy. So at every moment the tree has the file by all its names, and the
record in names.db says what the next start has to finish. `PLACES` names the steps.

Lock order: path locks of all names and the folders above them, then that of `Names`.
"""

import base64
import errno
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from placement import system as os
from placement.linkgroup import lstat
from vfs import syscalls
from vfs.attr import OMIT
from vfs.branch import error
from vfs.crashpoints import reach
from vfs.journal import Journal
from vfs.library import Key
from vfs.local import LocalBranch
from vfs.localhandle import by_proc
from vfs.lookup import parent_of
from vfs.names import Change, Names
from vfs.nodes import RemoteFile
from vfs.pins import Pin, Pins
from vfs.remote import RemoteBranch
from vfs.union import Union

log = logging.getLogger(__name__)

KIND = "download"
PLACES = ("dressed", "begun", "linked", "numbered", "committed", "removed", "ended")
_TRIES = 8
_NO_LINKS = (
    "the filesystem of drive {} has no hard links (exFAT, for one), and without them a copy cannot take its names "
    "safely: unpin it, and download it to another drive"
)


class _Work(NamedTuple):
    """One file under way, as it is recorded."""

    ino: int
    key: Key
    drive: int
    token: str
    paths: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        paths = [base64.b64encode(os.fsencode(path)).decode() for path in self.paths]
        return {"ino": self.ino, "key": list(self.key), "drive": self.drive, "token": self.token, "paths": paths}

    @classmethod
    def of(cls, record: dict[str, Any]) -> "_Work":
        kind, ident, part = record["key"]
        paths = tuple(os.fsdecode(base64.b64decode(path)) for path in record["paths"])
        return cls(record["ino"], (kind, ident, part), record["drive"], record["token"], paths)

    @property
    def pin(self) -> Pin:
        return Pin(self.ino, self.key, "download", self.drive, self.token)


@contextmanager
def _step(place: str) -> Iterator[None]:
    reach(f"before download {place}")
    yield
    reach(f"after download {place}")


class Becoming:
    """Makes local files of pinned ones."""

    def __init__(self, union: Union, remote: RemoteBranch, pins: Pins, journal: Journal) -> None:
        self._union, self._remote, self._pins, self._journal = union, remote, pins, journal
        self._names: Names = remote.names

    def run(self, node: RemoteFile) -> list[str]:
        """Make the pinned file an ordinary one; its names. OSError, and it is pinned as before: EEXIST (something
        local stands at one of its names), EBUSY (its names keep changing), ENOSPC, EPERM, EIO."""
        with self._held(node) as paths:
            pin = self._pins.get(node.ino)
            if pin is None or pin.digest is None:
                raise OSError(errno.ENODATA, "it has no whole local copy")
            for path in paths:
                if len(self._union.lookup.changeable(path)) > 1:
                    raise OSError(errno.EEXIST, "a local file of this name hides it", path)
            work = _Work(node.ino, node.key, pin.drive, pin.token, tuple(paths))
            with _step("dressed"):
                self._dress(self._pins.branch_of(pin), pin, node)
            with _step("begun"):
                ident = self._journal.begin(work.plain())
            try:
                self._change_over(ident, work, node, paths)
            except OSError:
                self._undo(ident, work)
                raise
            return paths

    @contextmanager
    def _held(self, node: RemoteFile) -> Iterator[list[str]]:
        """All names of the file, with the locks of the tree for them and for the folders above."""
        for _ in range(_TRIES):
            paths = sorted(self._names.paths_of([node]))
            if not paths:
                raise error(errno.ENOENT)
            with self._union.locks(*paths, *_above(paths)):
                if sorted(self._names.paths_of([node])) == paths:
                    yield paths
                    return
        raise OSError(errno.EBUSY, "its names keep changing")

    def _dress(self, branch: LocalBranch, pin: Pin, node: RemoteFile) -> None:
        """Give the copy owner, mode, times and extended attributes of the file, on stable storage."""
        with branch.drive.require().parent(pin.path) as (dirfd, name):
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dirfd)
        try:
            have = os.fstat(fd)
            if (have.st_uid, have.st_gid) != (node.uid, node.gid):
                os.fchown(fd, node.uid, node.gid)
            for xattr, value in (node.xattrs or {}).items():
                os.setxattr(fd, xattr, value)
            os.fchmod(fd, node.mode & 0o7777)
            syscalls.utimens(by_proc(fd), node.atime_ns, node.mtime_ns)
            os.fsync(fd)
        finally:
            os.close(fd)

    # The change itself, in the running program and after a crash.

    def _change_over(self, ident: int, work: _Work, node: RemoteFile, paths: Sequence[str]) -> None:
        branch = self._pins.branch_of(work.pin)
        # Those that read from the provider shall go on when that lets the file go.
        for handle in self._remote.handles(node):
            self._remote.use_copy(node, handle)
        folders = {folder: self._union.stat(folder).ino for folder in _above(paths)}
        with self._union.still.hold(dict.fromkeys(paths, node.attr()), folders):
            with _step("linked"):
                for path in paths:
                    self._link(branch, work, path)
                for folder in {parent_of(path) for path in paths}:
                    branch.fsyncdir(folder)
            with _step("numbered"):
                branch.show_as(paths[0], node.ino, durable=True)
            with _step("committed"):
                self._commit(node, paths)
            for handle in self._remote.handles(node):
                handle.become_local(paths[0])
            self._remote.settle(node)
            self._finish(ident, work)
        log.info("%s lies on drive %s now", ", ".join(paths), branch.drive.name)

    def _link(self, branch: LocalBranch, work: _Work, path: str) -> None:
        """Give the copy this name; nothing happens if it has it. EEXIST."""
        if self._is_copy(branch, work, path):
            return
        self._union.make_parents(branch, path)
        folder = branch.stat(parent_of(path))
        root = branch.drive.require()
        with (
            root.parent(work.pin.path) as (copies, token),
            root.parent(path) as (dirfd, name),
            branch.reported(path, file=True),
        ):
            try:
                os.link(token, name, src_dir_fd=copies, dst_dir_fd=dirfd, follow_symlinks=False)
            except PermissionError as cause:
                raise OSError(errno.EPERM, _NO_LINKS.format(branch.drive.name)) from cause
        # To the tree nothing was added. The folder may be somebody else's where the mount does not run as root.
        with suppress(OSError):
            branch.utime(parent_of(path), OMIT, folder.mtime_ns)

    def _is_copy(self, branch: LocalBranch, work: _Work, path: str) -> bool:
        root = branch.drive.require()
        copy, found = lstat(root, work.pin.path), lstat(root, path)
        return copy is not None and found is not None and (copy.st_dev, copy.st_ino) == (found.st_dev, found.st_ino)

    def _commit(self, node: RemoteFile, paths: Sequence[str]) -> None:
        with self._names.changing(durable=True) as change:
            folders = {parent_of(path) for path in paths}
            for path in paths:
                self._names.unlink(path, change)
            for folder in folders:
                self._keep_times(change, folder)
            self._pins.remove(node.ino, change)

    def _keep_times(self, change: Change, folder: str) -> None:
        """The same names are in it as before."""
        node = self._names.directory(folder)
        times = (node.mtime_ns, node.ctime_ns)
        change.db.execute("UPDATE node SET mtime_ns = ?, ctime_ns = ? WHERE ino = ?", (*times, node.ino))

        def restore() -> None:
            node.mtime_ns, node.ctime_ns = times

        change.then(restore)

    def _finish(self, ident: int, work: _Work) -> None:
        """After the commit; a drive that goes away just now leaves this to the next look."""
        try:
            with _step("removed"):
                self._pins.delete_copy(self._pins.branch_of(work.pin), work.token)
            with _step("ended"):
                self._journal.end(ident)
        except OSError as cause:
            log.warning("what is left of the copy %s waits: %s", work.token, cause)

    def _undo(self, ident: int, work: _Work) -> None:
        """Take the names away that were made, unless it is committed; what cannot be done now, a later look does."""
        if self._pins.get(work.ino) is None:
            return
        with suppress(OSError):
            self._unlink(self._pins.branch_of(work.pin), work, work.paths)
            self._journal.end(ident)

    def _unlink(self, branch: LocalBranch, work: _Work, paths: Iterable[str]) -> None:
        for path in paths:
            if self._is_copy(branch, work, path):
                branch.unlink(path)
                branch.fsyncdir(parent_of(path))

    # After a crash.

    def recover(self) -> list[str]:
        """Finish what was interrupted; the names of what has to wait for a drive."""
        waiting: list[str] = []
        for ident, record in self._journal.pending():
            work = _Work.of(record)
            try:
                self._recover(ident, work)
            except OSError as cause:
                log.warning("work on %s has to wait: %s", ", ".join(work.paths), cause)
                waiting += work.paths
        return waiting

    def _recover(self, ident: int, work: _Work) -> None:
        branch = self._pins.branch_of(work.pin)
        branch.drive.require()
        node, pin = self._names.file_of(work.key), self._pins.get(work.ino)
        if pin is None:
            if node is None:
                self._remote.let_go(work.key)
            self._finish(ident, work)
            return
        if node is None or node.ino != work.ino or pin.token != work.token:
            with self._union.locks(*work.paths):
                self._unlink(branch, work, work.paths)
            self._journal.end(ident)
            return
        with self._held(node) as paths:
            # Renamed meanwhile, while its drive was missing.
            self._unlink(branch, work, set(work.paths) - set(paths))
            self._change_over(ident, work, node, paths)


def _above(paths: Iterable[str]) -> set[str]:
    """All folders above these paths, the root left out."""
    found: set[str] = set()
    for path in paths:
        while path := parent_of(path):
            found.add(path)
    return found
