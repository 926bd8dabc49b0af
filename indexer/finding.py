"""Finding the regular files of trees: names of any bytes, each directory once, nothing followed.

Symbolic links, devices and mediapool's own folders on a drive are left out. Directories are met once, however often
they are mounted or named, so a file is never taken for a duplicate of itself.
"""

import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from indexer.devices import READERS, kind_of
from placement.identity import FOLDER

_OWN = os.fsencode(FOLDER)
# What files begin with that are copied at the moment, or were when a program was killed.
TEMPORARY = _OWN + b"-"
_PATIENCE = 0.02  # seconds that one thread has waited for the disk before others help


class Found(NamedTuple):
    """A name of a regular file as lstat said it: size in bytes, times in ns since 1970."""

    path: bytes
    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int
    nlink: int


class Unreadable(NamedTuple):
    """A directory or name that could not be looked at, and why; what was known of it stays known."""

    path: bytes
    reason: str


class Finding(NamedTuple):
    """What a walk found, in the order of the trees and of the inode numbers."""

    files: list[Found]
    unreadable: list[Unreadable]


class TreeError(Exception):
    """A tree cannot be used; the message names it, the cause and the remedy."""


def roots(trees: Iterable[str | bytes | os.PathLike[str]]) -> list[bytes]:
    """The real paths of `trees`, without those inside another one. TreeError where one is no directory."""
    found: list[bytes] = []
    for tree in trees:
        path = os.path.realpath(os.fsencode(tree))
        if not os.path.isdir(path):
            raise TreeError(f"{os.fsdecode(path)} is no folder. Name a folder that is there, or mount its disk.")
        if path not in found:
            found.append(path)
    return [path for path in found if not any(is_below(path, other) for other in found if other != path)]


def is_below(path: bytes, tree: bytes) -> bool:
    """Whether `path` is `tree` or lies in it, by their names."""
    return path == tree or path.startswith(tree.rstrip(b"/") + b"/")


def find(
    trees: Sequence[bytes],
    *,
    stop: threading.Event | None = None,
    told: Callable[[int], None] | None = None,
    left_out: Callable[[bytes], bool] | None = None,
    excluded: Callable[[bytes], bool] | None = None,
) -> Finding:
    """All regular files below the real paths `trees`; `told` hears how many.

    `left_out` refuses directories, `excluded` any name.

    Ends early, with what was found, when `stop` is set.
    """
    walk = _Walk(stop or threading.Event(), told, left_out, excluded)
    found = Finding([], [])
    for tree in trees:
        part = walk.tree(tree)
        found.files.extend(part.files)
        found.unreadable.extend(part.unreadable)
    return found


class _Walk:
    def __init__(
        self,
        stop: threading.Event,
        told: Callable[[int], None] | None,
        left_out: Callable[[bytes], bool] | None,
        excluded: Callable[[bytes], bool] | None,
    ) -> None:
        self._stop = stop
        self._told = told
        self._left_out = left_out
        self._excluded = excluded
        self._seen: set[tuple[int, int]] = set()
        self._count = 0

    def tree(self, tree: bytes) -> Finding:
        """The files of one tree, read by as many threads as its device likes, if it has to be waited for at all.

        What the kernel knows already one thread reads twice as fast as several, which take turns in Python.
        """
        found = Finding([], [])
        self._todo = deque([tree])
        self._busy = 0
        self._changed = threading.Condition()
        readers = min(4, READERS[kind_of(os.stat(tree).st_dev)])
        helpers = [threading.Thread(target=self._work, args=(found,), daemon=True) for _ in range(readers - 1)]
        began, worked = time.perf_counter(), time.thread_time()

        def help_if_slow() -> None:
            waited = time.perf_counter() - began - (time.thread_time() - worked)
            if waited > _PATIENCE and helpers and helpers[0].ident is None:
                for helper in helpers:
                    helper.start()

        self._work(found, help_if_slow)
        for helper in helpers:
            if helper.ident is not None:
                helper.join()
        return found

    def _work(self, found: Finding, looked: Callable[[], None] = lambda: None) -> None:
        files: list[Found] = []
        while (folder := self._next()) is not None:
            looked()
            try:
                folders = self._look(folder, files)
            except OSError as error:
                found.unreadable.append(Unreadable(folder, error.strerror or str(error)))
                folders = []
            with self._changed:
                self._todo.extend(folders)
                self._busy -= 1
                self._changed.notify_all()
        with self._changed:
            found.files.extend(files)

    def _next(self) -> bytes | None:
        with self._changed:
            while not self._todo and self._busy and not self._stop.is_set():
                self._changed.wait()
            if not self._todo or self._stop.is_set():
                self._changed.notify_all()
                return None
            self._busy += 1
            return self._todo.pop()

    def _look(self, folder: bytes, files: list[Found]) -> list[bytes]:
        own = os.stat(folder, follow_symlinks=False)
        if (key := (own.st_dev, own.st_ino)) in self._seen or not stat.S_ISDIR(own.st_mode):
            return []
        self._seen.add(key)
        folders = []
        before = len(files)
        with os.scandir(folder) as entries:
            for entry in entries:
                if self._excluded and self._excluded(entry.path):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != _OWN and not (self._left_out and self._left_out(entry.path)):
                        folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False) and not entry.name.startswith(TEMPORARY):
                    try:
                        st = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    files.append(
                        Found(entry.path, st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_nlink)
                    )
        if self._told:
            self._count += len(files) - before
            self._told(self._count)
        return folders
