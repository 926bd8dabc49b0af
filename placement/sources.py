"""Folders that files are distributed from: what lies in them, and which of it is ready to be moved.

A folder is treated as a drive of its own that takes nothing, so that the move engine can take files from it,
and put them back.
"""

import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from placement import system as os
from placement.beneath import Root
from placement.drive import Drive, DriveConfig, leads_to
from placement.identity import FOLDER, IDENTITY, DriveError, Identity
from placement.linkgroup import lstat

# What clients call a file that they have not finished.
UNFINISHED = (".part", ".partial", ".partial~", ".!qb", ".!ut", ".aria2", ".crdownload", ".download", ".tmp")
_WRITING = os.O_WRONLY | os.O_RDWR


class Folder(Drive):
    """A folder that is no drive. It counts as missing when another one stands at its path, as after an unmount."""

    def __init__(self, path: str, config: DriveConfig | None = None, number: int = 0) -> None:
        """Open it; DriveError if there is none, or if it is a drive.

        `config`, `number`: of the drive that it is going to be, for a plan.
        """
        try:
            root = Root(path)
        except OSError as error:
            raise DriveError("source", path, f"it cannot be opened: {error.strerror}", "Name another folder") from error
        if lstat(root, IDENTITY) is not None:
            raise DriveError("source", path, "it is a drive, of this pool or another", "Name a folder outside of pools")
        # Its inode number tells a mounted folder from its empty mount point.
        identity = Identity(f"folder:{root.key[1]}:{path}", number, path)
        super().__init__(config or DriveConfig(path, path, min_free=0), identity, root, None)

    def _look(self) -> Root:
        root = self._root
        cause = "it is not there any more, or another folder is mounted at its path"
        if self._closed or root is None or not leads_to(self.path, root):
            raise DriveError(self.name, self.path, cause, "Mount it again")
        return root


@dataclass(frozen=True, slots=True)
class Found:
    """A file in a source with those of its names that lie there, relative to the source.

    `size` and `blocks` in bytes, `changed` in seconds since 1970; `links`: how many names it has anywhere.
    """

    source: Folder
    paths: tuple[str, ...]
    device: int
    ino: int
    size: int
    links: int
    changed: float

    @property
    def path(self) -> str:
        """The first of its names."""
        return self.paths[0]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a source found: `files`, and paths with the reason why they are passed over."""

    files: tuple[Found, ...]
    passed: tuple[tuple[str, str], ...]


def look(source: Folder) -> Seen:
    """All files below `source`, in the order of their paths; OSError if the folder itself cannot be read."""
    groups: dict[tuple[int, int], list[tuple[str, os.stat_result]]] = {}
    passed: list[tuple[str, str]] = []
    for path, found, reason in _walk(source.require()):
        if found is None or reason:
            passed.append((path, reason))
        else:
            groups.setdefault((found.st_dev, found.st_ino), []).append((path, found))
    files = [_found(source, group) for group in groups.values()]
    return Seen(tuple(sorted(files, key=lambda one: one.paths)), tuple(sorted(passed)))


def _found(source: Folder, group: list[tuple[str, os.stat_result]]) -> Found:
    found = group[0][1]
    paths = tuple(sorted(path for path, _ in group))
    changed = max(found.st_mtime, found.st_ctime)
    return Found(source, paths, found.st_dev, found.st_ino, found.st_size, found.st_nlink, changed)


def _walk(root: Root) -> Iterator[tuple[str, os.stat_result | None, str]]:
    """Path, what it is and why it is passed over, "" if it is not."""
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            fd = root.open_dir(folder)
        except OSError as error:
            if not folder:
                raise
            yield folder, None, f"cannot be listed: {error.strerror}"
            continue
        try:
            with os.scandir(fd) as entries:
                for entry in sorted(entries, key=lambda one: one.name):
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if path != FOLDER:
                            folders.append(path)
                        continue
                    yield path, *_looked_at(entry, root.key[0])
        finally:
            os.close(fd)


def _looked_at(entry: "os.DirEntry[str]", device: int) -> tuple[os.stat_result | None, str]:
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError as error:
        return None, f"cannot be looked at: {error.strerror}"
    if stat.S_ISLNK(found.st_mode):
        return found, "a symbolic link stays where it is"
    if not stat.S_ISREG(found.st_mode):
        return found, "is no regular file"
    if found.st_dev != device:
        return found, "another filesystem is mounted there"
    if entry.name.lower().endswith(UNFINISHED) or entry.name.startswith((".fuse_hidden", ".nfs")):
        return found, "is unfinished, by its name"
    return found, ""


@dataclass(frozen=True, slots=True)
class Writers:
    """Files that some process has open for writing, as (device, inode); `unseen` processes could not be looked at."""

    files: frozenset[tuple[int, int]] = frozenset()
    unseen: int = 0


def writers(wanted: Iterable[Found]) -> Writers:
    """Which of these files are open for writing on this machine, in any container.

    Only files that are likely to be wanted ones are looked at, so that no filesystem that hangs is asked. What
    other machines do over a network, and what is only mapped to memory, cannot be seen.
    """
    files = {(one.device, one.ino) for one in wanted}
    numbers = {ino for _, ino in files}
    found: set[tuple[int, int]] = set()
    unseen = 0
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            descriptors = os.listdir(f"/proc/{process}/fd")
        except PermissionError:
            unseen += 1
            continue
        except OSError:  # it ended just now
            continue
        found |= {file for number in descriptors for file in _written(process, number, numbers)}
    return Writers(frozenset(found & files), unseen)


def _written(process: str, number: str, wanted: Collection[int]) -> list[tuple[int, int]]:
    """The file behind a descriptor that is open for writing, if its inode number is wanted."""
    try:
        with open(f"/proc/{process}/fdinfo/{number}") as info:
            fields = dict(line.split(":", 1) for line in info if ":" in line)
        if not int(fields["flags"], 8) & _WRITING:
            return []
        # Linux before 5.14 does not tell the number.
        if "ino" in fields and int(fields["ino"]) not in wanted:
            return []
        held = os.stat(f"/proc/{process}/fd/{number}")
    except (OSError, ValueError, KeyError):
        return []
    return [(held.st_dev, held.st_ino)]


def overlap(folders: Sequence[str], others: Sequence[str]) -> tuple[str, str] | None:
    """The first two of which one is the other or lies in it, links resolved; None if there are none."""
    for one in folders:
        for other in others:
            first, second = os.path.realpath(one), os.path.realpath(other)
            if os.path.commonpath([first, second]) in (first, second):
                return one, other
    return None
