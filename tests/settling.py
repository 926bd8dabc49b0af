"""Waiting until a file's times tell any further change: before that nothing is kept of it."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from indexer import reading
from indexer.contents import TICK_NS
from indexer.finding import Found


def settle(*trees: Path) -> None:
    """Return when every file below `trees` was last changed longer ago than the clock of filesystems ticks."""
    while True:
        newest = max(
            (
                os.lstat(os.path.join(folder, name)).st_ctime_ns
                for tree in trees
                for folder, _, names in os.walk(tree)
                for name in names
            ),
            default=0,
        )
        left = newest + 2 * TICK_NS - time.time_ns()
        if left <= 0:
            return
        time.sleep(left / 1e9)


def content_of(tree: Path) -> dict[str, bytes]:
    """What the regular files below `tree` hold, by their paths there."""
    found = {}
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                found[str(path.relative_to(tree))] = path.read_bytes()
    return found


def stopping_after(count: int, stop: threading.Event) -> Callable[[Found, reading.Want, memoryview], reading.Read]:
    """To stand in for `reading.read_one`, with one reader: the same, but says to stop at the file number `count`."""
    real, done = reading.read_one, [0]

    def read_one(found: Found, want: reading.Want, buffer: memoryview) -> reading.Read:
        done[0] += 1
        if done[0] == count:
            stop.set()
        return real(found, want, buffer)

    return read_one
