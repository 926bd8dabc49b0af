"""A library of symbolic links: a folder whose links lead to files on the drives.

A link is *ours* if it leads below a drive of the pool. Links are replaced by a rename, so at each moment there
is the old or the new one.
"""

import contextlib
import errno
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from placement import system as os
from placement.beneath import RENAME_NOREPLACE, Root, renameat2
from placement.drive import Drive
from placement.linkgroup import lstat, missing_folders, parent_of, sync_folders
from placement.metadata import copy_attributes

_DRAFT = ".mediapool-link-"


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link of the library: its path there, and where it leads, made absolute."""

    path: str
    target: str


Kind = Literal["healed", "removed", "broken", "foreign", "waiting"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A link that was not in order. `kind`: "healed", it leads to the file again, now `target`; "removed", its file
    is on no drive, it led to `target`; "broken", it leads nowhere, outside the drives; "foreign", it leads to
    something outside the drives; "waiting", its drive, or another that might have the file, is missing."""

    path: str
    kind: Kind
    target: str


class Library:
    """The library at `path`, which exists. To be closed."""

    def __init__(self, path: str, drives: Callable[[], Sequence[Drive]]) -> None:
        """OSError if there is no such folder."""
        self.path = path
        self._root = Root(path)
        self._drives = drives

    def close(self) -> None:
        self._root.close()

    def links(self) -> Iterator[Link]:
        """All symbolic links there, in no order; OSError if the library cannot be listed."""
        folders = [""]
        while folders:
            folder = folders.pop()
            fd = self._root.open_dir(folder)
            try:
                with os.scandir(fd) as entries:
                    for entry in list(entries):
                        path = f"{folder}/{entry.name}" if folder else entry.name
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(path)
                        elif entry.is_symlink():
                            yield Link(path, self._absolute(path, os.readlink(entry.name, dir_fd=fd)))
            finally:
                os.close(fd)

    def _absolute(self, path: str, text: str) -> str:
        return os.path.normpath(os.path.join(self.path, parent_of(path), text))

    def read(self, path: str) -> str | None:
        """Where the link at `path` leads; None if no link stands there. OSError."""
        found = lstat(self._root, path)
        if found is None or not stat.S_ISLNK(found.st_mode):
            return None
        with self._root.parent(path) as (dirfd, name):
            return self._absolute(path, os.readlink(name, dir_fd=dirfd))

    def refuse_occupied(self, path: str, target: str) -> None:
        """FileExistsError if what stands at `path` may not be replaced by a link to `target`.

        Only links may: to the same file, to a file of the pool that is gone, and such as lead nowhere.
        """
        found = lstat(self._root, path)
        if found is None:
            return
        leads_to = self.read(path)
        if leads_to is None:
            raise FileExistsError(errno.EEXIST, "the library has something else there", path)
        if leads_to != target and os.path.lexists(leads_to):
            raise FileExistsError(errno.EEXIST, f"the library has a link to {leads_to} there", path)

    def link(self, path: str, target: str, like: Root | None = None) -> None:
        """Have `path` lead to `target`, durably, with parent folders as below `like`.

        FileExistsError as `refuse_occupied`, OSError.
        """
        self.refuse_occupied(path, target)
        folders = missing_folders(self._root, [path])
        for folder in folders:
            self._make_folder(folder, like)
        with self._root.parent(path) as (dirfd, name):
            draft = _DRAFT + secrets.token_hex(8)
            os.symlink(target, draft, dir_fd=dirfd)
            try:
                self._put(dirfd, draft, name)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft, dir_fd=dirfd)
                raise
        sync_folders(self._root, [parent_of(path), *map(parent_of, folders)])

    def _put(self, dirfd: int, draft: str, name: str) -> None:
        """Rename over nothing or over a link, as it was found to be one."""
        try:
            renameat2(dirfd, draft, dirfd, name, RENAME_NOREPLACE)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.EINVAL):
                raise
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISLNK(os.stat(name, dir_fd=dirfd, follow_symlinks=False).st_mode):
                    raise FileExistsError(errno.EEXIST, "the library has something else there", name) from None
            os.rename(draft, name, src_dir_fd=dirfd, dst_dir_fd=dirfd)

    def _make_folder(self, folder: str, like: Root | None) -> None:
        with self._root.parent(folder) as (dirfd, name), contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=dirfd)
        if like is None:
            return
        with contextlib.suppress(FileNotFoundError):
            source = like.open_dir(folder)
            try:
                target = self._root.open_dir(folder)
                try:
                    copy_attributes(source, target, os.fstat(source))
                finally:
                    os.close(target)
            finally:
                os.close(source)

    def unlink(self, path: str, target: str) -> bool:
        """Remove the link at `path` if it leads to `target`, durably; whether it did."""
        if self.read(path) != target:
            return False
        with self._root.parent(path) as (dirfd, name):
            os.unlink(name, dir_fd=dirfd)
        sync_folders(self._root, [parent_of(path)])
        return True

    def remove_drafts(self) -> None:
        """Remove what a killed run left of links that it was making. OSError."""
        for link in list(self.links()):
            folder, _, name = link.path.rpartition("/")
            if name.startswith(_DRAFT):
                self.unlink(f"{folder}/{name}" if folder else name, link.target)

    def check(self, moved: Callable[[str], str | None], *, dry_run: bool) -> list[Finding]:
        """Look at each link and mend what can be mended.

        `moved`: where a path outside the drives was distributed to; None if it was not. OSError.
        """
        findings = [finding for link in self.links() if (finding := self._judge(link, moved)) is not None]
        for finding in findings if not dry_run else ():
            if finding.kind == "healed":
                self.link(finding.path, finding.target)
            elif finding.kind == "removed":
                self.unlink(finding.path, finding.target)
        return sorted(findings, key=lambda one: one.path)

    def _judge(self, link: Link, moved: Callable[[str], str | None]) -> Finding | None:
        inside = next(((drive, path) for drive in self._drives() if (path := below(drive.path, link.target))), None)
        if inside is None:
            new = moved(link.target) if not os.path.lexists(link.target) else None
            if new is not None:
                return Finding(link.path, "healed", new)
            return Finding(link.path, "foreign" if os.path.exists(link.target) else "broken", link.target)
        drive, path = inside
        if not drive.present:
            return Finding(link.path, "waiting", link.target)
        if lstat(drive.require(), path) is not None:
            return None
        return self._lost(link, path)

    def _lost(self, link: Link, path: str) -> Finding:
        """What to do about a link whose file is not where it was."""
        drives = self._drives()
        holders = [one for one in drives if one.present and lstat(one.require(), path) is not None]
        if len(holders) == 1:
            return Finding(link.path, "healed", os.path.join(holders[0].path, path))
        if holders or not all(one.present for one in drives):
            return Finding(link.path, "waiting", link.target)
        return Finding(link.path, "removed", link.target)


def below(folder: str, path: str) -> str:
    """`path` relative to `folder`; "" if it does not lie below it."""
    start = folder.rstrip("/") + "/"
    return path[len(start) :] if path.startswith(start) else ""
