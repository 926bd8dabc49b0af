"""Parent folders of what comes to lie on a branch: made there as they are shown elsewhere."""

import contextlib
import errno
from collections.abc import Iterator

from vfs.attr import OMIT, Caller
from vfs.branch import Branch, error
from vfs.local import LocalBranch
from vfs.locks import PathLocks
from vfs.lookup import Copy, Lookup, has_directory, parent_of


class Parents:
    """Makes folders on branches. Lock order: callers hold path locks; `_locks` come after them and after each other
    from the root down."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._locks = PathLocks()

    def make(self, branch: Branch, path: str) -> None:
        """Make the folders above `path` on this branch; OSError as mkdir(2)."""
        parent = parent_of(path)
        if not parent or has_directory(branch, parent):
            return
        self.make(branch, parent)
        with self._locks(parent):
            if has_directory(branch, parent):
                return
            shown = self._lookup.first(parent)
            if not shown.attr.is_dir:
                raise error(errno.ENOTDIR, path)
            with _untouched(branch, parent_of(parent)):
                self._copy(shown, branch, parent)

    def _copy(self, shown: Copy, branch: Branch, path: str) -> None:
        """Make `path` on the branch as it is shown from another one; whole, or OSError and it is not there."""
        branch.mkdir(path, 0o700, Caller(shown.attr.uid, shown.attr.gid))
        try:
            _copy_attributes(shown, branch, path)
            if isinstance(branch, LocalBranch) and self._lookup.before(branch, shown.branch):
                # The copy just made comes before the one shown so far: programs shall not see another number.
                branch.show_as(path, shown.attr.ino)
        except OSError:
            with contextlib.suppress(OSError):
                branch.rmdir(path)
            raise


def _copy_attributes(shown: Copy, branch: Branch, path: str) -> None:
    """Make the directory `path` of `branch` like the one shown: mode, owner, xattrs, times."""
    attr = shown.attr
    # What the drive's filesystem does not keep (another LSM, no user xattrs) does not stop a file, nor that a drive
    # is missing of whose folder only the attributes are known.
    with contextlib.suppress(OSError):
        for name in shown.branch.listxattr(path):
            with contextlib.suppress(OSError):
                branch.setxattr(path, name, shown.branch.getxattr(path, name), 0)
    with contextlib.suppress(PermissionError):
        branch.chown(path, attr.uid, attr.gid)
    branch.chmod(path, attr.mode & 0o7777)
    branch.utime(path, OMIT, attr.mtime_ns)


@contextlib.contextmanager
def _untouched(branch: Branch, folder: str) -> Iterator[None]:
    """Keep the mtime of a folder in which a copy is made: nothing that the tree shows was added to it.

    That may hide the time of another change made in the same microseconds.
    """
    before = branch.stat(folder)
    try:
        yield
    finally:
        # Somebody else's folder on a mount that does not run as root.
        with contextlib.suppress(OSError):
            branch.utime(folder, OMIT, before.mtime_ns)
