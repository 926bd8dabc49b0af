"""`mediapool jobs`: what was done to many files, and how to undo it."""

from pathlib import Path
from typing import Any

import click

from cli import distributed
from cli.distribute_cmd import plain
from cli.exitcodes import Exit
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
    say,
    yes_option,
)


@click.group()
def jobs() -> None:
    """Jobs that moved files, and undoing them."""


@jobs.command(name="list")
@config_option
@json_option
def list_jobs(config_file: Path | None, as_json: bool) -> None:
    """Show the jobs, the newest last.

    \b
    Example:
      mediapool jobs list
    """
    found = distributed.jobs(load(config_file))
    if as_json:
        print_json(found)
    elif not found:
        say("There are no jobs.")
    else:
        headers = ("Job", "Kind", "Began", "State", "Files", "Size", "Library")
        print_table(headers, [_row(one) for one in found], right=(4, 5))


def _row(job: dict[str, Any]) -> tuple[object, ...]:
    began = human_time(job["started"])
    return (job["id"], job["kind"], began, job["state"], job["moved"], human_size(job["bytes"]), job["library"])


@jobs.command()
@click.argument("job", metavar="JOB")
@config_option
@dry_run_option
@yes_option
@json_option
def undo(job: str, config_file: Path | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Put the files of JOB back to where they were, and take their links away.

    \b
    Example:
      mediapool jobs undo d3
    """
    config = load(config_file)
    number = distributed.number_of(job)
    found = None if number is None else distributed.job(config, number)
    if found is None:
        fail(f"There is no job {job!r}.", "mediapool jobs list shows all.")
    what = f"{found.moved} files ({human_size(found.bytes)}) that lead to {found.library}"
    if dry_run:
        print_json({"job": job, "files": found.moved, "bytes": found.bytes}) if as_json else say(f"Would undo {what}.")
        return
    confirm(f"Put back {what}?", yes)
    with distributed.distributing(config, found.library, (), change=True) as made:
        made.recover()
        report = made.undo(found.id)
    if as_json:
        print_json(plain(report))
    else:
        say(f"Put back {len(report.moved)} files.")
    if report.interrupted:
        fail("It was interrupted; repeat it for the rest.")
    if report.failed:
        reasons = "\n".join(f"{path}: {reason}" for path, reason in report.failed)
        if as_json:
            raise SystemExit(Exit.FAILED)
        fail(f"{len(report.failed)} could not be put back.", reasons)


commands = [jobs]
