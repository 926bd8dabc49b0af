"""What lies on a drive: its files with all their names, and which of them are moved together or not at all."""

import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from placement import system as os
from placement.drive import Drive
from placement.identity import FOLDER
from placement.usage import BLOCK


class Group(NamedTuple):
    """One file with its names on a drive, a link group; `size` counts the bytes that are allocated."""

    names: tuple[str, ...]
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """All files of a drive, and all its folders, outermost first."""

    groups: Sequence[Group]
    folders: Sequence[str]


@dataclass(frozen=True, slots=True)
class Unit:
    """Link groups that belong together, such as a season; `path` is a name of the largest, `mtime_ns` the newest."""

    groups: tuple[Group, ...]
    path: str
    size: int
    mtime_ns: int


def take(drive: Drive, stop: threading.Event) -> Inventory:
    """Walk the drive. What vanishes meanwhile or may not be listed is passed over; OSError EIO if it is missing.

    A drive that is pulled in the middle may be shown shorter: nothing may be concluded from what is not there.
    """
    names: dict[int, list[str]] = {}
    found: dict[int, os.stat_result] = {}
    folders = [""]
    for folder in folders:
        if stop.is_set():
            break
        for name, entry in _entries(drive, folder):
            path = f"{folder}/{name}" if folder else name
            if stat.S_ISDIR(entry.st_mode):
                if path != FOLDER:
                    folders.append(path)
            else:
                names.setdefault(entry.st_ino, []).append(path)
                found[entry.st_ino] = entry
    groups = [
        Group(tuple(sorted(names[ino])), entry.st_blocks * BLOCK, entry.st_mtime_ns) for ino, entry in found.items()
    ]
    return Inventory(sorted(groups), folders[1:])


def _entries(drive: Drive, folder: str) -> list[tuple[str, os.stat_result]]:
    root = drive.require()
    try:
        fd = root.open_dir(folder)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    found = []
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                try:
                    one = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if one.st_dev == root.key[0]:
                    found.append((entry.name, one))
    finally:
        os.close(fd)
    return found


def units(groups: Iterable[Group], together: Callable[[str], str]) -> list[Unit]:
    """The link groups, those with a name in one and the same folder that is kept together as one unit.

    `together` gives that folder for a path, "" for none.
    """
    parts: list[list[Group]] = []
    of_folder: dict[str, int] = {}
    joined: dict[int, int] = {}

    def top(number: int) -> int:
        while number in joined:
            number = joined[number]
        return number

    for group in groups:
        mine = len(parts)
        parts.append([group])
        for folder in {folder for name in group.names if (folder := together(name))}:
            other, here = top(of_folder.setdefault(folder, mine)), top(mine)
            if other != here:
                # The smaller into the larger, or long seasons would cost their square.
                small, large = sorted((other, here), key=lambda number: len(parts[number]))
                parts[large] += parts[small]
                joined[small] = large
    return [_unit(part) for number, part in enumerate(parts) if number not in joined]


def _unit(groups: list[Group]) -> Unit:
    largest = max(groups, key=lambda group: group.size)
    whole = sum(group.size for group in groups)
    return Unit(tuple(sorted(groups)), largest.names[0], whole, max(group.mtime_ns for group in groups))
