"""`mediapool ingest`: pictures and films of a card or telephone into folders of years and months."""

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.exitcodes import Exit
from cli.indexing import (
    contents_of,
    exclude_option,
    excluded_by,
    interruptible,
    noting,
    shown,
    shown_progress,
    state_of,
    state_option,
    trees_of,
)
from cli.options import config_option, load
from cli.output import busy, confirm, dry_run_option, fail, json_option, print_json, progress, say, warn, yes_option
from cli.sizes import parse_duration
from indexer.ingest import PATTERN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.state import StateFolder
    from indexer.ingest import Ingest, Item
    from indexer.undoing import Kept


@click.command()
@click.argument("folder", metavar="DIR")
@click.option("--to", "target", required=True, metavar="TREE",
              help="Where they go: a folder, or one in the mounted tree, as in media/photos.")  # fmt: skip
@click.option("--pattern", default=PATTERN, metavar="TEXT",
              help="Names, of {year} {month} {day} {hour} {minute} {second} {hash} {name} {ext}.")  # fmt: skip
@click.option("--duplicates", metavar="FOLDER", help='Where known content goes; default: "duplicates" beside TREE.')
@click.option("--settle", default="5s", show_default=True, metavar="DURATION",
              help="Leave files that changed less than this ago.")  # fmt: skip
@exclude_option
@config_option
@state_option
@dry_run_option
@yes_option
@json_option
def ingest(
    folder: str, target: str, pattern: str, duplicates: str | None, settle: str, patterns: tuple[str, ...],
    config_file: Path | None, state_folder: Path | None, dry_run: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Move the files below DIR to TREE, named by when they were taken, sidecars with their files.

    Known content goes to a folder for duplicates. Never overwrites or deletes; `mediapool jobs undo` undoes it.

    \b
    Example:
      mediapool ingest /media/card/DCIM --to /mnt/disk1/media/photos
    """
    from indexer.finding import find, is_below
    from indexer.ingest import Ingest, PatternError

    (source,) = trees_of([folder])
    to = _place(target, config_file)
    aside = _place(duplicates, config_file) if duplicates else os.path.join(os.path.dirname(to), b"duplicates")
    if is_below(to, source) or is_below(source, to) or is_below(aside, to):
        fail("DIR, TREE and the folder for duplicates cannot lie inside one another.", code=Exit.USAGE)
    try:
        seconds = parse_duration(settle)
    except ValueError as error:
        fail(f"--settle {settle}: {error}", code=Exit.USAGE)
    state = state_of(config_file, state_folder)
    with contents_of(state) as contents, interruptible() as stop:
        try:
            work = Ingest(to, aside, contents, pattern=pattern, settle=seconds, stop=stop, progressed=shown_progress())
        except PatternError as error:
            fail(f"--pattern: {error}", code=Exit.USAGE)
        with busy("looking for files"):
            there = find([to], stop=stop).files if os.path.isdir(to) else []
            excluded = excluded_by(patterns, [source])
            new = find([source], stop=stop, left_out=lambda path: path == aside, excluded=excluded).files
        items, kept = work.plan(new, there)
        progress("")
        if stop.is_set():
            fail("Interrupted; nothing was moved.")
        if dry_run or not items:
            _tell(None, [(item, item.target) for item in items], kept, as_json)
            return
        confirm(f"Move {len(items)} files to {shown(to)}?", yes)
        whole = _carry_out(work, state, to, items, kept, noting(contents), as_json)
    if not whole:
        fail("Interrupted; repeat the command to go on where it was.")
    if kept:
        raise SystemExit(Exit.FAILED)


def _carry_out(
    work: "Ingest", state: "StateFolder", to: bytes, items: "Sequence[Item]", kept: "list[Kept]", moved: Any,
    as_json: bool,
) -> bool:  # fmt: skip
    """Move them and tell of it; whether it was not interrupted."""
    from indexer.moving import Mover
    from indexer.runs import Run
    from indexer.undoing import sweep

    os.makedirs(to, exist_ok=True)
    sweep(state.runs)
    with Run.begin(state.runs, "ingest", to) as run, closing(Mover(run)) as mover:
        done = work.carry_out(items, mover, moved)
    progress("")
    kept += done.kept
    _tell(run.id, [(item, now.path) for item, now in done.moved], kept, as_json)
    return done.whole


def _place(text: str, config_file: Path | None) -> bytes:
    """The real path of a folder, or of one in the mounted tree where it is relative."""
    if not os.path.isabs(text):
        mount = load(config_file).mount.path
        if not os.path.ismount(mount):
            fail(
                f"{text} lies in the tree, and nothing is mounted at {mount}.",
                "Mount it, or name a folder by its whole path.",
                Exit.NOT_MOUNTED,
            )
        text = os.path.join(mount, text)
    return os.fsencode(os.path.realpath(text))


def _tell(run: str | None, moved: "list[tuple[Item, bytes]]", kept: "list[Kept]", as_json: bool) -> None:
    if as_json:
        from indexer.export import named

        rows = [{"from": named(item.found.path), "to": named(now), "xxh3_128": item.hash.hex(),
                 "taken": item.taken.when.isoformat(), "taken_by": item.taken.source,
                 "sidecars": [named(one.path) for one in item.sidecars],
                 "known": None if item.known is None else named(item.known)} for item, now in moved]  # fmt: skip
        left = [{**named(one.path), "reason": one.reason} for one in kept]
        print_json({"run": run, "moved": rows, "kept": left, "dry_run": run is None})
        return
    for item, now in moved:
        also = f", known as {shown(item.known)}" if item.known is not None else ""
        more = f", {len(item.sidecars)} sidecars" if item.sidecars else ""
        say(f"{shown(item.found.path)} -> {shown(now)} (date by {item.taken.source}{more}{also})")
    for one in kept:
        warn(f"{shown(one.path)}: {one.reason}")
    if run is None:
        say(f"{len(moved)} files would be moved.")
    else:
        say(f"Moved {len(moved)} files. To undo it: mediapool jobs undo {run}")


commands = [ingest]
