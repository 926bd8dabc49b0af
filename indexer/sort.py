"""Sorting duplicates out: what to move is decided purely, then each file is proven again and moved aside.

Nothing is overwritten or deleted. Of each content one copy that was read in this very run stays where it is: one in a
master or an archive volume if there is one, and nothing in those is ever moved.
"""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from indexer.duplicates import Group, Progress
from indexer.finding import Found, is_below
from indexer.hashing import new_buffer
from indexer.markers import folder_of, volumes
from indexer.moving import Mover, found_at
from indexer.reading import read_one
from indexer.undoing import Kept


class Aside(NamedTuple):
    """One file to be moved, the copy that stays, and what both hold."""

    found: Found
    target: bytes
    keeper: Found
    hash: bytes


class Sorted(NamedTuple):
    """What was moved, as (what it was, what it is now), and what was left, with reasons. `whole`: not stopped."""

    moved: list[tuple[Aside, Found]]
    kept: list[Kept]
    whole: bool


def plan(
    groups: Iterable[Group], files: Iterable[Found], masters: Sequence[bytes], trees: Sequence[bytes], to: bytes
) -> list[Aside]:
    """What to move to `to`: of each group all that does not stay. Pure.

    `files`: all that were found, by which archive volumes are known. `trees`: what may be sorted, in the order in
    which a copy is rather kept; a file goes to `to`/NAME OF ITS TREE/its path there.
    """
    archived = volumes(files)
    labels = _labels(trees)
    aside = []
    for group in groups:
        names = _names(group)
        protected = [inode for inode in names if any(_is_protected(found.path, masters, archived) for found in inode)]
        free = sorted((inode for inode in names if inode not in protected), key=lambda inode: _rank(inode[0], trees))
        keeper = protected[0][0] if protected else free.pop(0)[0]
        for inode in free:
            aside += [
                Aside(found, target, keeper, group.hash)
                for found in inode
                if (target := _target(found.path, trees, labels, to)) is not None
            ]
    return aside


def _names(group: Group) -> list[tuple[Found, ...]]:
    """The names of each inode of the group."""
    return [
        (found, *(link for link in group.links if (link.dev, link.ino) == (found.dev, found.ino)))
        for found in group.files
    ]


def _is_protected(path: bytes, masters: Sequence[bytes], archived: frozenset[bytes]) -> bool:
    return any(is_below(path, master) for master in masters) or folder_of(path, archived) is not None


def _rank(found: Found, trees: Sequence[bytes]) -> tuple[int, int, bytes]:
    tree = next((number for number, tree in enumerate(trees) if is_below(found.path, tree)), len(trees))
    return tree, found.path.count(b"/"), found.path


def _labels(trees: Sequence[bytes]) -> dict[bytes, bytes]:
    """A folder name for each tree: its own, with a number where two have the same."""
    labels: dict[bytes, bytes] = {}
    for tree in trees:
        label = plain = os.path.basename(tree) or b"root"
        number = 1
        while label in labels.values():
            number += 1
            label = b"%s (%d)" % (plain, number)
        labels[tree] = label
    return labels


def _target(path: bytes, trees: Sequence[bytes], labels: dict[bytes, bytes], to: bytes) -> bytes | None:
    for tree in trees:
        if is_below(path, tree):
            return b"/".join((to, labels[tree], path[len(tree.rstrip(b"/")) + 1 :]))
    return None


def carry_out(
    aside: Sequence[Aside],
    mover: Mover,
    *,
    stop: threading.Event | None = None,
    progressed: Callable[[Progress], None] | None = None,
    moved: Callable[[bytes, Found, bytes], None] = lambda _old, _now, _hash: None,
) -> Sorted:
    """Move these, each after the copy that stays and the file itself were read again.

    `moved` hears of each: its old path, what it is now, its hash.
    """
    result = Sorted([], [], True)
    proven: dict[Found, bool] = {}
    total = sum(one.found.size for one in aside)
    done = 0
    for number, one in enumerate(aside):
        if stop is not None and stop.is_set():
            return result._replace(whole=False)
        if one.keeper not in proven:
            proven[one.keeper] = _still_holds(one.keeper, one.hash)
        if not proven[one.keeper] or not _stands(one.keeper):
            result.kept.append(Kept(one.found.path, "the copy that would stay is not what it was"))
            continue
        try:
            now = mover.move(one.found, one.target, one.hash)
        except OSError as error:
            result.kept.append(Kept(one.found.path, error.strerror or str(error)))
            continue
        result.moved.append((one, now))
        moved(one.found.path, now, one.hash)
        done += one.found.size
        if progressed:
            progressed(Progress("moving", done, total, number + 1, len(aside)))
    return result


def _still_holds(keeper: Found, digest: bytes) -> bool:
    return read_one(keeper, "whole", new_buffer()).hash == digest


def _stands(keeper: Found) -> bool:
    """Whether nothing happened to the keeper since it was read: nobody looks at ctime here but the kernel."""
    try:
        return found_at(keeper.path) == keeper
    except OSError:
        return False
