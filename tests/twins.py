"""A tree and its plain twin: the same calls on both, the same answers, and the same tree afterwards.

Inode numbers differ, so they are paired: what is one file in the plain tree is one file in the other, as long as it
lives, whatever is done to it and however often the mount starts anew.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from parity_rows import failing

# Times before this were set by somebody (ns since 1970: September 2001); later ones are the present of either tree.
PRESENT = 10**18


class Twins:
    """`tree` is looked at, `plain` says what must be there. `remote`: inode numbers in `plain` of remote files."""

    def __init__(self, tree: Path, plain: Path) -> None:
        self.tree = tree
        self.plain = plain
        self.remote: set[int] = set()
        self._pairs: dict[int, int] = {}

    def same(self, act: Callable[[Path], Any]) -> Any:
        """Do something in both trees: value and errno must be equal; the outcome."""
        expected, found = failing(act, self.plain), failing(act, self.tree)
        assert found == expected, f"{found!r} instead of {expected!r}"
        return expected

    def refused(self, act: Callable[[Path], Any]) -> None:
        """Do something in the tree that it must refuse because it would write into a remote file."""
        assert failing(act, self.tree) == "EROFS"

    def is_remote(self, path: str, follow: bool = True) -> bool:
        """Whether `path`, or what a symbolic link there leads to, is a remote file."""
        try:
            return os.stat(self.plain / path, follow_symlinks=follow).st_ino in self.remote
        except OSError:
            return False

    def paths(self, wanted: Callable[[int], bool] = lambda mode: True) -> list[str]:
        """All paths below the top whose mode is wanted, in order."""
        return sorted(name for name, st in walk(self.plain) if name and wanted(st.st_mode))

    def compare(self, open_files: list[tuple[int, int]]) -> None:
        """Both trees look the same, and so do open files: descriptors of (plain, tree)."""
        plain, tree = dict(walk(self.plain)), dict(walk(self.tree))
        assert tree.keys() == plain.keys()
        alive = set()
        numbers: dict[int, int] = {}
        stats = [
            (name, st, tree[name], facts(self.plain, name, st), facts(self.tree, name, tree[name]))
            for name, st in plain.items()
        ]
        for one, other in open_files:
            st, found = os.fstat(one), same_of_open(os.fstat, one, other)
            alive.add(st.st_ino)
            if found is not None:
                stats.append((f"open file {other}", st, found, common(st), common(found)))
        for name, st, found, expected, shown in stats:
            assert shown == expected, f"{name}: {shown} instead of {expected}"
            assert self._pairs.setdefault(st.st_ino, found.st_ino) == found.st_ino, f"{name} has another number"
            assert numbers.setdefault(found.st_ino, st.st_ino) == st.st_ino, f"{name} has the number of another file"
            alive.add(st.st_ino)
        # Both filesystems use the numbers of what is gone again.
        self._pairs = {plain: tree for plain, tree in self._pairs.items() if plain in alive}
        self.remote &= alive


def walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every path below `root`, which is "", with lstat; listings must agree with it."""
    yield "", root.lstat()
    folders = [""]
    while folders:
        folder = folders.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                name = f"{folder}/{entry.name}".lstrip("/")
                st = (root / name).lstat()
                assert entry.inode() == st.st_ino, f"{name}: listed with another number"
                assert entry.is_dir(follow_symlinks=False) == stat.S_ISDIR(st.st_mode)
                assert entry.is_symlink() == stat.S_ISLNK(st.st_mode)
                yield name, st
                if stat.S_ISDIR(st.st_mode):
                    folders.append(name)


def common(st: os.stat_result) -> tuple[Any, ...]:
    """What must be equal; a folder's size and links differ, since they are counted over several drives."""
    own = () if stat.S_ISDIR(st.st_mode) else (st.st_nlink, st.st_size)
    mtime = st.st_mtime_ns if st.st_mtime_ns < PRESENT else "the present"
    return (stat.filemode(st.st_mode), st.st_uid, st.st_gid, mtime, *own)


def facts(root: Path, name: str, st: os.stat_result) -> tuple[Any, ...]:
    path = root / name
    if stat.S_ISLNK(st.st_mode):
        return (*common(st), os.readlink(path))
    xattrs = [(key, os.getxattr(path, key)) for key in sorted(os.listxattr(path)) if key.startswith("user.")]
    data = hashlib.sha1(path.read_bytes()).hexdigest() if stat.S_ISREG(st.st_mode) else None
    return (*common(st), xattrs, data)


def same_of_open(act: Callable[[int], Any], one: int, other: int) -> Any:
    """Do something with the plain open file `one` and its twin, which must end alike; what the twin answers.

    None if nothing is known: the kernel names no handle in some calls, and libfuse then finds no path for an open
    file whose name is gone, and the folder of that name as well.
    """
    found = failing(act, other)
    if found == "ESTALE" and os.readlink(f"/proc/self/fd/{one}").endswith(" (deleted)"):
        return None
    expected = failing(act, one)
    assert isinstance(expected, str) == isinstance(found, str), f"{found!r} instead of {expected!r}"
    return found
