"""The union: the drives in order, then the remote names, shown as one tree; itself a Branch.

* A file is shown from the first branch that has it. Directories merge: attributes of the first branch that has
  one, newest mtime, links counted together; a change to a directory reaches all its branches.
* A new file goes to the drive that placement puts first; its parent folders are made there as they are elsewhere.
* link and rename stay on the branch of the file. unlink and replacing remove every copy, hidden ones first, so
  nothing resurfaces. Emptiness is checked on every branch before any is touched.

Lock order: path locks (sorted), then the locks inside a branch. Reading takes no lock.
"""

import contextlib
import errno
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from placement.drive import Drive
from placement.identity import FOLDER as HIDDEN
from vfs.attr import OMIT, Attr, Caller, Space
from vfs.branch import Branch, Handle, error
from vfs.inodes import Inodes
from vfs.local import LocalBranch
from vfs.locks import PathLocks
from vfs.merge import merge, total, within

log = logging.getLogger(__name__)

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
# How libfuse calls an open file whose name is removed (fuse.c, hidden_name); it keeps the folder.
_LIBFUSE_HIDDEN = re.compile(r"(.*/)?\.fuse_hidden[0-9a-f]{16}")
_NOT_HERE = (errno.ENOENT, errno.ENOTDIR)
_TRY_NEXT = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
T = TypeVar("T")


class Place(Protocol):
    """Chooses where a new object goes; `placement.rules.Placement` is one."""

    def place(self, path: str, size_hint: int | None = None) -> Sequence[Drive]:
        """Drives that may take the new object at `path`, best first; OSError with the real reason if none may."""
        ...


class Copy(NamedTuple):
    """One branch that has a path, and what it says about it."""

    branch: Branch
    attr: Attr


class Union(Branch):
    """All branches as one."""

    def __init__(self, drives: Sequence[LocalBranch], remote: Branch, placement: Place, inodes: Inodes) -> None:
        self._drives = list(drives)
        self._remote = remote
        self._branches: list[Branch] = [*drives, remote]
        self._placement = placement
        self._inodes = inodes
        self.locks = PathLocks()

    # Finding.

    def copies(self, path: str) -> list[Copy]:
        """Each branch that has `path`, first the one that is shown; empty if none has.

        Raises if any branch cannot answer (EIO): who changes something must know all copies.
        """
        found: list[Copy] = []
        for branch in self._branches:
            try:
                attr = branch.stat(path)
            except OSError as cause:
                if cause.errno in _NOT_HERE:
                    continue
                raise
            found.append(Copy(branch, attr))
        return found

    def _first(self, path: str) -> Copy:
        """The copy that is shown. A branch that cannot answer (EIO) matters only if no other has the path."""
        failure: OSError | None = None
        for branch in self._branches:
            try:
                return Copy(branch, branch.stat(path))
            except OSError as cause:
                if cause.errno not in _NOT_HERE:
                    failure = cause
        raise failure or error(errno.ENOENT, path)

    def _all(self, path: str) -> list[Copy]:
        copies = self.copies(path)
        if not copies:
            raise error(errno.ENOENT, path)
        return copies

    def _directories(self, path: str) -> list[Copy]:
        """The branches that have a directory at `path`; ENOENT, or ENOTDIR if a file is shown there."""
        copies = self._all(path)
        if not copies[0].attr.is_dir:
            raise error(errno.ENOTDIR, path)
        return [copy for copy in copies if copy.attr.is_dir]

    def stat(self, path: str) -> Attr:
        first = self._first(path)
        if not first.attr.is_dir:
            return first.attr
        return merge(self._shown_directories(path))

    def _shown_directories(self, path: str) -> Iterator[Attr]:
        for branch in self._branches:
            with contextlib.suppress(OSError):
                attr = branch.stat(path)
                if attr.is_dir:
                    yield attr

    def entries(self, path: str) -> Iterator[tuple[str, Attr]]:
        entries: dict[str, Attr] = {}
        for branch, _ in self._directories(path):
            for name, attr in branch.entries(path):
                shown = entries.get(name)
                if shown is None:
                    entries[name] = attr
                elif shown.is_dir and attr.is_dir:
                    entries[name] = merge((shown, attr))
        return iter(entries.items())

    def open(self, path: str, flags: int) -> Handle:
        return self._first(path).branch.open(path, flags)

    def readlink(self, path: str) -> str:
        return self._first(path).branch.readlink(path)

    def space(self) -> Space:
        """The drives together; several on one filesystem have no more room than that has."""
        groups: dict[int, list[tuple[Space, Space]]] = {}
        for branch in self._drives:
            # A drive that is missing has no room.
            with contextlib.suppress(OSError):
                groups.setdefault(branch.device(), []).append((branch.filesystem(), branch.space()))
        return total(within(group[0][0], total(room for _, room in group)) for group in groups.values())

    def getxattr(self, path: str, name: str) -> bytes:
        return self._first(path).branch.getxattr(path, name)

    def listxattr(self, path: str) -> list[str]:
        return self._first(path).branch.listxattr(path)

    # Making.

    def create(self, path: str, flags: int, mode: int, caller: Caller) -> Handle:
        with self.locks(path):
            self._must_be_new(path)
            return self._place(path, lambda branch: branch.create(path, flags, mode, caller))

    def mknod(self, path: str, mode: int, device: int, caller: Caller) -> None:
        with self.locks(path):
            self._must_be_new(path)
            self._place(path, lambda branch: branch.mknod(path, mode, device, caller))

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        with self.locks(path):
            self._must_be_new(path)
            self._place(path, lambda branch: branch.mkdir(path, mode, caller))

    def symlink(self, target: str, path: str, caller: Caller) -> None:
        with self.locks(path):
            self._must_be_new(path)
            self._place(path, lambda branch: branch.symlink(target, path, caller))

    def link(self, source: str, path: str) -> None:
        with self.locks(source, path):
            branch = self._first(source).branch
            self._must_be_new(path)
            self._make_parents(branch, path)
            branch.link(source, path)

    def _must_be_new(self, path: str) -> None:
        _must_not_be_ours(path)
        self._directories(parent_of(path))
        if self.copies(path):
            raise error(errno.EEXIST, path)

    def _place(self, path: str, make: Callable[[LocalBranch], T]) -> T:
        """Let `make` run on the best drive; the next one is tried when that is full or read-only after all."""
        by_number = {branch.drive.number: branch for branch in self._drives}
        full: OSError | None = None
        for drive in self._placement.place(path):
            branch = by_number[drive.number]
            try:
                self._make_parents(branch, path)
                return make(branch)
            except OSError as cause:
                if cause.errno not in _TRY_NEXT:
                    raise
                log.info("%s does not take %s (%s), trying the next drive", drive.name, path, cause.strerror)
                full = cause
        raise full or error(errno.ENOSPC, path)

    def _make_parents(self, branch: Branch, path: str) -> None:
        """Make the parent folders of `path` on this branch, with the attributes they are shown with."""
        parent = parent_of(path)
        if not parent or _has_directory(branch, parent):
            return
        self._make_parents(branch, parent)
        with self.locks("mkdir:" + parent):
            if _has_directory(branch, parent):
                return
            shown = self._first(parent)
            _copy_directory(shown, branch, parent)
            self._keep_number(shown, branch, parent)

    def _keep_number(self, shown: Copy, branch: Branch, path: str) -> None:
        """If the copy made on `branch` comes before the one shown so far, let it show the same inode number."""
        if isinstance(branch, LocalBranch) and self._before(branch, shown.branch):
            branch.show_as(path, shown.attr.ino)

    def _before(self, one: Branch, other: Branch) -> bool:
        return self._branches.index(one) < self._branches.index(other)

    # Taking away.

    def unlink(self, path: str) -> None:
        with self.locks(path):
            copies = self._all(path)
            if copies[0].attr.is_dir:
                raise error(errno.EISDIR, path)
            _unlink(path, copies)

    def rmdir(self, path: str) -> None:
        with self.locks(path):
            copies = self._directories(path)
            self._must_be_empty(path, copies)
            for branch, _ in reversed(copies):
                branch.rmdir(path)

    def _must_be_empty(self, path: str, copies: Iterable[Copy]) -> None:
        for branch, _ in copies:
            if next(branch.entries(path), None) is not None:
                raise error(errno.ENOTEMPTY, path)

    # Moving.

    def rename(self, source: str, target: str, flags: int) -> None:
        _must_not_be_ours(target)
        with self.locks(source, target):
            sources = self._all(source)
            targets = self.copies(target)
            if flags == RENAME_EXCHANGE:
                self._exchange(source, target, sources, targets)
            elif flags & ~RENAME_NOREPLACE:
                raise error(errno.EINVAL, source)
            elif targets and flags & RENAME_NOREPLACE:
                raise error(errno.EEXIST, target)
            elif _LIBFUSE_HIDDEN.fullmatch(target) and self._hide(source, target, sources):
                return
            elif sources[0].attr.is_dir:
                self._rename_directory(source, target, [copy for copy in sources if copy.attr.is_dir], targets)
            else:
                self._rename_file(source, target, sources, targets)

    def _hide(self, source: str, target: str, sources: list[Copy]) -> bool:
        """libfuse moves an open file out of the way that is being unlinked; False if this is an ordinary name."""
        if not sources[0].branch.hide(source, target):
            return False
        _unlink(source, sources[1:])
        return True

    def _rename_file(self, source: str, target: str, sources: list[Copy], targets: list[Copy]) -> None:
        branch, attr = sources[0]
        if targets and targets[0].attr.is_dir:
            raise error(errno.EISDIR, target)
        if targets and targets[0].attr.ino == attr.ino:
            return  # two names of one file: rename(2) does nothing
        self._make_parents(branch, target)
        branch.rename(source, target, 0)
        # Only now: until the rename is done, every copy may still be needed.
        _unlink(source, sources[1:])
        _unlink(target, [copy for copy in targets if copy.branch is not branch])

    def _rename_directory(self, source: str, target: str, sources: list[Copy], targets: list[Copy]) -> None:
        if targets and not targets[0].attr.is_dir:
            raise error(errno.ENOTDIR, target)
        self._must_be_empty(target, targets)
        for branch, _ in sources:
            self._make_parents(branch, target)
        done: list[Branch] = []
        try:
            for branch, _ in sources:
                branch.rename(source, target, 0)
                done.append(branch)
        except OSError:
            for branch in reversed(done):
                branch.rename(target, source, 0)
            raise
        for branch, _ in targets:
            if branch not in done:
                branch.rmdir(target)

    def _exchange(self, source: str, target: str, sources: list[Copy], targets: list[Copy]) -> None:
        """Swap two names that lie on one branch alone; EINVAL if they do not."""
        if not targets:
            raise error(errno.ENOENT, target)
        branches = {id(copy.branch) for copy in (*sources, *targets)}
        if len(branches) != 1:
            raise error(errno.EINVAL, source)
        sources[0].branch.rename(source, target, RENAME_EXCHANGE)

    # Attributes: of a directory on every branch, of a file on the one shown.

    def _owners(self, path: str) -> list[Branch]:
        first = self._first(path)
        if not first.attr.is_dir:
            return [first.branch]
        return [branch for branch, _ in self._directories(path)]

    def truncate(self, path: str, size: int) -> None:
        self._first(path).branch.truncate(path, size)

    def chmod(self, path: str, mode: int) -> None:
        for branch in self._owners(path):
            branch.chmod(path, mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        for branch in self._owners(path):
            branch.chown(path, uid, gid)

    def utime(self, path: str, atime_ns: int, mtime_ns: int) -> None:
        for branch in self._owners(path):
            branch.utime(path, atime_ns, mtime_ns)

    def setxattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        for branch in self._owners(path):
            branch.setxattr(path, name, value, flags)

    def removexattr(self, path: str, name: str) -> None:
        for branch in self._owners(path):
            branch.removexattr(path, name)

    def fsyncdir(self, path: str) -> None:
        for branch, _ in self._directories(path):
            branch.fsyncdir(path)


def parent_of(path: str) -> str:
    """The folder of `path`; "" for a name in the root."""
    return path.rpartition("/")[0]


def _must_not_be_ours(path: str) -> None:
    """EPERM for the folder at the root of each drive in which mediapool keeps its own files."""
    if path == HIDDEN or path.startswith(HIDDEN + "/"):
        raise error(errno.EPERM, path)


def _unlink(path: str, copies: Sequence[Copy]) -> None:
    """Remove a name from these branches, the shown copy last, so that no hidden one shows up meanwhile."""
    for branch, attr in reversed(copies):
        if not attr.is_dir:
            branch.unlink(path)


def _has_directory(branch: Branch, path: str) -> bool:
    try:
        return branch.stat(path).is_dir
    except OSError as cause:
        if cause.errno in _NOT_HERE:
            return False
        raise


def _copy_directory(shown: Copy, branch: Branch, path: str) -> None:
    """Make `path` on `branch` like the directory shown from another one: mode, owner, xattrs, times."""
    attr = shown.attr
    branch.mkdir(path, 0o700, Caller(attr.uid, attr.gid))
    for name in shown.branch.listxattr(path):
        # What the drive's filesystem does not keep (another LSM, no user xattrs) does not stop a file.
        with contextlib.suppress(OSError):
            branch.setxattr(path, name, shown.branch.getxattr(path, name), 0)
    with contextlib.suppress(PermissionError):
        branch.chown(path, attr.uid, attr.gid)
    branch.chmod(path, attr.mode & 0o7777)
    branch.utime(path, OMIT, attr.mtime_ns)
