"""One file goes from one folder to another path, and back: whole at every moment, never over something else.

Each call may be cut off anywhere and repeated. What was done is seen from the two paths alone: a file that stands
at the target with the same content needs only its origin removed. On one filesystem the file is renamed, once its
content was read; else it is copied below `.mediapool/moving/`, read back, named, and only then removed from where it
came. A file with several names is copied too, or whoever changes it by the others would change the archive.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from placement.beneath import RENAME_NOREPLACE, Root, renameat2
from placement.copying import Allowance, ChangedError, Content, Tell, read_content
from placement.identity import FOLDER
from placement.linkgroup import STAGING, lstat, missing_folders, parent_of, sync_folders
from placement.metadata import copy_attributes
from placement.staging import Original, Rooted, Staged, Stamp

# In this order, as far as they apply.
STEPS = ("read", "copied", "compared", "folders made", "placed", "placed synced", "removed", "removed synced")
OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Shift:
    """One file to be moved. `token` names its copy meanwhile.

    `expected`: bytes and mtime in ns, None for any; `digest`: its xxh3-128 as known, "" for any.
    """

    origin: Rooted
    rel: str
    target: Rooted
    path: str
    token: str
    expected: tuple[int, int] | None = None
    digest: str = ""


def shift(move: Shift, on_step: OnStep, tell: Tell, allowance: Allowance) -> str:
    """Do it, or what is left of it; the xxh3-128 of the file as 32 hex digits.

    A file that was renamed is at its old or its new path after a power cut, until `sync` was called for it.
    OSError, and then the file is where it was, or at both: ENOENT, EBUSY (it changed), EEXIST (another stands at the
    target), ENOSPC, ECANCELED, ...
    """
    here, there = lstat(move.origin.require(), move.rel), lstat(move.target.require(), move.path)
    if there is not None:
        return _finished(move, here, there, on_step, allowance)
    _remove_stray(move.target.require(), move.token)
    with Original(move.origin, move.rel) as original:
        if not original.is_regular:
            raise OSError(errno.EINVAL, "it is no file any more", move.rel)
        found = original.found
        if move.expected is not None and (found.st_size, found.st_mtime_ns) != move.expected:
            raise ChangedError(move.rel)
        if found.st_dev == move.target.require().key[0] and found.st_nlink == 1:
            with contextlib.suppress(_OtherFilesystem):
                return _renamed(move, original, on_step, tell, allowance)
        return _copied(move, original, on_step, tell, allowance)


class _OtherFilesystem(OSError):
    """Renaming does not lead there; errno EXDEV."""


def _renamed(move: Shift, original: Original, on_step: OnStep, tell: Tell, allowance: Allowance) -> str:
    before = original.stamp()
    original.settle()
    content = read_content(original.fd, allowance, tell)
    if original.stamp() != before:
        raise ChangedError(move.rel)
    _refuse_rotten(move, content)
    on_step("read")
    _make_folders(move)
    on_step("folders made")
    _place(move.origin.require(), move.rel, move.target.require(), move.path)
    on_step("placed")
    after = original.stamp()
    if (after.size, after.mtime_ns) != (before.size, before.mtime_ns):
        # Somebody had it open for writing: what was read is not what it is.
        _place(move.target.require(), move.path, move.origin.require(), move.rel)
        raise ChangedError(move.rel)
    return content.digest.hex()


def sync(moves: Iterable[Shift]) -> None:
    """Bring the names of these files, that were moved, to stable storage; each folder once. OSError."""
    folders: dict[int, tuple[Rooted, set[str]]] = {}
    for move in moves:
        for rooted, path in ((move.target, move.path), (move.origin, move.rel)):
            folders.setdefault(id(rooted), (rooted, set()))[1].add(parent_of(path))
    for rooted, names in folders.values():
        sync_folders(rooted.require(), sorted(names))


def _copied(move: Shift, original: Original, on_step: OnStep, tell: Tell, allowance: Allowance) -> str:
    root = move.target.require()
    with root.parent(FOLDER) as (dirfd, name), contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=dirfd)
    with Staged(move.target, move.token) as copy:
        stamp = copy.write(original, allowance, tell, running=True)
        _refuse_rotten(move, copy.content)
        on_step("copied")
        copy.sync(original)
        copy.compare(original, allowance, lambda done: None)
        on_step("compared")
    digest = copy.content.digest.hex()
    _make_folders(move)
    on_step("folders made")
    _place(root, f"{STAGING}/{move.token}", root, move.path)
    on_step("placed")
    sync_folders(root, [parent_of(move.path), STAGING])
    on_step("placed synced")
    _remove_origin(move, original, stamp)
    on_step("removed")
    sync_folders(move.origin.require(), [parent_of(move.rel)])
    on_step("removed synced")
    return digest


def _refuse_rotten(move: Shift, content: Content) -> None:
    """OSError EIO if the content is not what it was, though neither size nor time of the file changed."""
    if move.digest and content.digest.hex() != move.digest:
        raise OSError(errno.EIO, "its content is not what is known of it, and nobody changed it: is the drive failing?")


def _finished(
    move: Shift, here: os.stat_result | None, there: os.stat_result, on_step: OnStep, allowance: Allowance
) -> str:
    """Something stands at the target: it is the file, or in its way."""
    with Original(move.target, move.path) as placed:
        os.fsync(placed.fd)
        digest = read_content(placed.fd, allowance, lambda done: None).digest
    if move.expected is not None and here is None and there.st_size != move.expected[0]:
        raise _occupied(move.path)
    if here is not None:
        with Original(move.origin, move.rel) as original:
            stamp = original.stamp()
            original.settle()
            if read_content(original.fd, allowance, lambda done: None).digest != digest:
                raise _occupied(move.path)
            sync_folders(move.target.require(), [parent_of(move.path)])
            _remove_origin(move, original, stamp)
            on_step("removed")
    sync_folders(move.target.require(), [parent_of(move.path)])
    sync_folders(move.origin.require(), [parent_of(move.rel)])
    return digest.hex()


def _remove_origin(move: Shift, original: Original, stamp: Stamp) -> None:
    """Remove the name the file had, if it still is that file as it was copied; `ChangedError`, and both stay."""
    root = move.origin.require()
    found = lstat(root, move.rel)
    if original.stamp() != stamp or found is None or found.st_ino != original.ino:
        raise ChangedError(move.rel)
    with root.parent(move.rel) as (dirfd, name):
        os.unlink(name, dir_fd=dirfd)


def _occupied(path: str) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "something else stands there", path)


def _place(origin: Root, rel: str, target: Root, path: str) -> None:
    """Rename, never over something; OSError, `_OtherFilesystem`."""
    with origin.parent(rel) as (olddir, old), target.parent(path) as (newdir, new):
        try:
            renameat2(olddir, old, newdir, new, RENAME_NOREPLACE)
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise _OtherFilesystem(error.errno, error.strerror, path) from None
            if error.errno == errno.EEXIST:
                raise _occupied(path) from None
            if error.errno != errno.EINVAL:
                raise
            # The filesystem knows no such renaming; a link replaces nothing either.
            os.link(old, new, src_dir_fd=olddir, dst_dir_fd=newdir, follow_symlinks=False)
            os.unlink(old, dir_fd=olddir)


def _make_folders(move: Shift) -> None:
    """Make the folders the target needs, as open as those the file comes from, never more."""
    root = move.target.require()
    above, depth = parent_of(move.rel).split("/"), parent_of(move.path).count("/")
    above = above if above != [""] else []
    for folder in missing_folders(root, [move.path]):
        up = depth - folder.count("/")
        with contextlib.suppress(FileExistsError), root.parent(folder) as (dirfd, name):
            os.mkdir(name, 0o755 if up > len(above) else 0o700, dir_fd=dirfd)
            if up <= len(above):
                _like(move.origin.require(), "/".join(above[: len(above) - up]), root, folder)
        sync_folders(root, [parent_of(folder)])


def _like(origin: Root, above: str, root: Root, folder: str) -> None:
    source = origin.open_dir(above)
    try:
        target = root.open_dir(folder)
        try:
            copy_attributes(source, target, os.fstat(source))
        finally:
            os.close(target)
    finally:
        os.close(source)


def _remove_stray(root: Root, token: str) -> None:
    """Remove what an interrupted copy left."""
    with contextlib.suppress(FileNotFoundError), root.parent(f"{STAGING}/{token}") as (dirfd, name):
        os.unlink(name, dir_fd=dirfd)
