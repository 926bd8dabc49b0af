"""The union: the drives in order, then the remote names, shown as one tree; itself a Branch.

* A file is shown from the first branch that has it. Directories merge: attributes of the first branch that has
  one, newest mtime, links counted together; a change to a directory reaches all its branches.
* A new file goes to the drive that placement puts first; its parent folders are made there as they are elsewhere.
* link and rename stay on the branch of the file. unlink and replacing remove every copy, hidden ones first, so
  nothing resurfaces. Emptiness is checked on every branch before any is touched.

* A file that changes drives keeps its names locked meanwhile, and shows what it showed before (`Still`).

Lock order: path locks (sorted), then those of `Parents`, then the locks inside a branch. Reading takes no lock.
"""

import contextlib
import errno
import logging
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from placement.drive import Drive
from placement.identity import FOLDER as HIDDEN
from vfs.attr import Attr, Caller, Space
from vfs.branch import Branch, Folder, Handle, Moved, error
from vfs.intents import Intents, Journal
from vfs.local import LocalBranch
from vfs.locks import PathLocks
from vfs.lookup import NOT_HERE, Lookup, must_be_empty, remove
from vfs.merge import merge, total, within
from vfs.parents import Parents
from vfs.remote import RemoteBranch
from vfs.renaming import RENAME_EXCHANGE, Renaming
from vfs.still import Still

log = logging.getLogger(__name__)

# (what was done, path, drive, which attempt it was, why it failed or "", the other path or drive if there is one)
Tell = Callable[..., None]
_TRY_NEXT = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
T = TypeVar("T")


def untold(done: str, path: str, drive: Drive, attempt: int, problem: str, source: str = "") -> None:
    """A `Tell` for a tree whose changes nobody wants to hear of."""


class Place(Protocol):
    """Chooses where a new object goes; `placement.rules.Placement` is one."""

    def place(self, path: str, size_hint: int | None = None) -> Sequence[Drive]:
        """Drives that may take the new object at `path`, best first; OSError with the real reason if none may."""
        ...


class Union(Branch):
    """All branches as one."""

    def __init__(self, drives: Sequence[LocalBranch], remote: RemoteBranch, placement: Place, journal: Journal) -> None:
        self._drives = list(drives)
        self._placement = placement
        self.intents = Intents(remote, journal, {branch.drive.number: branch for branch in drives})
        self.lookup = Lookup([*drives, remote])
        self.lookup.checks.append(self.intents.check)
        self._parents = Parents(self.lookup)
        self._renaming = Renaming(self.lookup, self._parents, remote, self.intents)
        self.locks = PathLocks()
        self.still = Still()
        # Where new files go; unlike `placement.place` it may know how large they will be.
        self.place_file: Callable[[str], Sequence[Drive]] = placement.place
        self.tell: Tell = untold

    # Drives that come and go.

    def join(self, branch: LocalBranch) -> None:
        """From now on what lies on this drive is shown as well, below what the drives before it have."""
        self.intents.join(branch.drive.number, branch)
        self._drives = [*self._drives, branch]
        self.lookup.branches = [*self._drives, *(one for one in self.lookup.branches if one not in self._drives)]

    def leave(self, branch: LocalBranch) -> None:
        """From now on nothing of this drive is shown; what is open there may be used to its end."""
        self._drives = [one for one in self._drives if one is not branch]
        self.lookup.branches = [one for one in self.lookup.branches if one is not branch]

    # Reading.

    def stat(self, path: str) -> Attr:
        return self._settled(path, lambda: self._stat(path))

    def _stat(self, path: str) -> Attr:
        first = self.lookup.first(path)
        if not first.attr.is_dir:
            return self.still.shown(path, first.attr)
        return self.still.shown(path, merge(self.lookup.shown_directories(path, first)))

    def _settled(self, path: str, look: Callable[[], T]) -> T:
        """What `look` finds; once more if something at `path` went from one drive to another meanwhile."""
        while True:
            mark = self.still.mark()
            try:
                found = look()
            except FileNotFoundError:
                if not self.still.outdated(mark, path):
                    raise
            else:
                if not self.still.outdated(mark, path):
                    return found

    def folder(self, path: str) -> Folder:
        return self._settled(path, lambda: self._folder(path))

    def _folder(self, path: str) -> Folder:
        attrs: list[Attr] = []
        entries: dict[str, Attr] = {}
        for folder in self.lookup.folders(path):
            attrs.append(folder.attr)
            if not entries:
                entries = dict(folder.entries)
                continue
            for name, attr in folder.entries:
                shown = entries.get(name)
                if shown is None:
                    entries[name] = attr
                elif shown.is_dir and attr.is_dir:
                    entries[name] = merge((shown, attr))
        shown_entries = self.still.shown_in(path, entries)
        return Folder(self.still.shown(path, merge(attrs)), iter(shown_entries.items()))

    def open(self, path: str, flags: int) -> Handle:
        with self.locks(path):
            return self.lookup.first(path).branch.open(path, flags)

    def readlink(self, path: str) -> str:
        return self._settled(path, lambda: self.lookup.first(path).branch.readlink(path))

    def space(self) -> Space:
        """The drives together; several on one filesystem have no more room than that has."""
        groups: dict[int, list[tuple[Space, Space]]] = {}
        for branch in self._drives:
            # A drive that is missing has no room.
            with contextlib.suppress(OSError):
                groups.setdefault(branch.device(), []).append((branch.filesystem(), branch.space()))
        return total(within(group[0][0], total(room for _, room in group)) for group in groups.values())

    def reports_late(self) -> bool:
        """Whether some drive may report errors of writing only when the file is closed."""
        return any(branch.drive.reports_late() for branch in self._drives)

    def getxattr(self, path: str, name: str) -> bytes:
        return self._settled(path, lambda: self.lookup.ask(path, lambda branch: branch.getxattr(path, name)))

    def listxattr(self, path: str) -> list[str]:
        return self._settled(path, lambda: self.lookup.first(path).branch.listxattr(path))

    # Making.

    def create(self, path: str, flags: int, mode: int, caller: Caller) -> Handle:
        with self.locks(path):
            self._must_be_new(path)
            return self._place(path, lambda branch: branch.create(path, flags, mode, caller), file=True)

    def make_parents(self, branch: Branch, path: str) -> None:
        """Make the folders above `path` on this branch, as they are shown elsewhere; the caller holds the locks."""
        self._parents.make(branch, path)

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
            (branch, _), *_ = self.lookup.changeable(source)
            self._must_be_new(path)
            self._parents.make(branch, path)
            branch.link(source, path)
            if isinstance(branch, LocalBranch):
                self.tell("linked", path, branch.drive, 1, "", source)

    def _must_be_new(self, path: str) -> None:
        # That its folder is there, the kernel has seen, and who makes it will find out otherwise.
        _must_not_be_ours(path)
        if self.lookup.copies(path):
            raise error(errno.EEXIST, path)

    def _place(self, path: str, make: Callable[[LocalBranch], T], file: bool = False) -> T:
        """Let `make` run on the best drive; the next one is tried when that is full or read-only after all."""
        full: OSError | None = None
        drives = (self.place_file if file else self._placement.place)(path)
        # Looked up afterwards, as one of them may have joined just now; or left.
        by_number = {branch.drive.number: branch for branch in self._drives}
        chosen = [drive for drive in drives if drive.number in by_number]
        for attempt, drive in enumerate(chosen, 1):
            try:
                made = self._made(by_number[drive.number], path, make)
            except OSError as cause:
                self.tell("placed", path, drive, attempt, cause.strerror or str(cause))
                if cause.errno not in _TRY_NEXT:
                    raise
                full = cause
            else:
                self.tell("placed", path, drive, attempt, "")
                return made
        raise full or error(errno.ENOSPC, path)

    def _made(self, branch: LocalBranch, path: str, make: Callable[[LocalBranch], T]) -> T:
        """What `make` makes of `path` on this branch, after its folders if they are not there yet."""
        try:
            return make(branch)
        except OSError as cause:
            if cause.errno not in NOT_HERE:
                raise
        self._parents.make(branch, path)
        return make(branch)

    # Taking away.

    def unlink(self, path: str) -> None:
        self.taken_away(path)

    def taken_away(self, path: str) -> Attr:
        """`unlink`, and what was shown at `path` before."""
        with self.locks(path):
            copies = self.lookup.changeable(path)
            if copies[0].attr.is_dir:
                raise error(errno.EISDIR, path)
            remove(path, copies)
            return copies[0].attr

    def rmdir(self, path: str) -> None:
        with self.locks(path):
            copies = [copy for copy in self.lookup.changeable(path) if copy.attr.is_dir]
            self.lookup.directories(path)
            must_be_empty(path, copies)
            for branch, _ in reversed(copies):
                branch.rmdir(path)

    def rename(self, source: str, target: str, flags: int) -> None:
        self.renamed(source, target, flags)

    def renamed(self, source: str, target: str, flags: int) -> tuple[Attr, Attr | None]:
        """`rename`, and what was shown at `source` and at `target` before."""
        _must_not_be_ours(target)
        with self.locks(source, target):
            shown = self._renaming.rename(source, target, flags)
            moved = Moved(source, target, flags == RENAME_EXCHANGE)
            for branch in self.lookup.branches:
                branch.follow(moved)
            return shown

    # Attributes: of a directory on every branch, of a file on the one shown.

    def _owners(self, path: str) -> list[Branch]:
        copies = self.lookup.changeable(path)
        if not copies[0].attr.is_dir:
            return [copies[0].branch]
        return [copy.branch for copy in copies if copy.attr.is_dir]

    def truncate(self, path: str, size: int) -> None:
        with self.locks(path):
            self.lookup.first(path).branch.truncate(path, size)

    def chmod(self, path: str, mode: int) -> None:
        self._change(path, lambda branch: branch.chmod(path, mode))

    def chown(self, path: str, uid: int, gid: int) -> None:
        self._change(path, lambda branch: branch.chown(path, uid, gid))

    def utime(self, path: str, atime_ns: int, mtime_ns: int) -> None:
        self._change(path, lambda branch: branch.utime(path, atime_ns, mtime_ns))

    def setxattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        self._change(path, lambda branch: branch.setxattr(path, name, value, flags))

    def removexattr(self, path: str, name: str) -> None:
        self._change(path, lambda branch: branch.removexattr(path, name))

    def _change(self, path: str, change: Callable[[Branch], None]) -> None:
        with self.locks(path):
            for branch in self._owners(path):
                change(branch)

    def fsyncdir(self, path: str) -> None:
        failure: OSError | None = None
        for branch, _ in self.lookup.directories(path):
            try:
                branch.fsyncdir(path)
            except OSError as cause:
                # A drive that is missing cannot promise anything; the others do all the same.
                failure = cause
        if failure is not None:
            raise failure


def _must_not_be_ours(path: str) -> None:
    """EPERM for the folder at the root of each drive in which mediapool keeps its own files."""
    if path == HIDDEN or path.startswith(HIDDEN + "/"):
        raise error(errno.EPERM, path)
