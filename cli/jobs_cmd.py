"""`mediapool jobs`: what moved files, and undoing it."""

import os
from pathlib import Path

import click

from cli.exitcodes import Exit
from cli.indexing import contents_of, noting, shown, state_of, state_option
from cli.options import config_option
from cli.output import (
    confirm,
    dry_run_option,
    fail,
    human_time,
    json_option,
    print_json,
    print_table,
    say,
    warn,
    yes_option,
)


@click.group()
def jobs() -> None:
    """Work that moved files: list it, undo it."""


@jobs.command("list")
@config_option
@state_option
@json_option
def list_(config_file: Path | None, state_folder: Path | None, as_json: bool) -> None:
    """Show what moved files: s1 is the first `index sort`, i1 the first `ingest`.

    \b
    Example:
      mediapool jobs list
    """
    from indexer.export import named
    from indexer.runs import RunError, list_runs

    try:
        runs = list_runs(state_of(config_file, state_folder).runs)
    except RunError as error:
        fail(str(error))
    if as_json:
        print_json([{**one._asdict(), "to": named(one.to)} for one in runs])
        return
    if not runs:
        say("Nothing was moved yet.")
        return
    rows = [
        (one.id, one.kind, human_time(one.began), one.intended, one.undone, os.fsdecode(one.to), _state(one.running))
        for one in runs
    ]
    print_table(("Job", "Kind", "Began", "Files", "Undone", "To", "State"), rows, right=(3, 4))


def _state(running: bool) -> str:
    return "running" if running else "ended"


@jobs.command()
@click.argument("job")
@config_option
@state_option
@dry_run_option
@yes_option
@json_option
def undo(
    job: str, config_file: Path | None, state_folder: Path | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Move the files of JOB back to where they were. What changed since, or has its place taken, stays.

    \b
    Example:
      mediapool jobs undo s1 --dry-run
    """
    from indexer.export import named
    from indexer.undoing import undo as undone

    state = state_of(config_file, state_folder)
    with contents_of(state) as contents:
        done = undone(state.runs, job, dry_run=True)
        if not dry_run and done.moved:
            confirm(f"Move {len(done.moved)} files of {job} back?", yes)
        if not dry_run:
            done = undone(state.runs, job, moved=noting(contents))
    if as_json:
        moved = [{"from": named(found.path), "to": named(to)} for found, to in done.moved]
        kept = [{**named(one.path), "reason": one.reason} for one in done.kept]
        print_json({"job": job, "moved": moved, "kept": kept, "dry_run": dry_run})
    else:
        for found, to in done.moved if dry_run else ():
            say(f"{shown(found.path)} -> {shown(to)}")
        say(f"{len(done.moved)} files {'would go' if dry_run else 'went'} back.")
        for one in done.kept:
            warn(f"{shown(one.path)} stays: it {one.reason}")
    if done.kept:
        raise SystemExit(Exit.FAILED)


commands = [jobs]
