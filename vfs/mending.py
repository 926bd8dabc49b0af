"""Mending what a check found, where that cannot lose a byte.

A hidden copy is removed only if it was compared to the last byte with the one that is shown and neither has changed
since; any other hidden thing gets a free name beside the one that is shown. Nothing is done while a drive that
matters is missing.
"""

import errno
import os
from collections.abc import Callable

from vfs.branch import Branch, error
from vfs.checking import REMOTE, Finding
from vfs.comparing import Stamp, stamp
from vfs.local import LocalBranch
from vfs.lookup import parent_of
from vfs.renaming import RENAME_NOREPLACE
from vfs.safenames import unclash
from vfs.union import Union


class Mending:
    """Mends findings one by one, with the path locks of the tree, which may be mounted."""

    def __init__(self, union: Union, recover: Callable[[], object]) -> None:
        """`recover` finishes interrupted work and removes copies that no move knows."""
        self._union = union
        self._recover = recover

    def mend(self, finding: Finding) -> str:
        """Do what the finding says; what was done, in words. OSError, and nothing is changed."""
        if finding.mend == "recover":
            self._recover()
            return "tried again to finish it"
        if finding.mend == "remove":
            return self._remove(finding)
        if finding.mend == "rename":
            return self._rename(finding)
        raise error(errno.EINVAL, finding.path)

    def _remove(self, finding: Finding) -> str:
        path, target = finding.path, self._free_name(finding)
        with self._union.locks(path, target):
            shown, hidden = self._copies(finding, target)
            assert isinstance(shown, LocalBranch) and isinstance(hidden, LocalBranch)
            before = _stamps(path, shown, hidden)
            if finding.compared is None or finding.compared.same != "identical" or before != finding.compared.stamps:
                raise OSError(errno.EBUSY, "it has changed since it was compared", path)
            # Its bytes were brought to the disk before they were compared; now its name.
            shown.fsyncdir(parent_of(path))
            _rename(hidden, path, target)
            if not _is_still(shown, path, before[0]):
                # One folder in two places, as a second mount of it makes it: the two were one.
                _rename(hidden, target, path)
                raise OSError(errno.EXDEV, "both drives show one and the same folder here", path)
            hidden.unlink(target)
        return f"removed the copy on {finding.hidden}"

    def _rename(self, finding: Finding) -> str:
        target = self._free_name(finding)
        with self._union.locks(finding.path, target):
            _, hidden = self._copies(finding, target)
            _rename(hidden, finding.path, target)
        return f"gave the one on {finding.hidden} the name {target}"

    def _free_name(self, finding: Finding) -> str:
        folder, _, name = finding.path.rpartition("/")
        prefix = f"{folder}/" if folder else ""
        return prefix + unclash(name, finding.hidden, _Taken(self._union, prefix, name))

    def _copies(self, finding: Finding, target: str) -> tuple[Branch, Branch]:
        """The two branches, which must both be there and have the path still; nothing may stand at `target`."""
        if self._union.lookup.copies(target):
            raise error(errno.EEXIST, target)
        copies = self._union.lookup.changeable(finding.path)
        by_name = {_name(copy.branch): copy.branch for copy in copies}
        if finding.hidden not in by_name or _name(copies[0].branch) != finding.shown:
            raise OSError(errno.EBUSY, "it is not as it was found any more", finding.path)
        return copies[0].branch, by_name[finding.hidden]


class _Taken:
    """The names in a folder of the tree, asked one by one; that of the thing itself is taken in any case."""

    def __init__(self, union: Union, prefix: str, name: str) -> None:
        self._union, self._prefix, self._name = union, prefix, name

    def __contains__(self, name: object) -> bool:
        return name == self._name or bool(self._union.lookup.copies(f"{self._prefix}{name}"))


def _name(branch: Branch) -> str:
    return branch.drive.name if isinstance(branch, LocalBranch) else REMOTE


def _stamps(path: str, *branches: LocalBranch) -> tuple[Stamp, ...]:
    return tuple(stamp(branch.drive.require(), path) for branch in branches)


def _is_still(branch: LocalBranch, path: str, before: Stamp) -> bool:
    try:
        return _stamps(path, branch)[0].ino == before.ino
    except FileNotFoundError:
        return False


def _rename(branch: Branch, path: str, target: str) -> None:
    if not isinstance(branch, LocalBranch):
        branch.rename(path, target, 0)
        return
    try:
        branch.rename(path, target, RENAME_NOREPLACE)
    except OSError as cause:
        # A filesystem that cannot refuse to replace; that nothing is there was seen under the lock.
        if cause.errno != errno.EINVAL or os.path.lexists(os.path.join(branch.drive.path, target)):
            raise
        branch.rename(path, target, 0)
