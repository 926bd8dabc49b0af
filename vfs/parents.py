"""Parent folders of what comes to lie on a branch: made there as they are shown elsewhere."""

import contextlib

from vfs.attr import OMIT, Caller
from vfs.branch import Branch
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
            _copy_directory(shown, branch, parent)
            if isinstance(branch, LocalBranch) and self._lookup.before(branch, shown.branch):
                # The copy just made comes before the one shown so far: programs shall not see another number.
                branch.show_as(parent, shown.attr.ino)


def _copy_directory(shown: Copy, branch: Branch, path: str) -> None:
    """Make `path` on `branch` like the directory shown from another one: mode, owner, xattrs, times."""
    attr = shown.attr
    branch.mkdir(path, 0o700, Caller(attr.uid, attr.gid))
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
