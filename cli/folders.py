"""Whether the folders of a configuration can be used together: there, empty, and none inside another.

Symbolic links are resolved before anything is compared. Nothing is made or changed here.
"""

import errno
import os
import shlex
import stat
import sys
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.config import Config, DriveConfig
from cli.problems import ConfigError, Problem, Where, shown


@dataclass(frozen=True)
class _Place:
    """A folder of the configuration: where it is named, how to call it, and what it resolves to."""

    where: Where
    title: str
    path: Path
    real: Path

    def problem(self, wrong: str, remedy: str) -> Problem:
        return Problem(self.where, wrong, remedy, shown(self.path))


def check_paths(config: Config, known: Container[str] = ()) -> None:
    """ConfigError naming each folder that cannot be used, with the remedy. Drives whose names are in `known` were
    mounted before and may be missing."""
    problems = path_problems(config, known)
    if problems:
        raise ConfigError(config.file, problems)


def path_problems(config: Config, known: Container[str] = ()) -> list[Problem]:
    """All that is wrong with the folders of `config`; `known` as for `check_paths`."""
    return [*_mount_problems(config), *_drive_problems(config, known), *_own_folder_problems(config)]


def _mount_problems(config: Config) -> Iterator[Problem]:
    mount = _mount(config)
    if sys.platform == "win32":
        return  # a letter, or a folder that is not there yet: for the mount command to judge
    if mount.real == mount.real.parent:
        yield mount.problem("It is the root of the filesystem.", 'Choose a folder of its own, as in "/data".')
        return
    # A mount of ours, alive or stale, is for the mount command to judge.
    if os.path.ismount(mount.path):
        return
    try:
        with os.scandir(mount.path) as entries:
            occupied = any(entries)
    except FileNotFoundError:
        yield from _parent_problems(mount)
    except NotADirectoryError:
        yield mount.problem("It is not a folder.", "Name an empty folder.")
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            yield mount.problem(f"It cannot be used: {error.strerror}.", "Check its permissions and its owner.")
    else:
        if occupied:
            remedy = "Empty the folder or name another: what lies in it would be hidden by the mount."
            yield mount.problem("It is not empty.", remedy)


def _parent_problems(mount: _Place) -> Iterator[Problem]:
    # os.path.isdir is false where the parent cannot be looked at, which is no better than missing.
    if not os.path.isdir(mount.real.parent):
        yield mount.problem(
            "Neither it nor the folder above it exists.", f"Make it: mkdir -p {shlex.quote(str(mount.path))}"
        )


def _drive_problems(config: Config, known: Container[str]) -> Iterator[Problem]:
    mount, drives = _mount(config), _drives(config)
    for index, drive in enumerate(drives):
        yield from _missing(drive, config.drive[index], config.drive[index].name in known)
        yield from _overlap(drive, mount, "Move one of the two: the tree would show itself inside a drive.")
        for other in drives[:index]:
            remedy = "Remove one of the two, or name two folders side by side."
            yield from _overlap(drive, other, remedy)


def _missing(place: _Place, drive: DriveConfig, may_be_missing: bool) -> Iterator[Problem]:
    remedy = f"Mount its disk, make the folder, or run: mediapool pool remove {drive.name}"
    try:
        if not stat.S_ISDIR(os.stat(place.path).st_mode):
            yield place.problem("It is not a folder.", remedy)
    except OSError as error:
        if may_be_missing:
            return
        if isinstance(error, FileNotFoundError):
            yield place.problem("It does not exist.", remedy)
            return
        remedy = "Check its disk and its permissions."
        yield place.problem(f"It cannot be looked at: {error.strerror}.", remedy)


def _own_folder_problems(config: Config) -> Iterator[Problem]:
    state = _place(("state", "path"), "the state folder", config.state.path)
    cache = _place(("cache", "path"), "the cache folder", config.cache.path)
    for own in (state, cache):
        for other in (_mount(config), *_drives(config)):
            yield from _overlap(own, other, "Name a folder outside the drives and the mount point.")
    # The other way round is fine: one folder for everything, with the cache in it.
    if state.real == cache.real or state.real.is_relative_to(cache.real):
        yield state.problem(f"It is inside {cache.title} {cache.path}, which may be cleared.", "Name another folder.")


def _overlap(place: _Place, other: _Place, remedy: str) -> Iterator[Problem]:
    if place.real == other.real:
        yield place.problem(f"It is the same folder as {other.title} {other.path}.", remedy)
    elif place.real.is_relative_to(other.real):
        yield place.problem(f"It lies inside {other.title} {other.path}.", remedy)
    elif other.real.is_relative_to(place.real):
        yield place.problem(f"It holds {other.title} {other.path}.", remedy)


def _mount(config: Config) -> _Place:
    return _place(("mount", "path"), "the mount point", config.mount.path)


def _drives(config: Config) -> list[_Place]:
    return [
        _place(("drive", index, "path"), f'drive "{drive.name}"', drive.path)
        for index, drive in enumerate(config.drive)
    ]


def _place(where: Where, title: str, path: Path) -> _Place:
    return _Place(where, title, path, Path(os.path.realpath(path)))
