"""rename(2) over several branches.

A file stays on the branch it lies on. One call is enough where only that branch knows source and target; else the
work is an intent: first the new name appears, then what it replaces goes, so at no moment is there no target. The
drives are shown before the remote names, so a drive's file appears over a remote one by its own rename, and the
remote name goes with the end of the record; a remote file's new name is recorded with the begin.
"""

import errno
import re
from collections.abc import Sequence

from vfs.attr import Attr
from vfs.branch import Branch, error
from vfs.intents import REMOTE, Intents, Step
from vfs.local import LocalBranch
from vfs.lookup import Copy, Lookup, must_be_empty, must_be_ready, parent_of, remove
from vfs.parents import Parents
from vfs.remote import RemoteBranch

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
# How libfuse calls an open file whose name is removed (fuse.c, hidden_name); it keeps the folder.
_LIBFUSE_HIDDEN = re.compile(r"(.*/)?\.fuse_hidden[0-9a-f]{16}")


class Renaming:
    """Renames under path locks that the caller holds."""

    def __init__(self, lookup: Lookup, parents: Parents, remote: RemoteBranch, intents: Intents) -> None:
        self._lookup = lookup
        self._parents = parents
        self._remote = remote
        self._intents = intents

    def rename(self, source: str, target: str, flags: int) -> tuple[Attr, Attr | None]:
        """As renameat2(2): NOREPLACE looks at all branches, EXCHANGE works inside one; EINVAL for other flags.

        What was shown at `source` and at `target` before.
        """
        sources, targets = self._lookup.changeable(source), self._lookup.copies(target)
        must_be_ready(targets)
        if flags == RENAME_EXCHANGE:
            self._exchange(source, target, sources, targets)
        elif flags & ~RENAME_NOREPLACE:
            raise error(errno.EINVAL, source)
        elif targets and flags & RENAME_NOREPLACE:
            raise error(errno.EEXIST, target)
        elif is_hidden(target) and sources[0].branch.hide(source, target):
            remove(source, sources[1:])
        elif sources[0].attr.is_dir:
            self._directory(source, target, [copy for copy in sources if copy.attr.is_dir], targets)
        else:
            self._file(source, target, sources, targets)
        return sources[0].attr, targets[0].attr if targets else None

    def _exchange(self, source: str, target: str, sources: list[Copy], targets: list[Copy]) -> None:
        if not targets:
            raise error(errno.ENOENT, target)
        if len({id(copy.branch) for copy in (*sources, *targets)}) != 1:
            raise error(errno.EINVAL, source)
        sources[0].branch.rename(source, target, RENAME_EXCHANGE)

    # Files.

    def _file(self, source: str, target: str, sources: list[Copy], targets: list[Copy]) -> None:
        branch, attr = sources[0]
        if targets and targets[0].attr.is_dir:
            raise error(errno.EISDIR, target)
        if targets and targets[0].attr.ino == attr.ino:
            return  # two names of one file: rename(2) does nothing
        if parent_of(target) != parent_of(source):
            self._parents.make(branch, target)
        hidden = [copy for copy in sources[1:] if not copy.attr.is_dir]
        replaced = [copy for copy in targets if copy.branch is not branch and not copy.attr.is_dir]
        if not hidden and not replaced:
            branch.rename(source, target, 0)
        elif branch is self._remote:
            self._remote_file(source, target, sources[0], replaced)
        else:
            self._local_file(source, target, sources[0], hidden, replaced)

    def _remote_file(self, source: str, target: str, shown: Copy, replaced: list[Copy]) -> None:
        rename = Step("rename", REMOTE, shown.attr.ino, source, target)
        self._intents.run(_unlinks(target, replaced), first=[rename])

    def _local_file(self, source: str, target: str, shown: Copy, hidden: list[Copy], replaced: list[Copy]) -> None:
        rename = Step("rename", _number(shown.branch), shown.attr.ino, source, target)
        self._intents.run([rename, *_unlinks(source, hidden), *_unlinks(target, replaced)])

    # Directories.

    def _directory(self, source: str, target: str, sources: list[Copy], targets: list[Copy]) -> None:
        if targets and not targets[0].attr.is_dir:
            raise error(errno.ENOTDIR, target)
        must_be_empty(target, targets)
        for branch, _ in sources:
            self._parents.make(branch, target)
        having = [copy.branch for copy in sources]
        empty = [copy for copy in targets if copy.branch not in having]
        if len(sources) == 1 and not empty:
            sources[0].branch.rename(source, target, 0)
            return
        renames = [Step("rename", _number(copy.branch), copy.attr.ino, source, target) for copy in sources]
        rmdirs = [Step("rmdir", _number(copy.branch), copy.attr.ino, target) for copy in empty]
        self._intents.run([*renames, *rmdirs])


def is_hidden(path: str) -> bool:
    """Whether libfuse calls an open file so whose name was removed."""
    return _LIBFUSE_HIDDEN.fullmatch(path) is not None


def _number(branch: Branch) -> int:
    return branch.drive.number if isinstance(branch, LocalBranch) else REMOTE


def _unlinks(path: str, copies: Sequence[Copy]) -> list[Step]:
    """Steps that remove these copies, the shown one last among the drives."""
    return [Step("unlink", _number(copy.branch), copy.attr.ino, path) for copy in reversed(copies)]
