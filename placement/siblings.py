"""What lies beside a new file already: how large its like are, and how much of its folder each drive holds.

Looked up on the drives at each create, as what was just written is what matters most; so the looks are bounded.
"""

import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress

from placement import system as os
from placement.drive import Drive
from placement.usage import BLOCK

# So many names of one folder are looked at.
MOST = 500
# Folders inside the one that is kept together, such as Subs or a season.
_DEEP = 2


def ending_of(path: str) -> str:
    """By which files count as alike, such as ".mkv"; "" for none."""
    return os.path.splitext(path)[1].lower()


def largest_sibling(drives: Iterable[Drive], path: str) -> int | None:
    """Bytes of the largest file in the folder of `path` with the same ending of its name; None if there is none."""
    folder, _, name = path.rpartition("/")
    ending = ending_of(name)
    if not ending:
        return None
    sizes = [0]
    for drive in drives:
        with suppress(OSError):
            for other, found in _entries(drive, folder):
                if stat.S_ISREG(found.st_mode) and other != name and ending_of(other) == ending:
                    sizes.append(found.st_size)
    return max(sizes) or None


def bytes_in(drive: Drive, folder: str, deep: int = _DEEP) -> int:
    """Bytes allocated on the drive in `folder` and some levels below, 1 if it is empty, 0 if it is not there.

    OSError if the drive is missing.
    """
    drive.require()
    try:
        return 1 + sum(_counted(drive, folder, deep))
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _counted(drive: Drive, folder: str, deep: int) -> Iterator[int]:
    for name, found in _entries(drive, folder):
        if not stat.S_ISDIR(found.st_mode):
            yield found.st_blocks * BLOCK
        elif deep:
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                yield from _counted(drive, f"{folder}/{name}", deep - 1)


def _entries(drive: Drive, folder: str) -> Iterator[tuple[str, os.stat_result]]:
    fd = drive.require().open_dir(folder)
    try:
        with os.scandir(fd) as entries:
            for _, entry in zip(range(MOST), entries, strict=False):
                with suppress(FileNotFoundError):
                    yield entry.name, entry.stat(follow_symlinks=False)
    finally:
        os.close(fd)
