"""Folders all of whose files are in another folder too: said in one line instead of thousands. Pure."""

import os
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from indexer.duplicates import Group
from indexer.finding import Found, is_below


class Contained(NamedTuple):
    """Every file below `folder` has the same content as some file below `within`; `equal`: also the reverse."""

    folder: bytes
    within: bytes
    files: int
    bytes: int
    equal: bool


def contained(files: Iterable[Found], groups: Sequence[Group]) -> list[Contained]:
    """The topmost folders that are contained in another one, most bytes first. `files`: all that were found.

    Folders with an empty file, which is in no group, count as if they did not have it. Of two equal folders one is
    named; all that are named may go together, and every content is left somewhere else.
    """
    group_of = {found.path: number for number, group in enumerate(groups) for found in (*group.files, *group.links)}
    below: dict[bytes, list[Found]] = defaultdict(list)
    for found in files:
        if found.size:
            for folder in _above(found.path):
                below[folder].append(found)
    whole = {folder for folder, inside in below.items() if all(found.path in group_of for found in inside)}
    result: dict[bytes, Contained] = {}
    for folder in sorted(whole, key=lambda path: (path.count(b"/"), path)):
        if any(above in result for above in _above(folder)):
            continue
        if (within := _within(folder, below, group_of, groups, result)) is not None:
            inside = below[folder]
            equal = {group_of[one.path] for one in inside} == {group_of.get(one.path) for one in below[within]}
            result[folder] = Contained(folder, within, len(inside), sum(one.size for one in inside), equal)
    return sorted(result.values(), key=lambda one: (-one.bytes, one.folder))


def _above(path: bytes) -> list[bytes]:
    """The folders above `path`, nearest first, without the root."""
    folders = []
    while (path := os.path.dirname(path)) not in (b"", b"/"):
        folders.append(path)
    return folders


def _within(
    folder: bytes,
    below: dict[bytes, list[Found]],
    group_of: dict[bytes, int],
    groups: Sequence[Group],
    said: Container[bytes],
) -> bytes | None:
    """The deepest folder outside `folder` that has all its contents; of several the first by name.

    Copies in folders that were `said` to be contained do not count: who removes all of those must lose nothing.
    """
    common: set[bytes] | None = None
    for number in {group_of[found.path] for found in below[folder]}:
        group = groups[number]
        copies = [_above(found.path) for found in (*group.files, *group.links) if not is_below(found.path, folder)]
        outside = {
            above
            for folders in copies
            if not any(one in said for one in folders)
            for above in folders
            if not is_below(folder, above)
        }
        common = outside if common is None else common & outside
        if not common:
            return None
    return max(sorted(common or ()), key=lambda path: path.count(b"/"), default=None)
