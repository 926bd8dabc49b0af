"""A link group, the names of one file on one drive: found, and checked to be all of them."""

import errno
import stat
from collections.abc import Callable, Sequence

from placement import system as os
from placement.beneath import Root
from placement.identity import FOLDER

# Below the root of each drive: where files lie while they are copied there.
STAGING = f"{FOLDER}/moving"


def lstat(root: Root, path: str) -> os.stat_result | None:
    """What stands at `path`, itself and not where it points; None for nothing. Other errors as OSError."""
    try:
        with root.parent(path) as (dirfd, name):
            return os.stat(name, dir_fd=dirfd, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def parent_of(path: str) -> str:
    """The folder of `path`; "" for a name in the root."""
    return path.rpartition("/")[0]


def are_all_names(root: Root, ino: int, paths: Sequence[str]) -> bool:
    """Whether `paths` are all names of the file `ino` that there are."""
    found = [lstat(root, path) for path in paths]
    if not found or len(set(paths)) < len(paths):
        return False
    return all(one is not None and (one.st_dev, one.st_ino) == (root.key[0], ino) for one in found) and all(
        one is not None and one.st_nlink == len(paths) for one in found
    )


def find_names(root: Root, ino: int, count: int, go_on: Callable[[], None]) -> list[str]:
    """The names of the file `ino` below `root`, of which there are `count`; fewer if some cannot be found.

    Walks the drive, its own folder included, until it has them all. `go_on` is called for each folder and
    ends the walk by raising. OSError; what vanishes or may not be listed is passed over.
    """
    names: list[str] = []
    folders = [""]
    while folders and len(names) < count:
        go_on()
        folder = folders.pop()
        for name, is_folder in _matching(root, folder, ino):
            path = f"{folder}/{name}" if folder else name
            if not is_folder:
                names.append(path)
            elif path != STAGING:
                folders.append(path)
    return sorted(names)


def _matching(root: Root, folder: str, ino: int) -> list[tuple[str, bool]]:
    """Folders in `folder`, and names of the file; (name, whether it is a folder)."""
    try:
        fd = root.open_dir(folder)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    try:
        if os.fstat(fd).st_dev != root.key[0]:
            return []
        with os.scandir(fd) as entries:
            # Without a stat of each entry: that would read the inodes of the whole drive.
            return [
                (entry.name, is_folder)
                for entry in entries
                if (is_folder := entry.is_dir(follow_symlinks=False)) or entry.inode() == ino
            ]
    finally:
        os.close(fd)


def missing_folders(root: Root, paths: Sequence[str]) -> list[str]:
    """The parent folders of `paths` that are not there, outermost first.

    NotADirectoryError where something else, such as a symbolic link, stands in the place of one.
    """
    missing: set[str] = set()
    for path in paths:
        folder = parent_of(path)
        while folder and folder not in missing:
            found = lstat(root, folder)
            if found is not None:
                if not stat.S_ISDIR(found.st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, "no folder stands there", folder)
                break
            missing.add(folder)
            folder = parent_of(folder)
    return sorted(missing, key=lambda folder: (folder.count("/"), folder))


def sync_folders(root: Root, folders: Sequence[str]) -> None:
    """Bring the entries of `folders` to stable storage; for one that is gone, those of the next above it."""
    synced: set[str] = set()
    for folder in folders:
        while folder not in synced:
            synced.add(folder)
            try:
                fd = root.open_dir(folder)
            except (FileNotFoundError, NotADirectoryError):
                folder = parent_of(folder)
                continue
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            break
