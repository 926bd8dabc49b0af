"""One move between two drives: its record, and each of its steps on the drives, which may be repeated.

The copy lies at `.mediapool/moving/<token>` of the target until all else is done. Its names there are links
to it, so whether a file in the tree is the copy is decided by its inode number as long as the temporary
name stands, and by nothing else: what cannot be proven to be the copy is never removed. No name of the
source is removed unless the copy has that same name.
"""

import contextlib
import errno
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, unquote_to_bytes

from placement import system as os
from placement.beneath import Root
from placement.drive import Drive
from placement.linkgroup import STAGING, lstat, missing_folders, parent_of, sync_folders
from placement.metadata import copy_attributes, is_fixed

log = logging.getLogger(__name__)

KIND = "move"
FORMAT = 1
# Left readable in the journal; everything else of a name is written as %XX.
_READABLE = "/ !'()+,;=@[]{}&$#"


@dataclass(frozen=True, slots=True)
class Record:
    """What a restarted program must know of a move. Drives by id; sizes in bytes, times in ns.

    `mtime_ns` is the source's, `copy_mtime_ns` the copy's, whose filesystem may be coarser. `folders`: those
    the move makes on the target, outermost first. `committed`: from then on the copy is the file.
    """

    token: str
    source: str
    target: str
    ino: int
    paths: tuple[str, ...]
    size: int = 0
    mtime_ns: int = 0
    copy_mtime_ns: int = 0
    folders: tuple[str, ...] = ()
    committed: bool = False

    def as_json(self) -> dict[str, Any]:
        """Plain ASCII values; the bytes of names as %XX, since not every JSON reader takes lone surrogates."""
        return {
            "kind": KIND,
            "format": FORMAT,
            "token": self.token,
            "source": self.source,
            "target": self.target,
            "ino": self.ino,
            "paths": [quote(os.fsencode(path), safe=_READABLE) for path in self.paths],
            "size": self.size,
            "mtime_ns": self.mtime_ns,
            "copy_mtime_ns": self.copy_mtime_ns,
            "folders": [quote(os.fsencode(folder), safe=_READABLE) for folder in self.folders],
            "committed": self.committed,
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """What `as_json` gave; ValueError for anything else."""
        if fields.get("format") != FORMAT:
            raise ValueError(f"its format is {fields.get('format')!r}, this version reads {FORMAT}")
        try:
            plain = {name: fields[name] for name in cls.__slots__}
        except KeyError as missing:
            raise ValueError(f"it has no {missing}") from None
        for name in ("paths", "folders"):
            plain[name] = tuple(os.fsdecode(unquote_to_bytes(path)) for path in plain[name])
        return cls(**plain)


@contextlib.contextmanager
def _untouched(dirfd: int) -> Iterator[None]:
    """Keep the times of a folder whose entries change: what it shows in the tree stays the same.

    That may hide the time of another change made in the same microseconds.
    """
    before = os.fstat(dirfd)
    yield
    with contextlib.suppress(OSError):
        os.utime(".", ns=(before.st_atime_ns, before.st_mtime_ns), dir_fd=dirfd)


class Transfer:
    """The steps of the move that `record` describes. Asks the drives for their root at each step."""

    def __init__(self, record: Record, source: Drive, target: Drive) -> None:
        self.record = record
        self._source = source
        self._target = target
        self.temporary = f"{STAGING}/{record.token}"

    # Before the commit.

    def missing_folders(self) -> tuple[str, ...]:
        """Folders to be made on the target for the names; OSError if something stands in their way."""
        return tuple(missing_folders(self._target.require(), self.record.paths))

    def refuse_occupied(self) -> None:
        """FileExistsError if the target has something at one of the names."""
        for path in self.record.paths:
            if lstat(self._target.require(), path) is not None:
                raise _occupied(path)

    def refuse_fixed(self) -> None:
        """OSError EACCES or EPERM if a name could not be removed from the source after the commit."""
        root = self._source.require()
        for folder in {parent_of(path) for path in self.record.paths}:
            with _opened(root, folder) as fd:
                if is_fixed(fd):
                    raise OSError(errno.EPERM, "its folder is immutable or append-only", folder)
                if not os.access(".", os.W_OK | os.X_OK, dir_fd=fd, effective_ids=True):
                    raise OSError(errno.EACCES, "its folder cannot be changed", folder)

    def make_names(self) -> None:
        """Give the copy its names, and the target the folders they need; FileExistsError, OSError."""
        root = self._target.require()
        for folder in self.record.folders:
            self._make_folder(root, folder)
        with root.parent(self.temporary) as (staging, token):
            for path in self.record.paths:
                with root.parent(path) as (dirfd, name), _untouched(dirfd):
                    try:
                        os.link(token, name, src_dir_fd=staging, dst_dir_fd=dirfd, follow_symlinks=False)
                    except FileExistsError:
                        raise _occupied(path) from None

    def _make_folder(self, root: Root, folder: str) -> None:
        """Make it with all attributes of the source's, unless someone else was first."""
        try:
            with root.parent(folder) as (dirfd, name), _untouched(dirfd):
                os.mkdir(name, 0o700, dir_fd=dirfd)
        except FileExistsError:
            return
        # At once, for others may look into it. What is made in it leaves its times alone.
        with _opened(self._source.require(), folder) as source, _opened(root, folder) as target:
            copy_attributes(source, target, os.fstat(source))

    def sync_new(self) -> None:
        """Bring all changed folders of the target to stable storage. OSError."""
        parents = [parent_of(path) for path in (*self.record.paths, *self.record.folders)]
        sync_folders(self._target.require(), [*self.record.folders, *parents])

    def remove_new(self) -> tuple[str, ...]:
        """Take the copy's names and the folders made for them away; those names that are kept all the same.

        They are kept where the source has no name any more, or where the copy was written to: then it may
        be all there is. OSError.
        """
        root = self._target.require()
        copy = lstat(root, self.temporary)
        if copy is None:
            # Not begun, or all of this was done before.
            return ()
        new = [path for path in self.record.paths if _is(root, path, copy)]
        if new and not self._may_lose(copy):
            return tuple(new)
        for path in new:
            _unlink(root, path)
        for folder in reversed(self.record.folders):
            _rmdir(root, folder)
        return ()

    def _may_lose(self, copy: os.stat_result) -> bool:
        source = self._source.require()
        if (copy.st_size, copy.st_mtime_ns) != (self.record.size, self.record.copy_mtime_ns):
            return False
        return any(lstat(source, path) is not None for path in self.record.paths)

    # After the commit.

    def remove_old(self) -> tuple[str, ...]:
        """Remove the source's names; those that are kept, for they are not, or the copy is not, what it was.

        OSError.
        """
        source, target = self._source.require(), self._target.require()
        copy = lstat(target, self.temporary)
        if copy is None:
            # It goes last of all, so nothing is left to be removed, or nothing proves that it may be.
            return ()
        kept = []
        for path in self.record.paths:
            found = lstat(source, path)
            if found is None:
                continue
            if found.st_dev == source.key[0] and self._is_as_copied(found) and _is(target, path, copy):
                _unlink(source, path)
            else:
                kept.append(path)
        return tuple(kept)

    def _is_as_copied(self, found: os.stat_result) -> bool:
        now = (found.st_ino, found.st_size, found.st_mtime_ns)
        return now == (self.record.ino, self.record.size, self.record.mtime_ns)

    def sync_old(self) -> None:
        """Bring the folders of the removed names to stable storage. OSError."""
        sync_folders(self._source.require(), [parent_of(path) for path in self.record.paths])

    def remove_temporary(self) -> None:
        """Remove the temporary name of the copy, durably. OSError."""
        root = self._target.require()
        if lstat(root, self.temporary) is not None:
            with root.parent(self.temporary) as (dirfd, name):
                os.unlink(name, dir_fd=dirfd)
            sync_folders(root, [STAGING])


def remove_stray(drive: Drive, token: str) -> None:
    """Remove a file from the folder for copies that no move knows. OSError."""
    with drive.require().parent(f"{STAGING}/{token}") as (dirfd, name), contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=dirfd)
        log.info("drive %s: removed %s/%s, which no move knows", drive.name, STAGING, token)


def staged(drive: Drive) -> list[str]:
    """What lies in the drive's folder for copies; nothing for a drive that is missing."""
    try:
        with _opened(drive.require(), STAGING) as fd:
            return os.listdir(fd)
    except OSError:
        return []


@contextlib.contextmanager
def _opened(root: Root, folder: str) -> Iterator[int]:
    fd = root.open_dir(folder)
    try:
        yield fd
    finally:
        os.close(fd)


def _is(root: Root, path: str, copy: os.stat_result) -> bool:
    """Whether `path` is a name of the file `copy`."""
    found = lstat(root, path)
    return found is not None and (found.st_dev, found.st_ino) == (copy.st_dev, copy.st_ino)


def _occupied(path: str) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "a file stands at the same path there", path)


def _unlink(root: Root, path: str) -> None:
    with root.parent(path) as (dirfd, name), _untouched(dirfd):
        os.unlink(name, dir_fd=dirfd)


def _rmdir(root: Root, folder: str) -> None:
    """Remove a folder that was made for the copy, unless it is gone or others use it by now."""
    try:
        with root.parent(folder) as (dirfd, name), _untouched(dirfd):
            os.rmdir(name, dir_fd=dirfd)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
            raise
