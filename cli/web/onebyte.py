"""Reads one byte of a mounted tree. A program of its own, run by `health`: `onebyte.py MOUNT DRIVE...`.

Whoever reads a tree that hangs cannot be ended before it goes on, and if that were a thread of the daemon, not even
killing the daemon would free it. So nothing of mediapool is imported, and this may be left behind.

It reads a file that lies on one of the drives, since those can be read whatever the provider does; without any, it
lists the root of the tree. Prints nothing and ends with 0 if all is well, else says what is wrong and ends with 1.
"""

import os
import sys
from collections.abc import Iterator

_LOOKS = 2000  # at most so many names of each drive are looked at
_TRIES = 5  # files


def candidates(drive: str) -> Iterator[str]:
    """Files with content on a drive, by their paths below its root; those near the root first."""
    folders, looks = [""], 0
    while folders and looks < _LOOKS:
        folder = folders.pop(0)
        try:
            with os.scandir(os.path.join(drive, folder)) as entries:
                for entry in entries:
                    looks += 1
                    path = os.path.join(folder, entry.name)
                    if looks > _LOOKS:
                        return
                    if entry.is_dir(follow_symlinks=False):
                        folders += [] if path == ".mediapool" else [path]
                    elif entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_size:
                        yield path
        except OSError:
            continue


def look(mount: str, drives: list[str]) -> str:
    """What is wrong with the tree at `mount`; "" if nothing is."""
    try:
        if not os.path.ismount(mount):
            return "the tree is not mounted"
        os.statvfs(mount)
        tries = 0
        for drive in drives:
            for path in candidates(drive):
                try:
                    fd = os.open(os.path.join(mount, path), os.O_RDONLY | os.O_NONBLOCK)
                except (FileNotFoundError, PermissionError):
                    # Removed just now, or hidden from whoever asks.
                    tries += 1
                    if tries < _TRIES:
                        continue
                    break
                try:
                    os.read(fd, 1)
                finally:
                    os.close(fd)
                return ""
        os.listdir(mount)
    except OSError as error:
        return f"reading fails: {error.strerror}"
    return ""


if __name__ == "__main__":
    problem = look(sys.argv[1], sys.argv[2:])
    if problem:
        print(problem)
    sys.exit(bool(problem))
