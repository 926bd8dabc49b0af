"""`Drive`: the root directory of one local filesystem in the pool, watched, so that a pulled one is noticed.

Its identity file lies in the drive itself, so an empty mount point, a wrong disk or a cloned one shows
before anything is written. The file is read through the root directory held open, and the path must still
lead to that same directory. A drive that is gone is *missing*: its calls raise EIO. Once its path leads to
the right identity again, the next check opens it anew.

Lock order: `Drive._lock` (one check at a time) is a leaf; only the check's own system calls run under it.
"""

import errno
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from placement import system as os
from placement.beneath import Root
from placement.identity import IDENTITY, DriveError, Identity, read_identity
from placement.kinds import Kind
from placement.reserving import Reserved
from placement.usage import Usage

log = logging.getLogger(__name__)

Mode = Literal["rw", "ro", "nc"]

# A check is good for this long (seconds); one that takes longer than HUNG counts as "does not answer".
FRESH = 1.0
HUNG = 5.0
# Filesystems on disks of this machine; of any other it is not known when they report errors.
_REPORTING_AT_ONCE = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "tmpfs", "vfat", "exfat", "ntfs3", "overlay")
)


@dataclass(frozen=True, slots=True)
class DriveConfig:
    """One drive as the configuration describes it.

    `mode`: "rw"; "ro", nothing is changed; "nc", no new objects are placed, existing ones may be changed.
    `tier`: None for the kind of drive it is found to be. `min_free`: bytes kept free there, None for the pool's
    default. `capacity`: bytes that may lie there in
    all, None for as many as the filesystem takes.
    """

    name: str
    path: str
    mode: Mode = "rw"
    tier: str | None = None
    min_free: int | None = None
    capacity: int | None = None


class Drive:
    """One drive, present or missing. Thread-safe."""

    def __init__(self, config: DriveConfig, identity: Identity, root: Root | None, problem: DriveError | None) -> None:
        """For `open`; the arguments say what it found."""
        self.config = config
        self.name = config.name
        self.path = config.path
        self.mode = config.mode
        self.id = identity.id
        self.number = identity.number
        self._identity = identity
        self._root = root
        self._problem = problem
        self._lock = threading.Lock()
        self._began = 0.0
        self._fresh_until = time.monotonic() + FRESH
        self._closed = False
        self._kind: Kind | None = None
        self.reserved = Reserved()
        # Why it takes no new objects for now, although its config allows it; "" while it does.
        self.retiring = ""
        # Only a drive with a capacity of its own needs its bytes counted.
        self.usage = None if config.capacity is None else Usage(self.require)

    @classmethod
    def open(cls, config: DriveConfig, *, known: Identity | None = None) -> Self:
        """Open the drive at `config.path`; `known` is what the pool's state remembers of this name.

        A known drive that cannot be opened, or whose path holds no or another identity, is returned *missing*
        and opened by a later check. Nothing is ever written at its path. DriveError where the pool knows
        nothing of it and the folder is no drive, not readable or damaged.
        """
        try:
            root, identity = _found(config, known)
        except DriveError as error:
            if known is None:
                raise
            problem = _kept(error)
        else:
            return cls(config, identity, root, None)
        log.warning("%s", problem)
        return cls(config, known, None, problem)

    @property
    def present(self) -> bool:
        """Whether the drive is there, as of at most a second ago."""
        return self._current() is not None

    @property
    def problem(self) -> DriveError | None:
        """Why the drive is missing, None while it is present."""
        return None if self._current() is not None else self._problem or self._hung()

    def require(self) -> Root:
        """The root to work below, checked at most a second ago; OSError EIO with the cause if it is missing.

        Ask for each operation and do not keep it: a drive that comes back has another root.
        """
        root = self._current()
        if root is None:
            raise OSError(errno.EIO, str(self._problem or self._hung()), self.path)
        return root

    def check(self) -> bool:
        """Look now whether the drive is there; reopen it if it has come back."""
        with self._lock:
            self._recheck()
            return self._root is not None

    def has_failed(self) -> bool:
        """Whether the drive is missing, asked after a call below its root failed: looks anew where it seems present."""
        if self._current() is not None:
            self._fresh_until = 0.0
        return self._current() is None

    @property
    def tier(self) -> str | None:
        """The tier of its config, else its kind as far as that was found out: ssd, hdd or network."""
        return self.config.tier or self.kind

    @property
    def kind(self) -> Kind | None:
        """What kind of drive it is; None while that is unknown."""
        root = self._current()
        if self._kind is None and root is not None:
            self._kind = root.kind()
        return self._kind

    def space(self) -> "os.statvfs_result":
        """Room of the drive's filesystem; OSError EIO if it is missing, never the room of its mount point."""
        return self.require().statvfs()

    def reports_late(self) -> bool:
        """Whether it may report errors of writing only when the file is closed, as network filesystems do."""
        try:
            return self.require().filesystem_type() not in _REPORTING_AT_ONCE
        except OSError:
            return True

    def close(self) -> None:
        """Let go of the root. The drive is missing from then on; operations under way may end."""
        self._closed = True
        if self.usage is not None:
            self.usage.close()
        self.check()

    def _current(self) -> Root | None:
        if time.monotonic() < self._fresh_until:
            return self._root
        if self._lock.acquire(blocking=False):
            try:
                self._recheck()
            finally:
                self._lock.release()
        elif time.monotonic() - self._began > HUNG:
            # The disk holds up the thread that checks it; let it not hold up all the others.
            return None
        return self._root

    def _hung(self) -> DriveError:
        return DriveError(self.name, self.path, "it does not answer", "Look at the kernel's log for its errors")

    def _recheck(self) -> None:
        self._began = time.monotonic()
        try:
            root, problem = self._look(), None
        except DriveError as error:
            root, problem = None, _kept(error)
        if not self._closed and (root is None) != (self._root is None):
            log.warning("%s", problem) if problem else log.info("drive %r is back", self.name)
        # Whoever still works below the old root keeps it open until done.
        self._root, self._problem = root, problem
        self._fresh_until = time.monotonic() + FRESH

    def _look(self) -> Root:
        """The root as it is, or opened anew where the path leads elsewhere; DriveError if missing."""
        if self._closed:
            raise DriveError(self.name, self.path, "it is closed", "Mount the pool again")
        root = self._root
        if root is not None and leads_to(self.path, root):
            _identify(self.config, root, self._identity)
            return root
        return _found(self.config, self._identity)[0]


def _kept(problem: DriveError) -> DriveError:
    """The problem without its traceback, whose frames would hold a root open as long as it is remembered."""
    return DriveError(problem.name, problem.path, problem.cause, problem.remedy)


def leads_to(path: str, root: Root) -> bool:
    """Whether `path` still leads to the folder that is open as `root`."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == root.key


def _found(config: DriveConfig, known: Identity | None) -> tuple[Root, Identity]:
    try:
        root = Root(config.path)
    except OSError as error:
        cause = f"cannot open the folder: {error.strerror}"
        raise DriveError(config.name, config.path, cause, "Is it mounted, and the path right?") from error
    return root, _identify(config, root, known)


def _identify(config: DriveConfig, root: Root, known: Identity | None) -> Identity:
    """The identity below `root`, which must be `known` if that is given; DriveError."""

    def problem(cause: str, remedy: str) -> DriveError:
        return DriveError(config.name, config.path, cause, remedy)

    try:
        found = read_identity(root)
    except (FileNotFoundError, NotADirectoryError):
        if known is not None:
            raise problem("the folder has no identity file", "Is the drive mounted?") from None
        raise problem("the folder is no drive yet", "Add it with: mediapool pool add") from None
    except OSError as error:
        cause = f"cannot read the identity file: {error.strerror}"
        raise problem(cause, "Check the drive, and that this user may read it") from error
    except ValueError as error:
        cause = f"the identity file {IDENTITY} is damaged: {error}"
        raise problem(cause, "Restore it from a backup of the pool's state") from None
    if known is not None and (found.id, found.number) != (known.id, known.number):
        cause = f"another drive is mounted there: {found.name!r}, number {found.number}, id {found.id}"
        raise problem(cause, f"Mount the one with number {known.number}, id {known.id}")
    return found


def refuse_clashes(drives: Sequence[Drive]) -> None:
    """DriveError if two drives are one: same folder or identity or number, or one inside the other."""
    for position, one in enumerate(drives):
        for other in drives[position + 1 :]:
            clash = _clash(one, other)
            if clash:
                raise DriveError(other.name, other.path, *clash)


def _clash(one: Drive, other: Drive) -> tuple[str, str] | None:
    """Cause and remedy if the two cannot be in one pool."""
    named = f"drive {one.name!r} ({one.path})"
    if _same_folder(one.path, other.path):
        return f"it is the same folder as {named}", "Take one of them out of the config"
    first, second = Path(os.path.realpath(one.path)), Path(os.path.realpath(other.path))
    if first.is_relative_to(second) or second.is_relative_to(first):
        return f"it and {named} lie one inside the other", "Drives must lie side by side"
    if one.id == other.id:
        cause = f"its identity file is a copy of the one on {named}"
        return cause, f"Take one of them out, or delete {IDENTITY} on the copy and add it anew"
    if one.number == other.number:
        cause = f"it has the same number {one.number} as {named}"
        return cause, f"Delete {IDENTITY} on the newer one and add it anew"
    return None


def _same_folder(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)
