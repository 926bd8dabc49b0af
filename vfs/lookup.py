"""Finding a path on the branches: which have it, which copy is shown, which have it as a directory."""

import contextlib
import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import dropwhile
from typing import NamedTuple, TypeVar

from vfs.attr import Attr
from vfs.branch import Branch, Folder, error

T = TypeVar("T")
NOT_HERE = (errno.ENOENT, errno.ENOTDIR)


class Copy(NamedTuple):
    """One branch that has a path, and what it says about it."""

    branch: Branch
    attr: Attr


class Lookup:
    """The branches in their order, earlier ones shown before later ones."""

    def __init__(self, branches: Sequence[Branch]) -> None:
        self.branches = list(branches)
        # Each raises EIO for paths about which nothing can be said at the moment.
        self.checks: list[Callable[[str], None]] = []

    def _check(self, path: str) -> None:
        for check in self.checks:
            check(path)

    def copies(self, path: str) -> list[Copy]:
        """Each branch that has `path`, first the one that is shown; empty if none has.

        Raises if any branch cannot answer (EIO): who changes something must know all copies.
        """
        self._check(path)
        found: list[Copy] = []
        for branch in self.branches:
            try:
                attr = branch.stat(path)
            except OSError as cause:
                if cause.errno in NOT_HERE:
                    continue
                raise
            found.append(Copy(branch, attr))
        return found

    def first(self, path: str) -> Copy:
        """The copy that is shown. A branch that cannot answer (EIO) matters only if no other has the path."""
        self._check(path)
        failure: OSError | None = None
        for branch in self.branches:
            try:
                return Copy(branch, branch.stat(path))
            except OSError as cause:
                if cause.errno not in NOT_HERE:
                    failure = cause
        raise failure or error(errno.ENOENT, path)

    def ask(self, path: str, ask: Callable[[Branch], T]) -> T:
        """What the branch that is shown answers, asked at once instead of first whether it has `path`."""
        self._check(path)
        failure: OSError | None = None
        for branch in self.branches:
            try:
                return ask(branch)
            except OSError as cause:
                if cause.errno not in (*NOT_HERE, errno.EIO):
                    raise
                failure = failure if cause.errno in NOT_HERE else cause
        raise failure or error(errno.ENOENT, path)

    def all(self, path: str) -> list[Copy]:
        """As `copies`; ENOENT if there is none."""
        copies = self.copies(path)
        if not copies:
            raise error(errno.ENOENT, path)
        return copies

    def changeable(self, path: str) -> list[Copy]:
        """As `all`, of a path that is about to change: EIO if one of its copies lies on a drive that is missing."""
        copies = self.all(path)
        must_be_ready(copies)
        return copies

    def directories(self, path: str) -> list[Copy]:
        """The branches that have a directory at `path`; ENOENT, or ENOTDIR if a file is shown there."""
        copies = self.all(path)
        if not copies[0].attr.is_dir:
            raise error(errno.ENOTDIR, path)
        return [copy for copy in copies if copy.attr.is_dir]

    def folders(self, path: str) -> Iterator[Folder]:
        """The directory `path` on each branch that has it; ENOENT, or ENOTDIR if a file is shown there.

        Each is opened once, without asking before whether it is there: scans are made of this.
        """
        self._check(path)
        found = False
        for branch in self.branches:
            try:
                folder = branch.folder(path)
            except NotADirectoryError:
                # A file here, or one in the place of a folder above it.
                if not found and is_there(branch, path):
                    raise
            except FileNotFoundError:
                continue
            else:
                found = True
                yield folder
        if not found:
            raise error(errno.ENOENT, path)

    def shown_directories(self, path: str, first: Copy) -> Iterator[Attr]:
        """Attributes of the directories at `path` on the branches that can answer; `first` is the one shown."""
        yield first.attr
        for branch in dropwhile(lambda one: one is not first.branch, self.branches):
            if branch is first.branch:
                continue
            with contextlib.suppress(OSError):
                attr = branch.stat(path)
                if attr.is_dir:
                    yield attr

    def before(self, one: Branch, other: Branch) -> bool:
        """Whether branch `one` is shown before the `other`."""
        return next((branch for branch in self.branches if branch in (one, other)), None) is one and one is not other


def must_be_ready(copies: Iterable[Copy]) -> None:
    """EIO if one of the branches cannot be changed now, before any of them is."""
    for branch, _ in copies:
        branch.require()


def must_be_empty(path: str, copies: Iterable[Copy]) -> None:
    """ENOTEMPTY if the directory holds something on any of these branches."""
    for branch, _ in copies:
        if next(branch.entries(path), None) is not None:
            raise error(errno.ENOTEMPTY, path)


def is_there(branch: Branch, path: str) -> bool:
    """Whether this branch has anything at `path`."""
    try:
        branch.stat(path)
    except OSError as cause:
        if cause.errno in NOT_HERE:
            return False
        raise
    return True


def has_directory(branch: Branch, path: str) -> bool:
    """Whether this branch has a directory at `path`."""
    try:
        return branch.stat(path).is_dir
    except OSError as cause:
        if cause.errno in NOT_HERE:
            return False
        raise


def remove(path: str, copies: Sequence[Copy]) -> None:
    """Remove a name from these branches, the shown copy last, so that no hidden one shows up meanwhile."""
    for branch, attr in reversed(copies):
        if not attr.is_dir:
            branch.unlink(path)


def parent_of(path: str) -> str:
    """The folder of `path`; "" for a name in the root."""
    return path.rpartition("/")[0]
