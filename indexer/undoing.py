"""Undoing a run: each of its files that is where the run put it goes back to where it was, if nothing is there."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from indexer.finding import Found
from indexer.moving import Mover, OnStep, found_at
from indexer.runs import Moving, Run, list_runs

# The times of FAT, the coarsest there are, are even seconds.
_COARSEST_NS = 2_000_000_000

Where = Literal["old", "new", "both", "neither"]


class Kept(NamedTuple):
    """A file that was left where it is, and why."""

    path: bytes
    reason: str


class Undone(NamedTuple):
    """What undoing did: files that went back as (from, to), and those that were left, with reasons."""

    moved: list[tuple[Found, bytes]]
    kept: list[Kept]


def where(moving: Moving) -> Where:
    """Where the file of a move is, by what the disk says."""
    old, new = _stands(moving.source, moving), _stands(moving.target, moving)
    if old and new:
        return "both"
    return "old" if old else "new" if new else "neither"


def _stands(path: bytes, moving: Moving) -> bool:
    """Whether the file, or its copy on another filesystem, is at `path`: by size and mtime, which both keep."""
    try:
        found = found_at(path)
    except OSError:
        return False
    apart = abs(found.mtime_ns - moving.mtime_ns)
    # Filesystems keep times more or less finely.
    return found.size == moving.size and apart < (1 if found.dev == moving.dev else _COARSEST_NS)


def undo(
    folder: Path,
    ident: str,
    *,
    dry_run: bool = False,
    on_step: OnStep = lambda _name: None,
    moved: Callable[[bytes, Found, bytes], None] = lambda _old, _now, _hash: None,
) -> Undone:
    """Undo the run `ident`, its last move first; may be repeated, also after a kill. RunError, OSError.

    `moved` hears of each file that went back: its old path, what it is now, its hash.
    """
    result = Undone([], [])
    with Run.again(folder, ident) as run, contextlib.closing(Mover(run, on_step)) as mover:
        if not dry_run:
            drop_temporaries(run)
        for moving in reversed(run.moves(undone=False)):
            _undo_one(run, mover, moving, result, moved, dry_run)
    return result


def _undo_one(
    run: Run,
    mover: Mover,
    moving: Moving,
    result: Undone,
    moved: Callable[[bytes, Found, bytes], None],
    dry_run: bool,
) -> None:
    place = where(moving)
    if place == "old":
        # It never left, or went back before a kill.
        if not dry_run:
            run.undone(moving.number)
        return
    if place != "new":
        reason = "is at both places" if place == "both" else "is not where it was moved to, or changed since"
        result.kept.append(Kept(moving.target, reason))
        return
    now = found_at(moving.target)
    if dry_run:
        result.moved.append((now, moving.source))
        return
    try:
        back = mover.move(now, moving.source, moving.hash, exactly=True)
    except OSError as error:
        result.kept.append(Kept(moving.target, error.strerror or str(error)))
        return
    run.undone(moving.number)
    result.moved.append((now, moving.source))
    moved(now.path, back, moving.hash)


def sweep(folder: Path) -> None:
    """Remove what killed runs left under temporary names. RunError, OSError."""
    for info in list_runs(folder):
        if not info.running:
            with Run.again(folder, info.id) as run:
                drop_temporaries(run)


def drop_temporaries(run: Run) -> None:
    """Remove what killed moves between filesystems left under their temporary names, where the source still stands."""
    for moving in run.copies():
        if moving.temporary is not None and _stands(moving.source, moving):
            with contextlib.suppress(OSError):
                os.unlink(moving.temporary)
