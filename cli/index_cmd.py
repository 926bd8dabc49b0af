"""`mediapool index`: the catalog of what files hold; duplicates found, and moved aside."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.exitcodes import Exit
from cli.indexing import (
    contents_of,
    interruptible,
    noting,
    refuse_mount,
    shown,
    shown_progress,
    state_of,
    state_option,
    tell_problems,
    trees_of,
)
from cli.options import config_option, load
from cli.output import (
    confirm,
    dry_run_option,
    fail,
    human_size,
    human_time,
    json_option,
    print_json,
    print_table,
    progress,
    say,
    warn,
    yes_option,
)

if TYPE_CHECKING:
    from indexer.containment import Contained
    from indexer.duplicates import Group
    from indexer.sort import Aside

_INTERRUPTED = "Interrupted; repeat the command to go on where it was."
_SIZE = click.option("--min-size", default="1", metavar="SIZE", help="Leave out files that are smaller (1).")


@click.group()
def index() -> None:
    """What files hold: the catalog, duplicates."""


@index.command()
@config_option
@state_option
@json_option
def status(config_file: Path | None, state_folder: Path | None, as_json: bool) -> None:
    """Show what the catalog knows, and which trees were crawled when.

    \b
    Example:
      mediapool index status
    """
    with contents_of(state_of(config_file, state_folder)) as contents:
        totals, trees = contents.totals(), contents.trees()
    if as_json:
        from indexer.export import named

        crawled = [{**named(one.path), "crawled": one.crawled_ns / 1e9, "files": one.files, "bytes": one.bytes}
                   for one in trees]  # fmt: skip
        print_json({**totals._asdict(), "trees": crawled})
        return
    say(
        f"{totals.files} files, {human_size(totals.bytes)}; "
        f"of {totals.hashed}, {human_size(totals.hashed_bytes)}, the content is known."
    )
    rows = [
        (os.fsdecode(one.path), one.files, human_size(one.bytes), human_time(one.crawled_ns / 1e9)) for one in trees
    ]
    if rows:
        print_table(("Tree", "Files", "Size", "Crawled"), rows, right=(1, 2))


@index.command()
@click.argument("trees", metavar="[TREE]...", nargs=-1)
@click.option("--max-age", metavar="DURATION", help="Believe trees that were crawled less than this ago, as in 120d.")
@click.option("--sample", type=click.FloatRange(0, 100), default=1.0, show_default=True, metavar="PERCENT",
              help="Files of each burned archive volume to read again.")  # fmt: skip
@config_option
@state_option
@json_option
def crawl(
    trees: tuple[str, ...], max_age: str | None, sample: float, config_file: Path | None, state_folder: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Read what is new or changed below each TREE, or on all drives, and keep its hashes in the catalog.

    \b
    Example:
      mediapool index crawl /mnt/disk1/media --max-age 7d
    """
    from cli.sizes import parse_duration
    from indexer.crawling import Crawler

    try:
        age = None if max_age is None else parse_duration(max_age)
    except ValueError as error:
        fail(f"--max-age {max_age}: {error}", code=Exit.USAGE)
    chosen = trees_of(trees or _drives(config_file))
    if trees and state_folder is None:
        refuse_mount(config_file, chosen)
    with contents_of(state_of(config_file, state_folder)) as contents, interruptible() as stop:
        done = Crawler(contents, stop=stop, progressed=shown_progress(), sample=sample / 100).run(chosen, max_age=age)
    progress("")
    if as_json:
        from indexer.export import named

        lists = {"skipped": [named(one) for one in done.skipped], "damaged": [named(one) for one in done.damaged],
                 "problems": [{**named(one.path), "reason": one.reason} for one in done.problems]}  # fmt: skip
        print_json({**done._asdict(), **lists})
    else:
        for tree in done.skipped:
            say(f"{shown(tree)}: crawled less than {max_age} ago, left as it is known.")
        say(
            f"{done.files} files, {human_size(done.size)}: {done.known} known, {done.read} read "
            f"({human_size(done.read_size)}), {done.renamed} renamed, {done.gone} gone."
        )
    tell_problems(done.problems)
    for path in done.damaged:
        warn(f"{shown(path)} reads differently than before although nobody changed it: damaged?")
    if not done.whole:
        fail(_INTERRUPTED)
    if done.damaged or done.problems:
        raise SystemExit(Exit.FAILED)


def _drives(config_file: Path | None) -> list[str]:
    """The roots of all drives that are there. Missing ones are told of and not looked at."""
    from cli import pool
    from cli.state import StateFolder
    from placement.identity import DriveError

    config = load(config_file)
    found = pool.look_at(config, pool.remembered(StateFolder(config.state.path).names))
    try:
        for one in found:
            if isinstance(one, DriveError):
                warn(str(one))
            elif not one.present:
                warn(str(one.problem))
        paths = [one.path for one in found if not isinstance(one, DriveError) and one.present]
    finally:
        pool.close(found)
    if not paths:
        fail("There is no drive to crawl.", "Name a TREE, or add drives: mediapool pool add", Exit.USAGE)
    return paths


@index.command()
@click.argument("trees", metavar="TREE...", nargs=-1, required=True)
@_SIZE
@click.option("--bytes", "by_bytes", is_flag=True, help="Compare the files of each group byte by byte as well.")
@click.option("--hard-links", is_flag=True, help="Show other names of the same file, which take no room, too.")
@click.option("--folders", is_flag=True, help="Say which folders are wholly contained in another one.")
@config_option
@state_option
@json_option
def duplicates(
    trees: tuple[str, ...], min_size: str, by_bytes: bool, hard_links: bool, folders: bool, config_file: Path | None,
    state_folder: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Find files with the same content below each TREE. Reads no more than it has to; changes nothing.

    \b
    Example:
      mediapool index duplicates /mnt/disk1/media /mnt/disk2/media --folders
    """
    from indexer.duplicates import Search
    from indexer.finding import find

    chosen = trees_of(trees)
    tell = shown_progress()
    with contents_of(state_of(config_file, state_folder)) as contents, interruptible() as stop:
        found = find(chosen, stop=stop)
        search = Search(contents, chosen, stop=stop, progressed=tell)
        result = search.run(found.files, _bytes(min_size))
        groups = [*_proven(result.groups)] if by_bytes and result.whole else result.groups
    progress("")
    inside: list[Contained] = []
    if folders and result.whole:
        from indexer.containment import contained

        inside = contained(found.files, groups)
    if as_json:
        _print_groups(groups, inside if folders else None, hard_links)
    else:
        _show_groups(groups, inside, hard_links)
    tell_problems([*found.unreadable, *result.problems])
    if not result.whole:
        fail(_INTERRUPTED)


def _bytes(size: str) -> int:
    from cli.sizes import parse_size

    try:
        return parse_size(size)
    except ValueError as error:
        fail(f"--min-size {size}: {error}", code=Exit.USAGE)


def _proven(groups: "Sequence[Group]") -> "Iterator[Group]":
    from indexer.duplicates import proven

    for number, group in enumerate(groups):
        progress(f"comparing bytes: group {number + 1} of {len(groups)}")
        try:
            yield from proven(group, lambda _count: None)
        except OSError as error:
            warn(f"{shown(group.files[0].path)}: {error.strerror}")


def _print_groups(groups: "Sequence[Group]", inside: "Sequence[Contained] | None", hard_links: bool) -> None:
    """One object a line: thousands of groups are read by programs, and indenting them takes longer than the search."""
    from indexer.export import named

    write = sys.stdout.write
    write('{"groups": [')
    for number, group in enumerate(groups):
        one: dict[str, Any] = {"size": group.size, "xxh3_128": group.hash.hex(), "wasted": group.wasted,
                               "files": [named(found.path) for found in group.files]}  # fmt: skip
        if hard_links:
            one["links"] = [named(found.path) for found in group.links]
        write(("\n" if not number else ",\n") + json.dumps(one))
    write("\n]")
    if inside is not None:
        rows = [{"folder": named(one.folder), "within": named(one.within), "files": one.files, "bytes": one.bytes,
                 "equal": one.equal} for one in inside]  # fmt: skip
        write(',\n"folders": ' + json.dumps(rows))
    write("}\n")


def _show_groups(groups: "Sequence[Group]", inside: "Sequence[Contained]", hard_links: bool) -> None:
    for group in groups:
        say(f"{human_size(group.size)} each, {human_size(group.wasted)} wasted:")
        for found in group.files:
            say(f"  {shown(found.path)}")
            for link in group.links if hard_links else ():
                if (link.dev, link.ino) == (found.dev, found.ino):
                    say(f"    the same file: {shown(link.path)}")
    for one in inside:
        word = "has the same files as" if one.equal else "is contained in"
        say(f"{shown(one.folder)} {word} {shown(one.within)} ({one.files} files, {human_size(one.bytes)})")
    files = sum(len(group.files) - 1 for group in groups)
    wasted = sum(group.wasted for group in groups)
    say(f"{files} duplicates in {len(groups)} groups, {human_size(wasted)} wasted.")


@index.command()
@click.argument("trees", metavar="TREE...", nargs=-1, required=True)
@click.option("--master", "masters", multiple=True, metavar="TREE", help="A tree nothing is moved out of; repeatable.")
@click.option("--to", "target", required=True, metavar="FOLDER", help="Where duplicates go, with their folders.")
@_SIZE
@config_option
@state_option
@dry_run_option
@yes_option
@json_option
def sort(
    trees: tuple[str, ...], masters: tuple[str, ...], target: str, min_size: str, config_file: Path | None,
    state_folder: Path | None, dry_run: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Move duplicates out of each TREE to a folder. Never deletes, overwrites or moves the last copy.

    A file is moved if a copy is in a master or an archive volume, or stays in an earlier place of the TREEs.
    `mediapool jobs undo` brings all of them back.

    \b
    Example:
      mediapool index sort /mnt/disk2/dump --master /mnt/disk1/media --to /mnt/disk2/duplicates --dry-run
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
        found = find(everything, stop=stop, left_out=lambda path: path == to)
        result = Search(contents, everything, stop=stop, progressed=shown_progress()).run(found.files, _bytes(min_size))
        aside = plan(result.groups, found.files, kept, sorted_trees, to)
    progress("")
    tell_problems([*found.unreadable, *result.problems])
    if not result.whole:
        fail(_INTERRUPTED)
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


def _carry_out(state: Any, to: bytes, aside: "Sequence[Aside]", as_json: bool) -> None:
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
        fail(_INTERRUPTED)
    if done.kept:
        raise SystemExit(Exit.FAILED)


@index.command()
@click.argument("trees", metavar="[TREE]...", nargs=-1)
@click.option("--format", "form", type=click.Choice(["json", "csv", "mediastruct"]), default="json", show_default=True,
              help="JSON, CSV, or an index file of mediastruct.")  # fmt: skip
@config_option
@state_option
def export(trees: tuple[str, ...], form: Any, config_file: Path | None, state_folder: Path | None) -> None:
    """Print what the catalog knows of all files, or of those below each TREE.

    \b
    Example:
      mediapool index export --format csv > files.csv
    """
    from indexer.export import exported

    with contents_of(state_of(config_file, state_folder)) as contents:
        below: list[bytes | None] = [os.fsencode(os.path.realpath(tree)) for tree in trees] or [None]
        for line in exported((entry for one in below for entry in contents.files(one)), form):
            print(line)


commands = [index]
