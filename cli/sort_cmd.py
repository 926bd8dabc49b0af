"""`mediapool index sort`: duplicates moved aside."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.exitcodes import Exit
from cli.indexing import (
    INTERRUPTED,
    bytes_of,
    contents_of,
    exclude_option,
    excluded_by,
    interruptible,
    min_size_option,
    noting,
    shown,
    shown_progress,
    state_of,
    state_option,
    tell_problems,
    trees_of,
)
from cli.options import config_option
from cli.output import (
    busy,
    confirm,
    dry_run_option,
    fail,
    human_size,
    json_option,
    print_json,
    progress,
    say,
    warn,
    yes_option,
)

if TYPE_CHECKING:
    from cli.state import StateFolder
    from indexer.sort import Aside


@click.command()
@click.argument("trees", metavar="TREE...", nargs=-1, required=True)
@click.option("--master", "masters", multiple=True, metavar="TREE", help="A tree nothing is moved out of; repeatable.")
@click.option("--to", "target", required=True, metavar="FOLDER", help="Where duplicates go, with their folders.")
@min_size_option
@exclude_option
@config_option
@state_option
@dry_run_option
@yes_option
@json_option
def sort(
    trees: tuple[str, ...], masters: tuple[str, ...], target: str, min_size: str, patterns: tuple[str, ...],
    config_file: Path | None, state_folder: Path | None, dry_run: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Move duplicates out of each TREE to a folder. Never deletes, overwrites or moves the last copy.

    A file is moved if a copy is in a master or an archive volume, or stays in an earlier place of the TREEs.
    `mediapool jobs undo` brings all of them back.

    \b
    Example:
      mediapool index sort /mnt/disk2 --master /mnt/disk1 --to /mnt/aside
    """
    from indexer.duplicates import Search
    from indexer.finding import find, is_below
    from indexer.sort import plan

    kept, sorted_trees = trees_of(masters), trees_of(trees)
    to = os.fsencode(os.path.realpath(target))
    if any(is_below(tree, master) for tree in sorted_trees for master in kept):
        fail("A TREE lies in a master, out of which nothing is moved.", code=Exit.USAGE)
    if any(is_below(to, master) for master in kept) or to in sorted_trees:
        fail("--to lies in a master, or is a TREE itself.", "Name another folder.", Exit.USAGE)
    state = state_of(config_file, state_folder)
    everything = trees_of([os.fsdecode(one) for one in (*kept, *sorted_trees)])
    with contents_of(state) as contents, interruptible() as stop:
        excluded = excluded_by(patterns, everything)
        with busy("looking for files"):
            found = find(everything, stop=stop, left_out=lambda path: path == to, excluded=excluded)
        result = Search(contents, everything, stop=stop, progressed=shown_progress()).run(
            found.files, bytes_of(min_size)
        )
        aside = plan(result.groups, found.files, kept, sorted_trees, to)
    progress("")
    tell_problems([*found.unreadable, *result.problems])
    if not result.whole:
        fail(INTERRUPTED)
    if dry_run or not aside:
        _tell_plan(aside, as_json)
        return
    size = human_size(sum(one.found.size for one in aside))
    confirm(f"Move {len(aside)} duplicates ({size}) to {shown(to)}?", yes)
    _carry_out(state, to, aside, as_json)


def _tell_plan(aside: "Sequence[Aside]", as_json: bool) -> None:
    if as_json:
        print_json({"run": None, "moved": [_as_json(one, one.target) for one in aside], "kept": [], "dry_run": True})
        return
    for one in aside:
        say(f"{shown(one.found.path)} -> {shown(one.target)} (stays: {shown(one.keeper.path)})")
    say(f"{len(aside)} files would be moved.")


def _as_json(one: "Aside", now: bytes) -> dict[str, Any]:
    from indexer.export import named

    return {"from": named(one.found.path), "to": named(now), "stays": named(one.keeper.path), "size": one.found.size,
            "xxh3_128": one.hash.hex()}  # fmt: skip


def _carry_out(state: "StateFolder", to: bytes, aside: "Sequence[Aside]", as_json: bool) -> None:
    from contextlib import closing

    from indexer.export import named
    from indexer.moving import Mover
    from indexer.runs import Run
    from indexer.sort import carry_out
    from indexer.undoing import sweep

    with contents_of(state) as contents, interruptible() as stop:
        os.makedirs(to, exist_ok=True)
        sweep(state.runs)
        with Run.begin(state.runs, "sort", to) as run, closing(Mover(run)) as mover:
            done = carry_out(aside, mover, stop=stop, progressed=shown_progress(), moved=noting(contents))
    progress("")
    if as_json:
        moved = [_as_json(one, now.path) for one, now in done.moved]
        kept = [{**named(one.path), "reason": one.reason} for one in done.kept]
        print_json({"run": run.id, "moved": moved, "kept": kept, "dry_run": False})
    else:
        size = human_size(sum(one.found.size for one, _ in done.moved))
        say(f"Moved {len(done.moved)} files ({size}). To undo it: mediapool jobs undo {run.id}")
    for one in done.kept:
        warn(f"{shown(one.path)} stays: {one.reason}")
    if not done.whole:
        fail(INTERRUPTED)
    if done.kept:
        raise SystemExit(Exit.FAILED)
